/** One login on one device: its tokens, their renewal, its end. */
import type { Endpoints, Mode, Tokens } from './endpoints.ts'
import { objectIn } from './endpoints.ts'
import { NetworkError, SignedOutError } from './errors.ts'
import { type ClientStorage, memoryStorage } from './storage.ts'
import { type News, takeTurn, tellingOthers } from './tabs.ts'

/** Who has ended it: the user here, the user in another tab, or the server. */
export type SignOutReason = 'here' | 'elsewhere' | 'ended'

export interface SessionOptions {
  /** By which this server's tokens are told from those of others. */
  key: string
  mode: Mode
  storage: ClientStorage
  /** How long before its end an access token is renewed, in seconds. */
  refreshAhead: number
  now: () => number
  onChange: (signedIn: boolean, reason?: SignOutReason) => void
}

/** What is noted in cookie mode while the server has not heard of a sign-out. */
const OWED = 'signed out'
/** By when a browser has brought here what another tab has stored; in milliseconds. */
const TRAVEL = 100

export class Session {
  readonly #endpoints: Endpoints
  readonly #options: SessionOptions
  /** Of the tokens, which in cookie mode stay in memory. */
  readonly #storage: ClientStorage
  readonly #isShared: boolean
  /** To tabs that do not see it in the storage. */
  readonly #tell: (news: News) => void = () => {}
  /** Undefined until it is known, which in cookie mode takes a refresh. */
  #isSignedIn: boolean | undefined
  /** What was under way when the user signed out is not to sign in again. */
  #signOuts = 0
  #renewal: Promise<string> | undefined
  /** A refresh token that came too late to be kept. */
  #late: string | undefined
  #writing: Promise<unknown> = Promise.resolve()

  constructor(endpoints: Endpoints, options: SessionOptions) {
    const { key, mode, storage } = options
    this.#endpoints = endpoints
    this.#options = options
    this.#storage = mode === 'cookie' ? memoryStorage() : storage
    this.#isShared = mode === 'cookie' || storage.watch !== undefined
    if (mode === 'cookie') this.#tell = tellingOthers(key, (news) => void this.#hear(news))
    // What the storage has to say against that, the next call will hear as well.
    else storage.watch?.(key, () => void this.#look().catch(() => undefined))
  }

  /** @throws {SignInError | NetworkError}, or {SignedOutError} if the user has signed out meanwhile */
  begin(credentials: object): Promise<void> {
    const born = this.#signOuts
    return this.#takeTurn(async () => {
      const tokens = await this.#endpoints.obtain(credentials)
      const isKept = await this.#exclusively(async () => {
        if (this.#signOuts !== born) return false
        await this.#write(tokens)
        await this.#noteEnd(false)
        return true
      })
      if (!isKept) {
        await this.#endpoints.blacklist(tokens.refresh)
        throw new SignedOutError()
      }
      this.#isSignedIn = true
      this.#options.onChange(true)
      this.#tell('in')
    })
  }

  /** At once for everybody here, whatever the network does. @returns whether the server has heard of it */
  async end(): Promise<boolean> {
    this.#signOuts++
    this.#late = undefined
    const tokens = await this.#exclusively(async () => {
      const tokens = await this.#read()
      await this.#storage.remove(this.#options.key)
      await this.#noteEnd(true)
      return tokens
    })
    this.#know(false, 'here')
    this.#tell('out')
    if (tokens === null && this.#options.mode === 'token') return true
    return this.#takeTurn(async () => {
      const isHeard = await this.#endpoints.blacklist(this.#late ?? tokens?.refresh)
      if (isHeard) await this.#noteEnd(false)
      return isHeard
    })
  }

  /** @throws {NetworkError} if only the server knows and does not say */
  async isSignedIn(): Promise<boolean> {
    if ((await this.#read()) !== null) return true
    return this.renew(null).then(
      () => true,
      (error) => {
        if (error instanceof SignedOutError) return false
        throw error
      }
    )
  }

  /** An access token that is good for a while. @throws {SignedOutError | NetworkError} */
  async access(): Promise<string> {
    const tokens = await this.#read()
    const left = tokens === null ? 0 : this.#leftOf(tokens)
    if (tokens !== null && left > 0) return tokens.access
    return this.renew(tokens?.access ?? null).catch((error) => {
      // Renewed ahead of its end, it is still good.
      if (tokens !== null && tokens.until !== null && tokens.until > this.#options.now()) {
        if (error instanceof NetworkError) return tokens.access
      }
      throw error
    })
  }

  /**
   * One refresh at a time, for all who wait for one.
   *
   * @param stale the access token that will not do any more; null if there is none
   * @returns another one
   * @throws {SignedOutError | NetworkError}
   */
  renew(stale: string | null): Promise<string> {
    const work = (hasWaited: boolean) => this.#renew(stale, hasWaited)
    this.#renewal ??= (this.#isShared ? takeTurn(this.#options.key, work) : work(false)).finally(() => {
      this.#renewal = undefined
    })
    return this.#renewal
  }

  async #renew(stale: string | null, hasWaited: boolean): Promise<string> {
    let before = await this.#read()
    if (hasWaited && before?.access === stale && this.#options.mode === 'token') {
      await new Promise((resolve) => setTimeout(resolve, TRAVEL))
      before = await this.#read()
    }
    // Another tab was faster.
    if (before !== null && before.access !== stale) return before.access
    const born = this.#signOuts
    if (before === null) await this.#expectCookie()
    const tokens = await this.#endpoints.refresh(before?.refresh)
    const now = await this.#exclusively(async () => {
      const current = await this.#read()
      if (this.#signOuts !== born || current?.access !== before?.access) {
        this.#late = tokens?.refresh
        return current
      }
      await (tokens === null ? this.#storage.remove(this.#options.key) : this.#write({ ...before, ...tokens }))
      return tokens
    })
    if (now !== null) return now.access
    this.#know(false, 'ended')
    if (tokens === null) this.#tell('out')
    throw new SignedOutError()
  }

  /** Without tokens, is there at least a cookie that we have not seen, and that is still wanted? */
  async #expectCookie(): Promise<void> {
    const { mode, key, storage } = this.#options
    if (mode === 'cookie' && this.#isSignedIn !== false) {
      if ((await storage.get(key)) !== OWED) return
      if (await this.#endpoints.blacklist(undefined)) await this.#noteEnd(false)
    }
    this.#know(false, 'elsewhere')
    throw new SignedOutError()
  }

  /** Cookies outlive a sign-out of which the server has not heard; what is noted outlives the page. */
  async #noteEnd(isDue: boolean): Promise<void> {
    const { mode, key, storage } = this.#options
    if (mode === 'cookie') await (isDue ? storage.set(key, OWED) : storage.remove(key))
  }

  /** After the refresh that is under way, which brings the latest of the session's tokens, or a cookie that is not to come last. */
  async #takeTurn<T>(work: () => Promise<T>): Promise<T> {
    await this.#renewal?.catch(() => undefined)
    return this.#isShared ? takeTurn(this.#options.key, work) : work()
  }

  /** What is found out at first is no change. */
  #know(isSignedIn: boolean, reason?: SignOutReason): void {
    const was = this.#isSignedIn
    this.#isSignedIn = isSignedIn
    if (was !== undefined && was !== isSignedIn) this.#options.onChange(isSignedIn, reason)
  }

  async #look(): Promise<void> {
    const isNews = this.#isSignedIn === undefined
    if ((await this.#read()) === null) this.#know(false, 'elsewhere')
    else if (isNews) this.#options.onChange(true)
  }

  /** In cookie mode, where nothing is stored that all tabs see. */
  async #hear(news: News): Promise<void> {
    if (news === 'out') this.#signOuts++
    await this.#exclusively(async () => this.#storage.remove(this.#options.key))
    if (news === 'out') return this.#know(false, 'elsewhere')
    this.#isSignedIn = true
    this.#options.onChange(true)
  }

  /** Milliseconds until it is to be renewed. */
  #leftOf({ from, until }: Tokens): number {
    if (until === null) return Number.POSITIVE_INFINITY
    // One that lives hardly longer than that is renewed in the middle of its life.
    return until - Math.min(this.#options.refreshAhead * 1000, (until - from) / 2) - this.#options.now()
  }

  async #read(): Promise<Tokens | null> {
    const text = await this.#storage.get(this.#options.key)
    const tokens = objectIn(text ?? '') as Tokens | null
    if (typeof tokens?.access !== 'string') return null
    this.#know(true)
    return tokens
  }

  async #write(tokens: Tokens): Promise<void> {
    await this.#storage.set(this.#options.key, JSON.stringify(tokens))
  }

  /** Reading and writing in one go, also where storage takes its time. */
  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#writing.then(work)
    this.#writing = done.catch(() => undefined)
    return done
  }
}

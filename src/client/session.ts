/** One login on one device: its tokens, their renewal, its end. */
import type { Endpoints, Mode, Tokens } from './endpoints.ts'
import { objectIn } from './endpoints.ts'
import { NetworkError, SignedOutError } from './errors.ts'
import { type ClientStorage, memoryStorage } from './storage.ts'
import { ALONE, type News, type Tabs, tabsOf } from './tabs.ts'

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

export class Session {
  readonly #endpoints: Endpoints
  readonly #options: SessionOptions
  readonly #tabs: Tabs
  /** Of the tokens, which in cookie mode stay in memory. */
  readonly #storage: ClientStorage
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
    this.#tabs =
      mode === 'cookie' || storage.shared ? tabsOf(key, (news) => void this.#hear(news).catch(() => undefined)) : ALONE
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
      this.#tabs.tell('in')
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
    this.#settle('here')
    this.#tabs.tell('out')
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
    this.#renewal ??= this.#tabs
      .takeTurn(() => this.#renew(stale))
      .finally(() => {
        this.#renewal = undefined
      })
    return this.#renewal
  }

  async #renew(stale: string | null): Promise<string> {
    const before = await this.#read()
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
    this.#settle('ended')
    if (tokens === null) this.#tabs.tell('out')
    throw new SignedOutError()
  }

  /** Without tokens, is there at least a cookie that we have not seen, and that is still wanted? */
  async #expectCookie(): Promise<void> {
    const { mode, key, storage } = this.#options
    if (mode === 'cookie' && this.#isSignedIn !== false) {
      if ((await storage.get(key)) !== OWED) return
      if (await this.#endpoints.blacklist(undefined)) await this.#noteEnd(false)
    }
    this.#settle('elsewhere')
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
    return this.#tabs.takeTurn(work)
  }

  #settle(reason: SignOutReason): void {
    const was = this.#isSignedIn
    this.#isSignedIn = false
    if (was) this.#options.onChange(false, reason)
  }

  async #hear(news: News): Promise<void> {
    const { mode, key, onChange } = this.#options
    let isIn = news === 'in'
    if (mode === 'cookie') {
      if (!isIn) this.#signOuts++
      await this.#exclusively(async () => this.#storage.remove(key))
    } else {
      // Storage that only looks shared, such as sessionStorage, is not touched by what others do.
      isIn = (await this.#read()) !== null
    }
    if (!isIn) return this.#settle('elsewhere')
    this.#isSignedIn = true
    if (news === 'in') onChange(true)
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
    this.#isSignedIn = true
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

/** The login session of a client: its tokens, their refresh, login and logout, in one or several tabs. */
import type { Endpoints, Mode } from './endpoints.ts'
import { NetworkError, SignedOutError } from './errors.ts'
import { parseJson, readResponse } from './requests.ts'
import { type ClientStorage, memoryStorage } from './storage.ts'
import { openTabChannel, type TabMessage, withTabLock } from './tabs.ts'
import { type Identity, identityOf, type Tokens } from './tokens.ts'

/** What ended the login session: `here`, this client's `signOut()`; `elsewhere`, another tab; `ended`, the server. */
export type SignOutReason = 'here' | 'elsewhere' | 'ended'

export interface SessionOptions {
  /** The key in the storage, different for each server. */
  key: string
  mode: Mode
  storage: ClientStorage
  /** The time before its expiry at which an access token is refreshed. */
  refreshAheadMs: number
  now: () => number
  onChange: (signedIn: boolean, reason?: SignOutReason) => void
}

/** Stored in cookie mode after a logout that the server has not confirmed. */
const PENDING_LOGOUT = 'signed out'
/** The time until a change of the storage by another tab is visible here. */
const STORAGE_DELAY_MS = 100

export class Session {
  readonly #endpoints: Endpoints
  readonly #options: SessionOptions
  /** The storage of the tokens; in cookie mode always in memory. */
  readonly #tokenStorage: ClientStorage
  readonly #isShared: boolean
  /** Notifies other tabs in cookie mode, in which they do not share the storage of the tokens. */
  readonly #notifyTabs: (message: TabMessage) => void = () => {}
  /** Undefined until the storage was read; in cookie mode, until the first refresh. */
  #isSignedIn: boolean | undefined
  /** The number of logouts, by which a login or refresh detects a logout during its request. */
  #logouts = 0
  #pendingRefresh: Promise<string> | undefined
  /** Never rejects. A refresh waits for it, because a new password ends the refresh token. */
  #pendingPasswordChange: Promise<unknown> = Promise.resolve()
  /** A refresh token that was received after a logout or another login, and therefore not stored. */
  #discardedRefresh: string | undefined
  #storageQueue: Promise<unknown> = Promise.resolve()

  constructor(endpoints: Endpoints, options: SessionOptions) {
    const { key, mode, storage } = options
    this.#endpoints = endpoints
    this.#options = options
    this.#tokenStorage = mode === 'cookie' ? memoryStorage() : storage
    this.#isShared = mode === 'cookie' || storage.watch !== undefined
    if (mode === 'cookie') this.#notifyTabs = openTabChannel(key, (message) => void this.#handleTabMessage(message))
    // An error of the storage is ignored here, because the next call reports it.
    else storage.watch?.(key, () => void this.#handleStorageChange().catch(() => undefined))
  }

  /** @throws {ApiError | NetworkError}, or {SignedOutError} if the user has logged out during the request */
  signIn(credentials: object): Promise<Identity> {
    const logoutsBefore = this.#logouts
    return this.#runAfterRefresh(async () => {
      const tokens = await this.#endpoints.obtain(credentials)
      await this.#store(tokens, logoutsBefore)
      this.#isSignedIn = true
      this.#options.onChange(true)
      this.#notifyTabs('in')
      return identityOf(tokens.access)
    })
  }

  /**
   * Changes the password, and stores the new tokens.
   *
   * @throws {ApiError | NetworkError | SignedOutError} also if the user has logged out during the request
   */
  async changePassword(passwords: object): Promise<void> {
    const logoutsBefore = this.#logouts
    const response = await this.withAccessToken((access) => {
      const change = this.#runAfterRefresh(async () => {
        const response = await this.#endpoints.changePassword(passwords, access)
        if (response.tokens !== null) await this.#store(response.tokens, logoutsBefore)
        return response
      })
      this.#pendingPasswordChange = change.catch(() => undefined)
      return change
    })
    readResponse(response)
  }

  /** Stores new tokens. @throws {SignedOutError} after a logout during their request, and ends them */
  async #store(tokens: Tokens, logoutsBefore: number): Promise<void> {
    const isStored = await this.#queueStorageAccess(async () => {
      if (this.#logouts !== logoutsBefore) return false
      await this.#write(tokens)
      await this.#setPendingLogout(false)
      return true
    })
    if (isStored) return
    await this.#endpoints.blacklist(tokens.refresh)
    throw new SignedOutError()
  }

  /** Logs out immediately, then notifies the server. @returns true if the server has confirmed the logout */
  async signOut(): Promise<boolean> {
    this.#logouts++
    this.#discardedRefresh = undefined
    const tokens = await this.#queueStorageAccess(async () => {
      const tokens = await this.#read()
      await this.#tokenStorage.remove(this.#options.key)
      await this.#setPendingLogout(true)
      return tokens
    })
    this.#setSignedIn(false, 'here')
    this.#notifyTabs('out')
    if (tokens === null && this.#options.mode !== 'cookie') return true
    return this.#runAfterRefresh(async () => {
      const isConfirmed = await this.#endpoints.blacklist(this.#discardedRefresh ?? tokens?.refresh)
      if (isConfirmed) await this.#setPendingLogout(false)
      return isConfirmed
    })
  }

  /** @throws {NetworkError} in cookie mode, if only the server knows and cannot be reached */
  async isSignedIn(): Promise<boolean> {
    if ((await this.#read()) !== null) return true
    return this.refresh(null).then(
      () => true,
      (error) => {
        if (error instanceof SignedOutError) return false
        throw error
      }
    )
  }

  /** Returns a valid access token. @throws {SignedOutError | NetworkError} */
  async getAccessToken(): Promise<string> {
    const tokens = await this.#read()
    if (tokens !== null && this.#timeToRefreshMs(tokens) > 0) return tokens.access
    return this.refresh(tokens?.access ?? null).catch((error) => {
      // The refresh was ahead of the expiry: the old token may still be valid.
      if (tokens !== null && tokens.expiresAtMs !== null && tokens.expiresAtMs > this.#options.now()) {
        if (error instanceof NetworkError) return tokens.access
      }
      throw error
    })
  }

  /**
   * Sends a request with an access token, and after a 401 once more with a new one.
   *
   * @throws {SignedOutError | NetworkError} and errors of `send`
   */
  async withAccessToken<R extends { status: number }>(send: (access: string) => Promise<R>): Promise<R> {
    const access = await this.getAccessToken()
    const response = await send(access)
    return response.status === 401 ? send(await this.refresh(access)) : response
  }

  /**
   * Refreshes the tokens. Concurrent calls share one request.
   *
   * @param staleAccess the access token to replace; null if there is none
   * @returns another access token
   * @throws {SignedOutError | NetworkError}
   */
  refresh(staleAccess: string | null): Promise<string> {
    const work = (hasWaited: boolean) => this.#refresh(staleAccess, hasWaited)
    const start = () => (this.#isShared ? withTabLock(this.#options.key, work) : work(false))
    this.#pendingRefresh ??= this.#pendingPasswordChange.then(start).finally(() => {
      this.#pendingRefresh = undefined
    })
    return this.#pendingRefresh
  }

  async #refresh(staleAccess: string | null, hasWaited: boolean): Promise<string> {
    let before = await this.#read()
    if (hasWaited && before?.access === staleAccess && this.#options.mode !== 'cookie') {
      await new Promise((resolve) => setTimeout(resolve, STORAGE_DELAY_MS))
      before = await this.#read()
    }
    // Another tab has already refreshed.
    if (before !== null && before.access !== staleAccess) return before.access
    const logoutsBefore = this.#logouts
    if (before === null) await this.#assertCookiePossible()
    const tokens = await this.#endpoints.refresh(before?.refresh)
    const current = await this.#queueStorageAccess(async () => {
      const stored = await this.#read()
      if (this.#logouts !== logoutsBefore || stored?.access !== before?.access) {
        this.#discardedRefresh = tokens?.refresh
        return stored
      }
      await (tokens === null ? this.#tokenStorage.remove(this.#options.key) : this.#write({ ...before, ...tokens }))
      return tokens
    })
    if (current !== null) return current.access
    this.#setSignedIn(false, 'ended')
    if (tokens === null) this.#notifyTabs('out')
    throw new SignedOutError()
  }

  /**
   * Without stored tokens, a refresh can only succeed with a cookie. After a logout that the server has not confirmed,
   * the cookie must not be used: the logout is sent again.
   *
   * @throws {SignedOutError} if there can be no cookie, or it must not be used
   */
  async #assertCookiePossible(): Promise<void> {
    const { mode, key, storage } = this.#options
    if (mode === 'cookie' && this.#isSignedIn !== false) {
      if ((await storage.get(key)) !== PENDING_LOGOUT) return
      if (await this.#endpoints.blacklist(undefined)) await this.#setPendingLogout(false)
    }
    this.#setSignedIn(false, 'elsewhere')
    throw new SignedOutError()
  }

  /**
   * In cookie mode, stores whether a logout is unconfirmed: without a network, the cookie remains, also when the page
   * is reloaded.
   */
  async #setPendingLogout(isPending: boolean): Promise<void> {
    const { mode, key, storage } = this.#options
    if (mode === 'cookie') await (isPending ? storage.set(key, PENDING_LOGOUT) : storage.remove(key))
  }

  /**
   * Waits for a pending refresh: a logout must send its refresh token, and its cookie must not replace that of a login.
   */
  async #runAfterRefresh<T>(work: () => Promise<T>): Promise<T> {
    await this.#pendingRefresh?.catch(() => undefined)
    return this.#isShared ? withTabLock(this.#options.key, work) : work()
  }

  /** Calls `onChange` if the state has changed; finding out the initial state is not a change. */
  #setSignedIn(isSignedIn: boolean, reason?: SignOutReason): void {
    const previous = this.#isSignedIn
    this.#isSignedIn = isSignedIn
    if (previous !== undefined && previous !== isSignedIn) this.#options.onChange(isSignedIn, reason)
  }

  /** In bearer mode: another tab has changed the storage. */
  async #handleStorageChange(): Promise<void> {
    const wasUnknown = this.#isSignedIn === undefined
    if ((await this.#read()) === null) this.#setSignedIn(false, 'elsewhere')
    else if (wasUnknown) this.#options.onChange(true)
  }

  /** In cookie mode: another tab has logged in or out. */
  async #handleTabMessage(message: TabMessage): Promise<void> {
    if (message === 'out') this.#logouts++
    await this.#queueStorageAccess(async () => this.#tokenStorage.remove(this.#options.key))
    if (message === 'out') return this.#setSignedIn(false, 'elsewhere')
    this.#isSignedIn = true
    this.#options.onChange(true)
  }

  /** The time until the access token is to be refreshed; not positive if it is due. */
  #timeToRefreshMs({ requestedAtMs, expiresAtMs }: Tokens): number {
    if (expiresAtMs === null) return Number.POSITIVE_INFINITY
    // Half of the lifetime at most: a token that lives shorter than `refreshAheadMs` would be refreshed for every
    // request.
    const aheadMs = Math.min(this.#options.refreshAheadMs, (expiresAtMs - requestedAtMs) / 2)
    return expiresAtMs - aheadMs - this.#options.now()
  }

  async #read(): Promise<Tokens | null> {
    const text = await this.#tokenStorage.get(this.#options.key)
    const tokens = parseJson(text ?? '') as Tokens | undefined
    if (typeof tokens?.access !== 'string') return null
    this.#setSignedIn(true)
    return tokens
  }

  async #write(tokens: Tokens): Promise<void> {
    await this.#tokenStorage.set(this.#options.key, JSON.stringify(tokens))
  }

  /** Runs reads and writes of the storage, which may be asynchronous, without interleaving those of other calls. */
  #queueStorageAccess<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#storageQueue.then(work)
    this.#storageQueue = result.catch(() => undefined)
    return result
  }
}

/**
 * `latchkey/client` logs in, calls an API with an access token, and refreshes tokens automatically. For browsers, React
 * Native and Node.js; it only needs `fetch`.
 */
import { type AccountCalls, createAccountCalls } from './account.ts'
import { createAuthenticatedFetch } from './authenticated-fetch.ts'
import { Endpoints, type Mode } from './endpoints.ts'
import type { Fetch } from './requests.ts'
import { Session, type SignOutReason } from './session.ts'
import { type ClientStorage, localStorageIfAvailable, memoryStorage } from './storage.ts'
import type { Identity } from './tokens.ts'
import { addSlash, parseOrigin, resolveBase, resolveUrl } from './urls.ts'

export type {
  Account,
  AccountCalls,
  AccountChanges,
  LoginSession,
  NewAccount,
  PasswordChange,
  PasswordReset
} from './account.ts'
export { ApiError, NetworkError, SignedOutError } from './errors.ts'
export type { SignOutReason } from './session.ts'
export { type ClientStorage, memoryStorage, webStorage } from './storage.ts'
export type { Identity } from './tokens.ts'

export interface ClientOptions {
  /** The URL of `authRoutes`, such as `https://api.example.com/api`; in a page it may be relative, such as `/api`. */
  baseUrl: string
  /** The URL of `accountRoutes`, or its path on the origin of `baseUrl`. Default: `/auth`. */
  accountsUrl?: string
  /**
   * `bearer`, the default: both tokens are in `storage`. `cookie`: the refresh token is in an HttpOnly cookie, and the
   * access token in memory.
   */
  mode?: Mode
  /**
   * The storage of the tokens, by default in memory. In cookie mode it stores no tokens, only whether a logout is
   * unconfirmed by the server; there the default is `localStorage`, if available.
   */
  storage?: ClientStorage
  /** Default: the platform's `fetch`. */
  fetch?: Fetch
  /** The time before its expiry at which an access token is refreshed, in seconds. Default: 30. */
  refreshAhead?: number
  /** Further origins that receive the access token, such as `https://files.example.com`. */
  origins?: readonly string[]
  /** Called once for each login session that ends. */
  onSignOut?: (reason: SignOutReason) => void
  /** Returns the time in milliseconds. Default: `Date.now`. Only differences are used, so the clock may be wrong. */
  now?: () => number
}

/** The field of the server's `LOGIN_FIELD`, and the password. */
export type Credentials = { password: string } & ({ username: string } | { email: string })

/** The members of AccountCalls are calls beside the login. */
export interface Client extends AccountCalls {
  /**
   * Logs in.
   *
   * @returns the user's id and the claims of the access token
   * @throws {ApiError} if the server rejects the login, with its messages
   * @throws {NetworkError} if there is no usable response
   * @throws {SignedOutError} if `signOut` was called during the request
   * @throws {Error} if the client and the server disagree about cookie mode
   */
  signIn(credentials: Credentials): Promise<Identity>
  /**
   * Logs out. This client is logged out in any case; network errors are not thrown.
   *
   * @returns true if the server has confirmed that the login session has ended
   */
  signOut(): Promise<boolean>
  /**
   * Like the platform's `fetch`, with the access token for URLs of the API. Relative URLs are resolved against
   * `baseUrl`. After a 401 it refreshes and repeats the request once. Other responses, and errors of `fetch`, are
   * passed on. If the `signal` is aborted it rejects at once, also during a refresh, which other requests may share.
   *
   * @throws {SignedOutError} if the user is not logged in
   * @throws {NetworkError} if the refresh failed; the user remains logged in
   */
  fetch: Fetch
  /** Returns a valid access token, for example for a WebSocket. @throws {SignedOutError | NetworkError} like `fetch` */
  getAccessToken(): Promise<string>
  /**
   * Returns whether the user is logged in, without a request to the server. After a page was loaded in cookie mode, the
   * first call refreshes.
   *
   * @throws {NetworkError} if that refresh failed
   */
  isSignedIn(): Promise<boolean>
  /**
   * Calls back after every login and every end of a login session, also of other tabs.
   *
   * @returns a function that unsubscribes
   */
  onChange(listener: (signedIn: boolean) => void): () => void
}

export function createClient(options: ClientOptions): Client {
  const { mode = 'bearer', refreshAhead = 30, now = () => Date.now(), onSignOut } = options
  const base = resolveBase(options.baseUrl)
  const accounts = addSlash(resolveUrl(options.accountsUrl ?? '/auth', base))
  const origins = [base, accounts, ...(options.origins ?? [])].map(parseOrigin)
  const send: Fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init))
  const listeners = new Set<(signedIn: boolean) => void>()
  const session = new Session(new Endpoints({ base, accounts, mode, fetch: send, now }), {
    // Expo's SecureStore accepts no other characters.
    key: `latchkey.${base.replace(/[^\w.-]+/g, '_')}`,
    mode,
    storage: options.storage ?? (mode === 'cookie' ? localStorageIfAvailable() : memoryStorage()),
    refreshAheadMs: refreshAhead * 1000,
    now,
    onChange: (signedIn, reason) => {
      for (const listener of [...listeners]) listener(signedIn)
      if (reason !== undefined) onSignOut?.(reason)
    }
  })
  return {
    ...createAccountCalls(session, send, base, accounts),
    signIn: (credentials) => session.signIn(credentials),
    signOut: () => session.signOut(),
    fetch: createAuthenticatedFetch(session, send, base, origins),
    getAccessToken: () => session.getAccessToken(),
    isSignedIn: () => session.isSignedIn(),
    onChange: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    }
  }
}

/**
 * `latchkey/client`: signs in, and calls the API with tokens that it renews by itself. For browsers, React Native and
 * Node.js; it needs nothing but `fetch`.
 */
import { Endpoints, type Fetch, type Mode } from './endpoints.ts'
import { Session, type SignOutReason } from './session.ts'
import { type ClientStorage, localStorageIfAny, memoryStorage } from './storage.ts'

export { NetworkError, SignedOutError, SignInError } from './errors.ts'
export type { SignOutReason } from './session.ts'
export { type ClientStorage, memoryStorage, webStorage } from './storage.ts'

export interface ClientOptions {
  /** Where `authRoutes` are, such as `https://api.example.com/api`; in a page also `/api`. */
  baseUrl: string
  /** `cookie`: the refresh token is in a cookie that no script sees, the access token in memory. By default `token`. */
  mode?: Mode
  /**
   * Where the tokens are kept, by default in memory. In cookie mode it keeps no token, but a note while the server has
   * not heard of a sign-out; by default in `localStorage`, where there is one.
   */
  storage?: ClientStorage
  /** By default that of the platform. */
  fetch?: Fetch
  /** How long before its end an access token is renewed, in seconds; by default 30. */
  refreshAhead?: number
  /** Further origins that get the access token, such as `https://files.example.com`. */
  origins?: readonly string[]
  /** Called once whenever a session has come to its end. */
  onSignOut?: (reason: SignOutReason) => void
  /** The time in milliseconds; by default `Date.now`. It need not be right. */
  now?: () => number
}

/** What the server's `LOGIN_FIELD` asks for, and the password. */
export type Credentials = { password: string } & ({ username: string } | { email: string })

export interface Client {
  /**
   * @throws {SignInError} with what the server says if it refuses
   * @throws {NetworkError} if there is no answer
   */
  signIn(credentials: Credentials): Promise<void>
  /** Ends the session, here in any case. @returns whether the server has heard of it; it never throws for the network's sake */
  signOut(): Promise<boolean>
  /**
   * As the platform's `fetch`, with a token for addresses of the API; relative ones are relative to `baseUrl`. What
   * `fetch` throws and what the API answers is passed on, but for a 401, after which it refreshes and asks once more.
   *
   * @throws {SignedOutError} if nobody is signed in, before or after
   * @throws {NetworkError} if a token cannot be had just now; the session goes on
   */
  fetch: Fetch
  /** One that is good for a while, for WebSockets and the like. @throws as `fetch` */
  getAccessToken(): Promise<string>
  /** As far as it is known here; in cookie mode, the server is asked once. @throws {NetworkError} if it does not say */
  isSignedIn(): Promise<boolean>
  /** Tells of every sign-in and of every end of a session, also in other tabs. @returns what ends that */
  onChange(listener: (signedIn: boolean) => void): () => void
}

export function createClient(options: ClientOptions): Client {
  const { mode = 'token', refreshAhead = 30, now = () => Date.now(), onSignOut } = options
  const base = baseOf(options.baseUrl)
  const send: Fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init))
  const listeners = new Set<(signedIn: boolean) => void>()
  const session = new Session(new Endpoints(base, mode, send, now), {
    ...{ mode, refreshAhead, now },
    // Expo's SecureStore takes no other characters.
    key: `latchkey.${base.replace(/[^\w.-]+/g, '_')}`,
    storage: options.storage ?? (mode === 'cookie' ? localStorageIfAny() : memoryStorage()),
    onChange: (signedIn, reason) => {
      for (const listener of [...listeners]) listener(signedIn)
      if (reason !== undefined) onSignOut?.(reason)
    }
  })
  return {
    signIn: (credentials) => session.begin(credentials),
    signOut: () => session.end(),
    fetch: signedFetch(session, send, base, [base, ...(options.origins ?? [])].map(originOf)),
    getAccessToken: () => session.access(),
    isSignedIn: () => session.isSignedIn(),
    onChange: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    }
  }
}

function signedFetch(session: Session, send: Fetch, base: string, origins: string[]): Fetch {
  return async (input, init) => {
    const request = isRequest(input) ? input : null
    const url = request?.url ?? new URL(String(input), base).href
    // By the very text that is sent, up to the slash that ends the origin: nothing in it can mean another one.
    if (!origins.some((origin) => url.startsWith(`${origin}/`))) return send(request ?? url, init)
    const sendWith = (access: string, target: Request | string) => {
      const headers = new Headers(init?.headers ?? request?.headers)
      headers.set('Authorization', `Bearer ${access}`)
      return send(target, { ...init, headers })
    }
    const access = await session.access()
    const answer = await sendWith(access, request?.clone() ?? url)
    if (answer.status !== 401) return answer
    const fresh = await session.renew(access)
    if (isStream(init?.body)) return answer
    // Else its connection stays busy.
    await answer.body?.cancel().catch(() => undefined)
    return sendWith(fresh, request ?? url)
  }
}

const isRequest = (input: Parameters<Fetch>[0]): input is Request => typeof input === 'object' && 'url' in input

/** What can be read once only. */
const isStream = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && ('getReader' in body || Symbol.asyncIterator in body)

/** @throws {TypeError} if that is no address */
function baseOf(baseUrl: string): string {
  const { location } = globalThis as { location?: { href: string } }
  const { href } = new URL(baseUrl, location?.href)
  return href.endsWith('/') ? href : `${href}/`
}

/** By its text: React Native's URL does not tell it in all versions. */
function originOf(url: string): string {
  const [origin] = /^https?:\/\/[^/?#\\@]+(?=\/)/.exec(new URL(url).href) ?? []
  if (origin === undefined) throw new TypeError(`${url} is no address of a server`)
  return origin
}

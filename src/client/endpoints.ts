/** Requests to the server's token endpoints. */
import { NetworkError, parseRefusal, SignInError } from './errors.ts'

export type Mode = 'bearer' | 'cookie'
export type Fetch = typeof globalThis.fetch

/**
 * The tokens of a login session, as they are stored. Times are those of the client's clock, which may differ from the
 * server's.
 */
export interface Tokens {
  access: string
  /** Absent in cookie mode, in which scripts cannot read it. */
  refresh?: string
  /** The time of the request, which is before the access token was issued. */
  requestedAtMs: number
  /** The expiry of the access token, or earlier; null if the token does not contain it. */
  expiresAtMs: number | null
}

interface TokenResponse {
  status: number
  /** Null if the body is not a JSON object, or has the format of a gateway's errors (RFC 9457). */
  body: Record<string, unknown> | null
  /** In seconds. */
  retryAfter: number | null
  requestedAtMs: number
}

const TIMEOUT_MS = 15_000
/** Redirects are errors, because another server must not receive the refresh token. */
const REQUEST_OPTIONS = { method: 'POST', redirect: 'error' } as const
const HEADERS = { Accept: 'application/json', 'Content-Type': 'application/json' }
const NO_REFRESH_TOKEN =
  'The response to the login has no refresh token: the server has set it as a cookie, because JWT_COOKIE_ORIGINS has ' +
  "the origin of this page. Create the client with mode: 'cookie', or remove the origin from JWT_COOKIE_ORIGINS."

export class Endpoints {
  readonly #base: string
  readonly #mode: Mode
  readonly #fetch: Fetch
  readonly #now: () => number

  /** @param base URL with a trailing slash */
  constructor(base: string, mode: Mode, fetch: Fetch, now: () => number) {
    this.#base = base
    this.#mode = mode
    this.#fetch = fetch
    this.#now = now
  }

  /** @throws {SignInError | NetworkError}, or {Error} if the refresh token went into a cookie without cookie mode */
  async obtain(credentials: object): Promise<Tokens> {
    const response = await this.#post('token/', credentials)
    const { status, body, retryAfter } = response
    const refusal = parseRefusal(body)
    if (status >= 400 && status < 500 && refusal !== null) throw new SignInError(status, refusal, retryAfter)
    const tokens = parseTokens(response)
    if (this.#mode === 'cookie' || tokens.refresh !== undefined) return tokens
    // Nobody can use the new session.
    const headers = { Authorization: `Bearer ${tokens.access}` }
    await this.#post('token/logout/', {}, { headers }).catch(() => undefined)
    throw new Error(NO_REFRESH_TOKEN)
  }

  /**
   * @param refresh the refresh token; undefined in cookie mode
   * @returns null if the login session has ended
   * @throws {NetworkError}
   */
  async refresh(refresh: string | undefined): Promise<Tokens | null> {
    const response = await this.#post('token/refresh/', { refresh })
    const isRejected = (response.status === 400 || response.status === 401) && isRefreshRefusal(response.body)
    return isRejected ? null : parseTokens(response)
  }

  /** Never throws. @returns true if the server has confirmed that the login session has ended */
  async blacklist(refresh: string | undefined): Promise<boolean> {
    try {
      const { status, body } = await this.#post('token/blacklist/', { refresh }, { keepalive: true })
      return status === 401 ? parseRefusal(body) !== null : status === 200 && body !== null
    } catch {
      return false
    }
  }

  /** @throws {NetworkError} */
  async #post(
    path: string,
    payload: object,
    extra: { keepalive?: true; headers?: object } = {}
  ): Promise<TokenResponse> {
    const isCookieMode = this.#mode === 'cookie'
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(new Error('the server did not respond in time')), TIMEOUT_MS)
    const requestedAtMs = this.#now()
    try {
      const response = await this.#fetch(this.#base + path, {
        ...REQUEST_OPTIONS,
        ...extra,
        ...(isCookieMode && { credentials: 'include' as const }),
        headers: { ...HEADERS, ...extra.headers, ...(isCookieMode && { 'X-Latchkey-Mode': 'cookie' }) },
        body: JSON.stringify(payload),
        signal: abort.signal
      })
      const retryAfter = response.headers.get('Retry-After') ?? ''
      const isProblem = response.headers.get('Content-Type')?.includes('problem+json') ?? false
      const text = await response.text()
      return {
        status: response.status,
        body: isProblem ? null : parseObject(text),
        retryAfter: /^\d+$/.test(retryAfter) ? Number(retryAfter) : null,
        requestedAtMs
      }
    } catch (cause) {
      throw new NetworkError(null, null, { cause })
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Whether the server itself, not a gateway before it, has refused a refresh token. */
function isRefreshRefusal(body: TokenResponse['body']): boolean {
  const refusal = parseRefusal(body)
  return refusal !== null && (refusal.detail !== '' || refusal.fields.refresh !== undefined)
}

/** @throws {NetworkError} if the response has no access token */
function parseTokens({ status, body, retryAfter, requestedAtMs }: TokenResponse): Tokens {
  const { access, refresh } = body ?? {}
  if (status !== 200 || typeof access !== 'string') throw new NetworkError(status, retryAfter)
  const lifetimeMs = lifetimeOf(access)
  return {
    access,
    ...(typeof refresh === 'string' && { refresh }),
    requestedAtMs,
    expiresAtMs: lifetimeMs === null ? null : requestedAtMs + lifetimeMs
  }
}

/** The lifetime of a token in milliseconds: `exp` minus `iat`, so that a wrong clock of the client does not matter. */
function lifetimeOf(access: string): number | null {
  try {
    const payload = access.split('.')[1] as string
    const { exp, iat } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')))
    const lifetimeMs = (exp - iat) * 1000
    return Number.isFinite(lifetimeMs) ? lifetimeMs : null
  } catch {
    return null
  }
}

/** Parses JSON. @returns null if the text is not a JSON object */
export function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

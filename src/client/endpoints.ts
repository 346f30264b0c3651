/** Requests to the server's endpoints that issue or end tokens. */
import { NetworkError, parseRefusal } from './errors.ts'
import { type ApiRequest, type ApiResponse, type Fetch, readResponse, sendRequest } from './requests.ts'
import { readTokens, type Tokens } from './tokens.ts'

export type Mode = 'bearer' | 'cookie'

export interface EndpointOptions {
  /** The URL of the token endpoints, with a trailing slash. */
  base: string
  /** The URL of the account endpoints, with a trailing slash. */
  accounts: string
  mode: Mode
  fetch: Fetch
  now: () => number
}

interface TokenResponse extends ApiResponse {
  /** Null if the response has no access token. */
  tokens: Tokens | null
}

const NO_REFRESH_TOKEN =
  'The response to the login has no refresh token: the server has set it as a cookie, because JWT_COOKIE_ORIGINS has ' +
  "the origin of this page. Create the client with mode: 'cookie', or remove the origin from JWT_COOKIE_ORIGINS."

export class Endpoints {
  readonly #options: EndpointOptions

  constructor(options: EndpointOptions) {
    this.#options = options
  }

  /** @throws {ApiError | NetworkError}, or {Error} if the refresh token went into a cookie without cookie mode */
  async obtain(credentials: object): Promise<Tokens> {
    const response = await this.#request(`${this.#options.base}token/`, { body: credentials })
    readResponse(response)
    const tokens = expectTokens(response)
    if (this.#options.mode === 'cookie' || tokens.refresh !== undefined) return tokens
    // Nobody can use the new session.
    await this.#request(`${this.#options.base}token/logout/`, { access: tokens.access }).catch(() => undefined)
    throw new Error(NO_REFRESH_TOKEN)
  }

  /**
   * @param refresh the refresh token; undefined in cookie mode
   * @returns null if the login session has ended
   * @throws {NetworkError}
   */
  async refresh(refresh: string | undefined): Promise<Tokens | null> {
    const response = await this.#request(`${this.#options.base}token/refresh/`, { body: { refresh } })
    const isRejected = (response.status === 400 || response.status === 401) && isRefreshRefusal(response.body)
    return isRejected ? null : expectTokens(response)
  }

  /** Never throws. @returns true if the server has confirmed that the login session has ended */
  async blacklist(refresh: string | undefined): Promise<boolean> {
    try {
      const url = `${this.#options.base}token/blacklist/`
      const { status, body } = await this.#request(url, { body: { refresh }, keepalive: true })
      return status === 401 ? parseRefusal(body) !== null : status === 200 && body !== undefined
    } catch {
      return false
    }
  }

  /**
   * Changes the password, which ends all tokens of the user. The response has new ones, unless they are in cookies or
   * the server logs users out after a change.
   *
   * @throws {NetworkError}
   */
  changePassword(passwords: object, access: string): Promise<TokenResponse> {
    const url = `${this.#options.accounts}users/set_password/`
    return this.#request(url, { body: passwords, access, prefersPair: this.#options.mode !== 'cookie' })
  }

  async #request(url: string, request: ApiRequest): Promise<TokenResponse> {
    const { fetch, mode, now } = this.#options
    const requestedAtMs = now()
    const response = await sendRequest(fetch, url, { ...request, isCookieMode: mode === 'cookie' })
    return { ...response, tokens: response.status === 200 ? readTokens(response.body, requestedAtMs) : null }
  }
}

/** Whether the server itself, not a gateway before it, has refused a refresh token. */
function isRefreshRefusal(body: unknown): boolean {
  const refusal = parseRefusal(body)
  return refusal !== null && (refusal.detail !== '' || refusal.fields.refresh !== undefined)
}

/** @throws {NetworkError} if the response has no access token */
function expectTokens({ tokens, status, retryAfter }: TokenResponse): Tokens {
  if (tokens === null) throw new NetworkError(status, retryAfter)
  return tokens
}

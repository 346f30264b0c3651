/**
 * Cookie mode: the tokens of a page are in HttpOnly cookies, which scripts cannot read, on the same routes as for
 * others.
 *
 * Browsers attach cookies to the requests of other sites, too (CSRF). Cookies are therefore used only for a request
 * with a header that another site cannot send, and whose origin is this host or is listed in the settings.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { cookieOf, setCookie } from '../drf/cookies.ts'
import { SAFE_METHODS } from '../drf/safe-methods.ts'
import { PermissionDenied, ValidationError } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'

const HEADER = 'x-latchkey-mode'

interface Given {
  access: string
  /** Undefined if the cookie stays. */
  refresh?: string
}

export class TokenCookies {
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /**
   * True if the tokens go into cookies: for `X-Latchkey-Mode: cookie`, and for the origins in `cookieOrigins`.
   *
   * @throws {ValidationError} for any other value of the header, also if it was sent twice
   */
  isRequested({ headers }: FastifyRequest): boolean {
    const mode = headers[HEADER]
    if (mode === undefined) return this.#isListed(headers.origin)
    // With a misspelt value the tokens would be in the body, where scripts can read them.
    if (mode !== 'cookie') throw new ValidationError({ non_field_errors: ['X-Latchkey-Mode must be "cookie".'] })
    return true
  }

  /** Returns the refresh token in the cookie. @throws {PermissionDenied} if another site may have caused the request */
  refreshOf(request: FastifyRequest): string | undefined {
    this.check(request)
    return cookieOf(request, this.#settings.refreshCookieName)
  }

  /**
   * Returns the access token in the cookie, if configured. @throws {PermissionDenied} as refreshOf, for unsafe
   * methods
   */
  accessOf(request: FastifyRequest): string | undefined {
    const { accessCookieName } = this.#settings
    const token = accessCookieName === null ? undefined : cookieOf(request, accessCookieName)
    if (token !== undefined && !SAFE_METHODS.has(request.method)) this.check(request)
    return token
  }

  /** @throws {PermissionDenied} `CSRF Failed: …` */
  check(request: FastifyRequest): void {
    const reason = this.#faultOf(request)
    if (reason !== undefined) throw new PermissionDenied(`CSRF Failed: ${reason}`)
  }

  /**
   * Sets the cookies of a pair.
   *
   * @returns the body of the response: the tokens that are not in cookies
   */
  setTokens(request: FastifyRequest, reply: FastifyReply, { refresh, access }: Given): Given {
    const { refreshCookieName, accessCookieName, refreshTokenLifetime, accessTokenLifetime } = this.#settings
    if (refresh !== undefined) this.#set(request, reply, [refreshCookieName, refresh], refreshTokenLifetime)
    if (accessCookieName !== null) this.#set(request, reply, [accessCookieName, access], accessTokenLifetime)
    return { access }
  }

  /** Deletes the cookies. */
  clear(request: FastifyRequest, reply: FastifyReply): void {
    const { refreshCookieName, accessCookieName } = this.#settings
    for (const name of [refreshCookieName, accessCookieName]) {
      if (name !== null) this.#set(request, reply, [name, ''], 0)
    }
  }

  #set(request: FastifyRequest, reply: FastifyReply, value: [name: string, text: string], maxAge: number): void {
    const [name] = value
    // Browsers accept a name with this prefix only from this host and over TLS.
    const isSecure = name.startsWith('__') || request.protocol === 'https'
    const sameSite = this.#settings.cookieSamesite
    setCookie(request, reply, value, { httpOnly: true, secure: isSecure, sameSite, maxAge })
  }

  #isListed(origin: string | undefined): boolean {
    return origin !== undefined && this.#settings.cookieOrigins.includes(origin)
  }

  #faultOf({ protocol, host, headers }: FastifyRequest): string | undefined {
    const { origin } = headers
    const isListed = this.#isListed(origin)
    if (headers[HEADER] !== 'cookie' && !isListed) return 'X-Latchkey-Mode: cookie is missing.'
    const isOwn = origin === `${protocol}://${host}`
    if (origin !== undefined && !isOwn && !isListed) {
      return `Origin checking failed - ${origin} does not match any trusted origins.`
    }
    const site = headers['sec-fetch-site']
    if (site === undefined || site === 'same-origin' || isListed) return undefined
    return `Sec-Fetch-Site checking failed - ${site} is not this origin.`
  }
}

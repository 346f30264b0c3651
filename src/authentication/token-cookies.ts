/**
 * Cookie mode: a page's tokens in cookies that no script can read, on the same routes as everybody's.
 *
 * A browser sends cookies by itself, so what they are good for is done only for a request that says what it is, in a header
 * that another site's page cannot send, and that comes from this host or from an origin that is listed.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { cookieOf, setCookie } from '../drf/cookies.ts'
import { SAFE_METHODS } from '../drf/safe-methods.ts'
import { PermissionDenied, ValidationError } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'

const HEADER = 'x-latchkey-mode'

interface Given {
  access: string
  /** Left out if it stays. */
  refresh?: string
}

export class TokenCookies {
  readonly #settings: Settings

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /**
   * True if the client gets its tokens in cookies: it sends `X-Latchkey-Mode: cookie`, or its origin is listed.
   *
   * @throws {ValidationError} for any other value of the header, also if it was sent twice
   */
  isAsked({ headers }: FastifyRequest): boolean {
    const mode = headers[HEADER]
    if (mode === undefined) return this.#isListed(headers.origin)
    // A misspelt value would put the tokens into the body, within reach of scripts.
    if (mode !== 'cookie') throw new ValidationError({ non_field_errors: ['X-Latchkey-Mode must be "cookie".'] })
    return true
  }

  /** The refresh token in the cookie. @throws {PermissionDenied} if another site's page may have had it sent */
  refreshOf(request: FastifyRequest): string | undefined {
    this.check(request)
    return cookieOf(request, this.#settings.refreshCookieName)
  }

  /** The access token in a cookie, where there are such. @throws {PermissionDenied} as refreshOf, if it is to change something */
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
   * Puts a page's tokens into its cookies, as far as they go there.
   *
   * @returns what goes into the body
   */
  give(request: FastifyRequest, reply: FastifyReply, { refresh, access }: Given): Given {
    const { refreshCookieName, accessCookieName, refreshTokenLifetime, accessTokenLifetime } = this.#settings
    if (refresh !== undefined) this.#set(request, reply, [refreshCookieName, refresh], refreshTokenLifetime)
    if (accessCookieName !== null) this.#set(request, reply, [accessCookieName, access], accessTokenLifetime)
    return { access }
  }

  /** The page has no tokens any more. */
  clear(request: FastifyRequest, reply: FastifyReply): void {
    const { refreshCookieName, accessCookieName } = this.#settings
    for (const name of [refreshCookieName, accessCookieName]) {
      if (name !== null) this.#set(request, reply, [name, ''], 0)
    }
  }

  #set(request: FastifyRequest, reply: FastifyReply, value: [name: string, text: string], maxAge: number): void {
    const [name] = value
    // A browser takes a name with such a beginning only from where nobody else can set it.
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

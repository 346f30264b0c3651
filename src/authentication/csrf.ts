/** Django's CSRF protection: CsrfViewMiddleware. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { constantTimeEqual } from '../crypto/constant-time.ts'
import { ALPHANUMERIC, randomText } from '../crypto/random.ts'
import { cookieNameOf, cookieOf, setCookie } from '../drf/cookies.ts'
import { SAFE_METHODS } from '../drf/safe-methods.ts'
import { varyBy } from '../drf/vary.ts'
import { PermissionDenied } from '../errors.ts'
import { AUTH_CORE } from '../guards/auth-core.ts'

const FIELD = 'csrfmiddlewaretoken'
/** A year, in seconds. */
const AGE = 60 * 60 * 24 * 7 * 52
const LENGTH = 32
const FORM = /^\s*(application\/x-www-form-urlencoded|multipart\/form-data)\s*(;|$)/i

/** The secret in the cookie that the response sets. */
const secrets = new WeakMap<FastifyRequest, string>()

/**
 * Django's get_token: returns a CSRF token for a form or script, 64 characters, with a new mask each time. Sets the
 * cookie.
 */
export function csrfToken(request: FastifyRequest, reply: FastifyReply): string {
  const secret = secrets.get(request) ?? setSecret(request, reply, secretOf(request) ?? randomText(LENGTH))
  return masked(secret, randomText(LENGTH))
}

/** Django's rotate_token: replaces the secret at a login. */
export function rotateToken(request: FastifyRequest, reply: FastifyReply): void {
  setSecret(request, reply, randomText(LENGTH))
}

/**
 * Django's csrf_protect, a preHandler hook for your own routes without authentication, such as a login form. Requests
 * that the `session` scheme authenticates are checked by it.
 *
 * @throws {PermissionDenied} `CSRF Failed: …`, for an unsafe request that another site may have caused
 */
export async function csrfProtect(request: FastifyRequest): Promise<void> {
  // Django's middleware also exempts TRACE, which DRF's SAFE_METHODS lacks.
  if (SAFE_METHODS.has(request.method) || request.method === 'TRACE') return
  const reason = faultOfSource(request) ?? faultOfToken(request)
  if (reason !== undefined) throw new PermissionDenied(`CSRF Failed: ${reason}`)
}

function faultOfSource(request: FastifyRequest): string | undefined {
  const { protocol, host, headers } = request
  const { origin } = headers
  if (origin === undefined) return protocol === 'https' ? faultOfReferer(request) : undefined
  if (origin === `${protocol}://${host}` || isTrusted(request, origin)) return undefined
  return `Origin checking failed - ${origin} does not match any trusted origins.`
}

/** Checked over TLS only: an attacker who can change the traffic could change the header, too. */
function faultOfReferer(request: FastifyRequest): string | undefined {
  const { referer } = request.headers
  if (referer === undefined) return 'Referer checking failed - no Referer.'
  const [origin = '', scheme = ''] = /^([a-z][a-z\d+.-]*):\/\/[^/?#\\\s]+/i.exec(referer) ?? []
  if (origin === '') return 'Referer checking failed - Referer is malformed.'
  if (scheme.toLowerCase() !== 'https') return 'Referer checking failed - Referer is insecure while host is secure.'
  // As in Django, only the host of a trusted origin is compared here.
  const isGood = origin === `https://${request.host}` || isTrusted(request, origin, true)
  return isGood ? undefined : `Referer checking failed - ${referer} does not match any trusted origins.`
}

function isTrusted({ server }: FastifyRequest, origin: string, byHost = false): boolean {
  const [scheme, host = ''] = origin.split('://')
  return server[AUTH_CORE].settings.csrfTrustedOrigins.some((trusted) => {
    const [trustedScheme, pattern = ''] = trusted.split('://')
    if (!byHost && scheme !== trustedScheme) return false
    return pattern.startsWith('*.') ? `.${host}`.endsWith(pattern.slice(1)) : host === pattern
  })
}

function faultOfToken(request: FastifyRequest): string | undefined {
  const cookie = cookieOf(request, nameOf(request))
  if (cookie === undefined) return 'CSRF cookie not set.'
  const fault = faultOfForm(cookie)
  if (fault !== undefined) return `CSRF cookie ${fault}.`
  const field = fieldOf(request)
  const token = field || request.headers['x-csrftoken']
  if (token === undefined) return 'CSRF token missing.'
  const text = String(token)
  const isWrong = () => (constantTimeEqual(unmasked(text), unmasked(cookie)) ? undefined : 'incorrect')
  const problem = faultOfForm(text) ?? isWrong()
  if (problem === undefined) return undefined
  return `CSRF token from ${field ? 'POST' : "the 'X-Csrftoken' HTTP header"} ${problem}.`
}

const nameOf = (request: FastifyRequest) =>
  cookieNameOf(request, request.server[AUTH_CORE].settings.csrfCookieName, 'csrftoken')

function faultOfForm(token: string): string | undefined {
  if (token.length !== LENGTH && token.length !== 2 * LENGTH) return 'has incorrect length'
  return /^[a-zA-Z0-9]*$/.test(token) ? undefined : 'has invalid characters'
}

/** Returns the token in the field of a form. The body must have been read: as in a preHandler hook. */
function fieldOf({ method, headers, body }: FastifyRequest): string {
  if (method !== 'POST' || !FORM.test(headers['content-type'] ?? '')) return ''
  const value = body instanceof Map ? body.get(FIELD) : (body as Record<string, unknown> | null | undefined)?.[FIELD]
  return typeof value === 'string' ? value : ''
}

function secretOf(request: FastifyRequest): string | undefined {
  const cookie = cookieOf(request, nameOf(request))
  return cookie === undefined || faultOfForm(cookie) !== undefined ? undefined : unmasked(cookie)
}

function setSecret(request: FastifyRequest, reply: FastifyReply, secret: string): string {
  secrets.set(request, secret)
  setCookie(request, reply, [nameOf(request), secret], { maxAge: AGE })
  varyBy(reply, 'Cookie')
  return secret
}

/** Masks the secret, against the BREACH attack on compressed pages. */
export const masked = (secret: string, mask: string) => mask + shifted(secret, mask, 1)

/** Returns the secret of a token, which may also be unmasked. */
export const unmasked = (token: string) =>
  token.length === LENGTH ? token : shifted(token.slice(LENGTH), token.slice(0, LENGTH), -1)

function shifted(text: string, by: string, sign: 1 | -1): string {
  const place = (character: string) => ALPHANUMERIC.indexOf(character)
  const { length } = ALPHANUMERIC
  return [...text]
    .map((character, index) => ALPHANUMERIC[(place(character) + sign * place(by.charAt(index)) + length) % length])
    .join('')
}

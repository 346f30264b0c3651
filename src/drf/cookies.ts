/** Cookies with Django's attributes. */
import { parseCookie, type SerializeOptions, stringifySetCookie } from 'cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The value of a cookie of the request; undefined if there is no such cookie. */
export const cookieOf = ({ headers }: FastifyRequest, name: string): string | undefined =>
  parseCookie(headers.cookie ?? '')[name]

/**
 * Adds a `Set-Cookie` header, by default for all paths of this host, `SameSite=Lax`, and `Secure` if the request came
 * over TLS.
 *
 * @param cookie its name and value
 * @param options attributes that replace the defaults
 */
export function setCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  cookie: [name: string, value: string],
  options: SerializeOptions
): void {
  const secure = request.protocol === 'https'
  reply.header('set-cookie', stringifySetCookie(...cookie, { path: '/', sameSite: 'lax', secure, ...options }))
}

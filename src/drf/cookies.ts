/** Cookies with Django's attributes. */
import { parseCookie, type SerializeOptions, stringifySetCookie } from 'cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'

/** The value of a cookie of the request; undefined if there is no such cookie. */
export const cookieOf = ({ headers }: FastifyRequest, name: string): string | undefined =>
  parseCookie(headers.cookie ?? '')[name]

/**
 * The name of a cookie: the configured one, or `fallback`, over TLS with the prefix `__Host-`, by which browsers reject a
 * cookie that another host or an unencrypted connection sets.
 */
export const cookieNameOf = ({ protocol }: FastifyRequest, configured: string | null, fallback: string): string =>
  configured ?? (protocol === 'https' ? `__Host-${fallback}` : fallback)

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

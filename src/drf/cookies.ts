/** Cookies as Django sets them. */
import { parseCookie, type SerializeOptions, stringifySetCookie } from 'cookie'
import type { FastifyReply, FastifyRequest } from 'fastify'

export const cookieOf = ({ headers }: FastifyRequest, name: string): string | undefined =>
  parseCookie(headers.cookie ?? '')[name]

/** For this host alone, on all of its paths; over TLS only if that is how the request came. */
export function setCookie(
  request: FastifyRequest,
  reply: FastifyReply,
  value: [name: string, text: string],
  options: SerializeOptions
): void {
  const secure = request.protocol === 'https'
  reply.header('set-cookie', stringifySetCookie(...value, { path: '/', sameSite: 'lax', secure, ...options }))
}

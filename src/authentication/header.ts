/** The credentials in a request's header. */
import type { FastifyRequest } from 'fastify'

/**
 * Its words: a scheme's name and what follows. Of ASCII's white space only: a header is made of bytes, and a no-break
 * space is none of its blanks.
 *
 * @param name in small letters
 */
export function wordsOf(request: FastifyRequest, name = 'authorization'): string[] {
  return textOf(request, name)
    .split(/[ \t\n\v\f\r]+/)
    .filter(Boolean)
}

/** All that was sent, joined as WSGI does; Node passes over the second of two, which another may have gone by. */
function textOf({ raw: { rawHeaders } }: FastifyRequest, name: string): string {
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name).join()
}

/** Reads the credentials in a header of a request. */
import type { FastifyRequest } from 'fastify'

/**
 * Splits the header at ASCII white space: the name of the scheme, and the credentials.
 *
 * @param name in lower case
 */
export function wordsOf(request: FastifyRequest, name = 'authorization'): string[] {
  return textOf(request, name)
    .split(/[ \t\n\v\f\r]+/)
    .filter(Boolean)
}

/**
 * Joins repeated headers as WSGI does. Node ignores the second one, which a proxy may have checked. Simulated requests, such
 * as those of `app.injectWS`, have no raw headers.
 */
function textOf({ raw: { rawHeaders }, headers }: FastifyRequest, name: string): string {
  if (rawHeaders === undefined) return [headers[name] ?? ''].flat().join()
  return rawHeaders.filter((_, index) => index % 2 === 1 && rawHeaders[index - 1]?.toLowerCase() === name).join()
}

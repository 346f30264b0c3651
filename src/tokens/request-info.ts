/**
 * The HTTP request that an operation belongs to, as plain data: the domain does not depend on Fastify.
 *
 * `authentication/caller.ts` makes it from a Fastify request.
 */
export interface RequestInfo {
  readonly id: string
  readonly method: string
  /** Path and query, as received. */
  readonly url: string
  /** IP address of the client; behind a trusted proxy the one that the proxy reports. */
  readonly address: string
  /** The `User-Agent` header, or an empty string. */
  readonly userAgent: string
  /** True if the client has closed the connection, so that nobody waits for the response. */
  readonly isAbandoned?: () => boolean
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

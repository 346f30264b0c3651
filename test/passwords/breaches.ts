/** A server of breached passwords on loopback, which records its requests. */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Scope } from '../support/build.ts'

/** A password that is valid except that it is breached. */
export const KNOWN = 'Zx9-long-pass'
const hash = createHash('sha1').update(KNOWN).digest('hex').toUpperCase()
/** Its hash in two parts: the prefix in the request, and the rest in the response. */
export const [PREFIX, REST] = [hash.slice(0, 5), hash.slice(5)]

export type Answer = (response: ServerResponse, request: IncomingMessage) => void
export const listing =
  (...lines: string[]): Answer =>
  (response) =>
    response.end(lines.join('\r\n'))

export interface Breaches {
  /** For `passwordBreachedUrl`. */
  url: string
  asked: { url: string | undefined; padding: unknown; sent: string }[]
  stop: () => Promise<void>
}

export async function startBreaches(scope: Scope, answer: Answer = listing(`${REST}:42`)): Promise<Breaches> {
  const asked: Breaches['asked'] = []
  const server = createServer((request, response) => {
    asked.push({
      ...{ url: request.url, padding: request.headers['add-padding'] },
      sent: JSON.stringify([request.method, request.url, request.rawHeaders])
    })
    answer(response, request)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const stop = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  scope.teardown(stop)
  return { asked, url: `http://127.0.0.1:${port}/range/`, stop }
}

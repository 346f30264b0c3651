/** Requests with a limit on time and size. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { boundedFetch } from '../src/bounded-fetch.ts'

const LIMITS = { timeoutMs: 5000, maxBytes: 10 }

async function serve(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  t.teardown(() => server.close().closeAllConnections())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/secret-path`
}

t.test('the body of a 200 response is returned, and the headers are sent', async (t) => {
  const url = await serve(t, ({ headers }, response) => void response.end(headers.accept))

  t.equal((await boundedFetch(url, { accept: '0123456789' }, LIMITS)).toString(), '0123456789')
})

t.test('another status, a redirect, or a body over the limit is an error without the URL', async (t) => {
  const cases: [listener: RequestListener, message: RegExp][] = [
    [(_request, response) => response.writeHead(204).end(), /^the server responded with status 204$/],
    [(_request, response) => response.writeHead(302, { location: '/' }).end(), /^fetch failed$/],
    [(_request, response) => response.end('01234567890'), /^the response has more than 10 bytes$/]
  ]
  for (const [listener, message] of cases) {
    const url = await serve(t, listener)
    await t.rejects(boundedFetch(url, {}, LIMITS), { message })
  }
})

t.test('a response or a body that takes too long is an error', async (t) => {
  const listeners: RequestListener[] = [() => undefined, (_request, response) => void response.write('0')]
  for (const listener of listeners) {
    const url = await serve(t, listener)
    await t.rejects(boundedFetch(url, {}, { ...LIMITS, timeoutMs: 100 }), { name: 'TimeoutError' })
  }
})

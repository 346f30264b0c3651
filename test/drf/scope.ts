/** Apps with a scope for DRF's views, raw requests and a captured log. */

import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import type { Test } from 'tap'
import { drfScope } from '../../src/drf/view.ts'

/** Creates an app with a prepared scope. @param setUp adds the routes, below `/api` */
export async function scopeWith(
  t: Test,
  setUp: (scope: FastifyInstance) => unknown,
  options: FastifyServerOptions = {}
): Promise<FastifyInstance> {
  const app = Fastify(options)
  t.teardown(() => app.close())
  app.register(
    async (scope) => {
      drfScope(scope)
      await setUp(scope)
    },
    { prefix: '/api' }
  )
  await app.ready()
  return app
}

/** Sends bytes that `inject` cannot, and returns all that the server sends until it closes the connection. */
export async function sendRaw(app: FastifyInstance, request: string): Promise<string> {
  if (!app.server.listening) await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.end(request, 'latin1'))
    let answer = ''
    socket.setEncoding('latin1').on('data', (chunk) => {
      answer += chunk
    })
    socket.on('error', reject).on('close', () => resolve(answer))
  })
}

/** Options of an app whose log, from level warn, is collected in `lines`. */
export function keptLog(): { lines: Record<string, unknown>[]; options: FastifyServerOptions } {
  const lines: Record<string, unknown>[] = []
  const stream = { write: (line: string) => lines.push(JSON.parse(line)) }
  return { lines, options: { logger: { level: 'warn', stream } } }
}

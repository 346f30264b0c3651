/** A server on a real port, for tests that `inject` does not support. */
import type { AddressInfo } from 'node:net'
import { connect } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { createServer } from '../../src/server/server.ts'
import { loadSettings } from '../../src/settings/load.ts'
import type { SettingsInput } from '../../src/settings/schema.ts'
import { type Scope, worldOf } from './build.ts'
import { CHEAP } from './settings.ts'

export interface Listening {
  app: FastifyInstance
  /** Such as `http://127.0.0.1:40321`. */
  origin: string
  port: number
}

/**
 * Starts a server on a new database, unless the settings name one, and closes it after the test.
 *
 * @param setUp adds routes
 */
export async function listening(
  scope: Scope,
  settings: SettingsInput = {},
  setUp: (app: FastifyInstance) => unknown = () => undefined
): Promise<Listening> {
  const databaseUrl = settings.databaseUrl ?? (await worldOf('sqlite').databaseUrl(scope))
  const app = await createServer(loadSettings({ ...CHEAP, logLevel: 'silent', ...settings, databaseUrl }))
  scope.teardown(() => app.close())
  await setUp(app)
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  return { app, origin: `http://127.0.0.1:${port}`, port }
}

export interface Wire {
  /** All data so far. */
  readonly received: string
  send(text: string): void
  /** Resolves when the data contain `text`; rejects if the connection closes before, and after ten seconds. */
  until(text: string | RegExp): Promise<string>
  /** Resolves to all data when the server closes the connection. */
  ended: Promise<string>
  end(): void
}

/** Opens a raw connection. */
export function wireTo(port: number): Wire {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  let isOver = false
  const watchers = new Set<() => void>()
  const tell = () => {
    for (const watch of watchers) watch()
  }
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    received += chunk
    tell()
  })
  // A reset by the server also counts as the end.
  socket.on('error', () => undefined)
  const ended = new Promise<string>((resolve) => {
    socket.on('close', () => {
      isOver = true
      tell()
      resolve(received)
    })
  })
  const until = (text: string | RegExp) =>
    new Promise<string>((resolve, reject) => {
      const settle = (act: () => void) => {
        watchers.delete(watch)
        clearTimeout(timer)
        act()
      }
      const watch = () => {
        if (typeof text === 'string' ? received.includes(text) : text.test(received)) settle(() => resolve(received))
        else if (isOver) settle(() => reject(new Error(`hung up after ${JSON.stringify(received)}`)))
      }
      const timer = setTimeout(
        () => settle(() => reject(new Error(`no ${text} in ${JSON.stringify(received)}`))),
        10_000
      )
      watchers.add(watch)
      watch()
    })
  return {
    get received() {
      return received
    },
    send: (text) => void socket.write(text),
    until,
    ended,
    end: () => void socket.destroy()
  }
}

/** Splits a request in two parts: the head with the first byte of the body, and the rest. */
export function halvesOf(url: string, payload: object): [start: string, rest: string] {
  const body = JSON.stringify(payload)
  const head = [`POST ${url} HTTP/1.1`, 'Host: localhost', 'Content-Type: application/json']
  return [`${head.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 1)}`, body.slice(1)]
}

/** A proxy that records requests and simulates failures of the network. */
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Scope } from '../support/build.ts'

interface Seen {
  /** Such as `POST /api/token/refresh/`. */
  line: string
  headers: IncomingHttpHeaders
  body: string
}

/** @param pass sends the request to the server and resolves to a function that sends its response to the client */
export type Handler = (pass: () => Promise<() => void>, response: ServerResponse) => unknown

export interface TestProxy {
  origin: string
  /** The recorded requests, or those whose line starts with `line`. */
  seen(line?: string): Seen[]
  /** Handles the next request whose line starts with `line`, or all of them with `always`. */
  upon(line: string, handler: Handler, always?: 'always'): void
  /** Removes all handlers. */
  mend(): void
}

/** Closes the connection without sending the request to the server. */
export const cut: Handler = (_pass, response) => response.destroy()

/** Sends the request to the server and closes the connection without a response. */
export const lose: Handler = async (pass, response) => {
  await pass()
  response.destroy()
}

export const refuse =
  (status: number, body = '', headers: Record<string, string> = {}): Handler =>
  (_pass, response) =>
    response.writeHead(status, headers).end(body)

/** Delays a request until `release` is called. */
export function hold(): { handler: Handler; arrived: Promise<void>; release: () => void } {
  let [arrive, release] = [() => {}, () => {}]
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const released = new Promise<void>((resolve) => {
    release = resolve
  })
  const handler: Handler = async (pass) => {
    arrive()
    await released
    const send = await pass()
    send()
  }
  return { handler, arrived, release: () => release() }
}

const passOn: Handler = async (pass) => (await pass())()

export async function layProxy(scope: Scope, target: string): Promise<TestProxy> {
  const all: Seen[] = []
  const handlers: { line: string; handler: Handler; isOnce: boolean }[] = []
  const handlerOf = (line: string) => {
    const index = handlers.findIndex((one) => line.startsWith(one.line))
    if (index < 0) return passOn
    const { handler, isOnce } = handlers[index] as (typeof handlers)[number]
    if (isOnce) handlers.splice(index, 1)
    return handler
  }
  const server = createServer(async (request, response) => {
    const body = await buffer(request)
    const line = `${request.method} ${request.url}`
    all.push({ line, headers: request.headers, body: `${body}` })
    await handlerOf(line)(() => pass(target, request, body, response), response)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  scope.teardown(() => server.close().closeAllConnections())
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen: (line = '') => all.filter((one) => one.line.startsWith(line)),
    upon: (line, handler, always) => void handlers.push({ line, handler, isOnce: always === undefined }),
    mend: () => void handlers.splice(0)
  }
}

const HOP = new Set(['connection', 'content-length', 'host', 'keep-alive', 'transfer-encoding', 'expect'])

async function pass(target: string, { method = '', url, headers }: IncomingMessage, body: Buffer, to: ServerResponse) {
  const kept = Object.entries(headers).filter(([name]) => !HOP.has(name)) as [string, string][]
  const answer = await fetch(`${target}${url}`, {
    ...{ method, headers: kept, redirect: 'manual' },
    ...(body.length > 0 && { body })
  })
  const text = Buffer.from(await answer.arrayBuffer())
  return () => {
    const back = [...answer.headers].filter(([name]) => !HOP.has(name)).flat()
    to.writeHead(answer.status, back).end(text)
  }
}

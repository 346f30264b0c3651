/**
 * HTTP below Fastify: requests that Node rejects, or to which it responds by itself, get the same JSON responses as all
 * others.
 */
import type { RequestListener, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import { ParseError } from '../errors.ts'

/** For responses that do not pass @fastify/helmet. */
export const NOSNIFF = { 'x-content-type-options': 'nosniff' }

/** By Node's error code; all others are a 400. */
const RESPONSES: Record<string, [status: string, detail: string]> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request took too long.']
}

/** The response to the latest request of each connection. */
const latestResponses = new WeakMap<Socket, ServerResponse>()

/**
 * Handles CONNECT and `Expect`, to which Node responds by itself, tracks the responses for `handleClientError`, and bounds
 * what a client can cost that sends requests and does not read the responses: they are handled one after the other, and the
 * connection is closed if no byte of a finished response is taken within the server's `timeout`.
 */
export function handleRawRequests(server: Server): void {
  const [handle] = server.listeners('request') as [RequestListener]
  server.removeAllListeners('request')
  /** The response that each connection gets now. */
  const current = new WeakMap<Socket, ServerResponse>()
  server.on('request', (request, response) => {
    const start = () => {
      current.set(request.socket, response)
      handle(request, response)
    }
    const previous = latestResponses.get(request.socket)
    latestResponses.set(request.socket, response)
    // Pipelined requests: Node would handle all of them at once and keep all responses in memory.
    if (previous === undefined || previous.writableFinished) start()
    else previous.once('finish', start)
  })
  server.on('timeout', (socket) => {
    const response = current.get(socket)
    // A response that is still being made is not the client's fault.
    if (response === undefined || response.writableEnded) socket.destroy()
  })
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
  server.on('connect', (_request, socket) => handleClientError({ code: '' }, socket as Socket))
}

/**
 * Fastify's clientErrorHandler: responds to what is not valid HTTP, or arrives too slowly, and closes the connection.
 *
 * It must not write before the response to an earlier, pipelined request is finished, nor a second response to the same
 * request: a proxy would match it to another request (response splitting).
 */
export function handleClientError({ code }: { code: string }, socket: Socket): void {
  const response = latestResponses.get(socket)
  if (response?.req.complete && !response.writableFinished && !socket.destroyed) {
    response.shouldKeepAlive = false
    return
  }
  const hasResponse = response !== undefined && !response.req.complete && response.headersSent
  if (socket.writable && code !== 'ECONNRESET' && !hasResponse) socket.write(createResponse(code))
  socket.destroySoon()
}

function createResponse(code: string): string {
  const [status, detail] = RESPONSES[code] ?? ['400 Bad Request', 'Malformed request.']
  const body = JSON.stringify({ detail })
  const headers = {
    'content-type': 'application/json',
    ...NOSNIFF,
    'content-length': body.length,
    connection: 'close'
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status}`, ...lines, '', body].join('\r\n')
}

/**
 * An onRequest hook that rejects a request without exactly one Host (RFC 9112 §3.2). Node accepts two of them, and its own
 * check responds without a body.
 *
 * @throws {ParseError}
 */
export async function assertHost({ raw: { httpVersion, rawHeaders } }: FastifyRequest): Promise<void> {
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) throw new ParseError()
}

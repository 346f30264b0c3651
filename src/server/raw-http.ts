/**
 * HTTP below Fastify: requests that Node rejects, or to which it responds by itself, get the same JSON responses as all
 * others.
 */
import type { Server, ServerResponse } from 'node:http'
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

/** Handles CONNECT and `Expect`, to which Node responds by itself, and tracks the responses for `handleClientError`. */
export function handleRawRequests(server: Server): void {
  server.on('request', (request, response) => latestResponses.set(request.socket, response))
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

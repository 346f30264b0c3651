import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError, type ErrorBody, NotFound, ServiceUnavailable, Throttled } from '../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** `WWW-Authenticate` of the route's 401 responses, unless the error has its own. */
    challenge?: string
  }
}

interface ErrorResponse {
  statusCode: number
  headers: Record<string, string>
  body: ErrorBody
}

/** Properties that a thrown value may have, of any type. */
type Thrown = Partial<Record<'statusCode' | 'code' | 'message' | 'expose', unknown>> & {
  headers?: Record<string, unknown>
}

/**
 * Sends an error in DRF's format. For `setErrorHandler` of a scope or a server, and for `frameworkErrors`.
 *
 * `AuthError`s, Fastify's own 4xx errors and those of http-errors and @fastify/sensible keep their status. A 503 keeps its
 * status and `Retry-After`, and is logged as a warning. Any other error is logged and becomes `500 {"detail":"A server error occurred."}`, which does not
 * reveal the cause.
 */
export function errorHandler(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { statusCode, headers, body } = toResponse(error, reply)
  if (statusCode === 503) request.log.warn({ err: error })
  else if (statusCode >= 500) request.log.error({ err: error })
  const { challenge } = request.routeOptions.config
  if (statusCode === 401 && challenge) reply.header('www-authenticate', challenge)
  reply.code(statusCode).headers(headers)
  send(reply, body)
}

/** Sends `404 {"detail":"Not found."}`; for `setNotFoundHandler`. */
export function notFoundHandler(_request: FastifyRequest, reply: FastifyReply): void {
  reply.code(404)
  send(reply, { detail: NotFound.detail })
}

/** With its own serializer, Fastify neither adds a charset nor applies a response schema of the route. */
function send(reply: FastifyReply, body: ErrorBody): void {
  reply.type('application/json').serializer(JSON.stringify).send(body)
}

function toResponse(error: unknown, reply: FastifyReply): ErrorResponse {
  if (error instanceof AuthError) return error
  const { statusCode, code, message, expose, headers } = (error ?? {}) as Thrown
  if (statusCode === 503) return toUnavailable(headers?.['retry-after'] ?? headers?.['Retry-After'])
  if (statusCode === 429) return toThrottled(reply)
  if (isForClient(statusCode, code, expose)) return { statusCode, headers: {}, body: { detail: String(message) } }
  return { statusCode: 500, headers: {}, body: { detail: AuthError.detail } }
}

/**
 * True for 4xx errors of Fastify and of http-errors (`expose`), and for a connection that the client closed while it sent
 * the body. The status of any other error may come from another service that the handler called, and is not meant for the
 * client.
 */
function isForClient(statusCode: unknown, code: unknown, expose: unknown): statusCode is number {
  const isClientError = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
  if (isClientError && expose === true) return true
  return isClientError && typeof code === 'string' && (code.startsWith('FST_') || code === 'ECONNRESET')
}

function toUnavailable(retryAfter: unknown): ErrorResponse {
  const headers: Record<string, string> = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }
  return { statusCode: 503, headers, body: { detail: ServiceUnavailable.detail } }
}

/** An error of @fastify/rate-limit, which sets `Retry-After` on the reply. */
function toThrottled(reply: FastifyReply): ErrorResponse {
  const wait = Number(reply.getHeader('retry-after'))
  return wait > 0 ? new Throttled(wait) : { statusCode: 429, headers: {}, body: { detail: Throttled.detail } }
}

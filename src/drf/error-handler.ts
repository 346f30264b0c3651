import type { FastifyReply, FastifyRequest } from 'fastify'
import { AuthError, type ErrorBody, NotFound, ServiceUnavailable, Throttled } from '../errors.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The `WWW-Authenticate` of the route's 401s that do not bring their own. */
    challenge?: string
  }
}

interface Answer {
  statusCode: number
  headers: Record<string, string>
  body: ErrorBody
}

/** What may be on something thrown; none of it can be relied on. */
type Thrown = Partial<Record<'statusCode' | 'code' | 'message', unknown>> & { headers?: Record<string, unknown> }

/**
 * Answers whatever was thrown in DRF's form. For a scope's `setErrorHandler`, for a server's, and for `frameworkErrors`.
 *
 * Refusals keep their status, headers and body; 503 keeps its status and `Retry-After`; all else is logged and becomes
 * `500 {"detail":"A server error occurred."}`, which tells nothing of the cause.
 */
export function errorHandler(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { statusCode, headers, body } = answerTo(error, reply)
  if (statusCode === 503) request.log.warn({ err: error })
  else if (statusCode >= 500) request.log.error({ err: error })
  const { challenge } = request.routeOptions.config
  if (statusCode === 401 && challenge) reply.header('www-authenticate', challenge)
  reply.code(statusCode).headers(headers)
  send(reply, body)
}

/** Answers `404 {"detail":"Not found."}`; for `setNotFoundHandler`. */
export function notFoundHandler(_request: FastifyRequest, reply: FastifyReply): void {
  reply.code(404)
  send(reply, { detail: NotFound.detail })
}

/** With a serializer of our own Fastify adds no charset, and no schema for another kind of answer gets in the way. */
function send(reply: FastifyReply, body: ErrorBody): void {
  reply.type('application/json').serializer(JSON.stringify).send(body)
}

function answerTo(error: unknown, reply: FastifyReply): Answer {
  if (error instanceof AuthError) return error
  const { statusCode, code, message, headers } = (error ?? {}) as Thrown
  if (statusCode === 503) return unavailable(headers?.['retry-after'] ?? headers?.['Retry-After'])
  if (statusCode === 429) return throttled(reply)
  if (isRefusal(statusCode, code)) return { statusCode, headers: {}, body: { detail: String(message) } }
  return { statusCode: 500, headers: {}, body: { detail: AuthError.detail } }
}

/**
 * Fastify's own refusals, and the client that went away in the middle of its body. The status of any other error may
 * be somebody else's answer to us, such as another service's, and none of the client's business.
 */
function isRefusal(statusCode: unknown, code: unknown): statusCode is number {
  const isClients = typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
  return isClients && typeof code === 'string' && (code.startsWith('FST_') || code === 'ECONNRESET')
}

function unavailable(retryAfter: unknown): Answer {
  const headers: Record<string, string> = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }
  return { statusCode: 503, headers, body: { detail: ServiceUnavailable.detail } }
}

/** @fastify/rate-limit's error, which says in a header how long to wait. */
function throttled(reply: FastifyReply): Answer {
  const wait = Number(reply.getHeader('retry-after'))
  return wait > 0 ? new Throttled(wait) : { statusCode: 429, headers: {}, body: { detail: Throttled.detail } }
}

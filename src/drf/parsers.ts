import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AuthError, UnsupportedMediaType } from '../errors.ts'
import { getDecoder } from './charset.ts'
import { parseForm } from './form.ts'
import { parseJson } from './json.ts'
import { MAX_MEDIA_TYPE_LENGTH, parseMediaType } from './media-type.ts'
import { parseMultipart } from './multipart.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** False if no handler uses the body. It is then not parsed, and cannot be invalid: DRF parses on demand. */
    readsBody?: boolean
  }
}

/** The media types of DRF's default parsers, in its order. */
export const PARSED_TYPES = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data'] as const

export const BODY_LIMIT_BYTES = 64 * 1024

/** 415: the body is compressed, which could expand it beyond the body limit. */
export class UnsupportedContentEncoding extends AuthError {
  static override statusCode = 415
  static override code = 'unsupported_content_encoding'

  constructor(encoding: string) {
    super(`Unsupported content encoding "${encoding}" in request.`)
    this.headers['accept-encoding'] = 'identity'
  }
}

/**
 * Replaces Fastify's body parsers by DRF's in a scope.
 *
 * `request.body` becomes the JSON value, a `Form` (a Map) for both types of form, or undefined for an empty body of any
 * type. It is parsed after `onRequest` and before the `preValidation` hooks of the routes. The errors are
 * UnsupportedContentEncoding, UnsupportedMediaType, ParseError and, over `BODY_LIMIT_BYTES`, Fastify's own 413.
 */
export function addParsers(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: BODY_LIMIT_BYTES }, (_request, body, done) => {
    done(null, body)
  })
  scope.addHook('preParsing', hideMalformedType)
  // Not in the parser above, because Fastify closes the connection if a parser fails, although the body was read
  // completely.
  scope.addHook('preValidation', parseBody)
}

const WELL_FORMED = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+\s*(;|$)/

/** Fastify rejects a malformed Content-Type with its own message, even for a request without a body. */
function hideMalformedType(
  request: FastifyRequest,
  _reply: unknown,
  payload: unknown,
  done: (error: null, payload: never) => void
) {
  const type = request.headers['content-type']
  if (type !== undefined && !WELL_FORMED.test(type)) request.headers = { 'content-type': undefined }
  done(null, payload as never)
}

async function parseBody(request: FastifyRequest): Promise<void> {
  const { body } = request
  if (!Buffer.isBuffer(body)) return
  const isRead = body.length > 0 && request.routeOptions.config.readsBody !== false
  request.body = isRead ? await parse(body, request.raw.headers) : undefined
}

async function parse(body: Buffer, headers: FastifyRequest['raw']['headers']): Promise<unknown> {
  const { 'content-type': contentType = '', 'content-encoding': encoding = 'identity' } = headers
  if (encoding.toLowerCase() !== 'identity') throw new UnsupportedContentEncoding(encoding)
  if (contentType.length > MAX_MEDIA_TYPE_LENGTH) throw new UnsupportedMediaType(contentType)
  const { type, parameters } = parseMediaType(contentType)
  const charset = parameters.get('charset')
  switch (type) {
    case 'application/json':
      return parseJson(getDecoder(charset, 'JSON')(body))
    case 'application/x-www-form-urlencoded':
      return parseForm(body, getDecoder(charset, 'Form'))
    case 'multipart/form-data':
      return parseMultipart(body, parameters.get('boundary'), getDecoder(charset, 'Multipart form'))
    default:
      throw new UnsupportedMediaType(contentType)
  }
}

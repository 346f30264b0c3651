import type { FastifyInstance, FastifyRequest } from 'fastify'
import { AuthError, UnsupportedMediaType } from '../errors.ts'
import { decoderFor } from './charset.ts'
import { parseForm } from './form.ts'
import { parseJson } from './json.ts'
import { MAX_MEDIA_TYPE_LENGTH, parseMediaType } from './media-type.ts'
import { parseMultipart } from './multipart.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** False where no handler looks at the body: it is then not judged either, as in DRF, which parses on demand. */
    readsBody?: boolean
  }
}

/** What is read, in the order of DRF's `parses`. */
export const PARSED_TYPES = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data'] as const

/** In bytes. */
export const BODY_LIMIT = 64 * 1024

export class UnsupportedContentEncoding extends AuthError {
  static override statusCode = 415
  static override code = 'unsupported_content_encoding'

  constructor(encoding: string) {
    super(`Unsupported content encoding "${encoding}" in request.`)
    this.headers['accept-encoding'] = 'identity'
  }
}

/**
 * Has the bodies of a scope's routes parsed as DRF parses them, in place of Fastify's own parsers.
 *
 * `request.body` becomes the JSON value, a `Form` (a Map) for either kind of form, or undefined for an empty body,
 * whatever its type. It is parsed after `onRequest`, before the routes' own `preValidation`.
 * The refusals are UnsupportedMediaType, ParseError and, over `BODY_LIMIT`, Fastify's own 413.
 */
export function addParsers(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers()
  scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: BODY_LIMIT }, (_request, body, done) => {
    done(null, body)
  })
  scope.addHook('preParsing', hideMalformedType)
  // Not in the parser above: Fastify ends the connection when a parser fails, though the body has been read to its end.
  scope.addHook('preValidation', parseBody)
}

const WELL_FORMED = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+\s*(;|$)/

/** Fastify answers a malformed Content-Type in words of its own, and even where there is no body to have a type. */
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
      return parseJson(decoderFor(charset, 'JSON')(body))
    case 'application/x-www-form-urlencoded':
      return parseForm(body, decoderFor(charset, 'Form'))
    case 'multipart/form-data':
      return parseMultipart(body, parameters.get('boundary'), decoderFor(charset, 'Multipart form'))
    default:
      throw new UnsupportedMediaType(contentType)
  }
}

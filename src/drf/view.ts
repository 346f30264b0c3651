/** DRF's APIView on Fastify: content negotiation, validation of fields, OPTIONS, 405 and the headers of responses. */
import type { IncomingMessage } from 'node:http'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import fastJson from 'fast-json-stringify'
import type {
  FastifyContextConfig,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  FastifySchema,
  onRequestAsyncHookHandler,
  onRequestHookHandler,
  onSendHookHandler,
  RawServerDefault,
  RouteOptions
} from 'fastify'
import type { Static, TObject, TSchema } from 'typebox'
import { MethodNotAllowed, ValidationError } from '../errors.ts'
import { errorHandler } from './error-handler.ts'
import { type Faults, readFields } from './fields.ts'
import { metadataOf } from './metadata.ts'
import { negotiate } from './negotiation.ts'
import { addParsers, PARSED_TYPES } from './parsers.ts'
import type { LoginThrottle } from './throttle.ts'
import { varyBy } from './vary.ts'

/** In DRF's order in `Allow`. */
const VERBS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
type Verb = (typeof VERBS)[number]

/** A hook that throws an error to reject a request: authentication, a guard or a throttle. */
type Before = onRequestHookHandler | onRequestAsyncHookHandler

/** The body schemas of a view's methods; unknown for a method without a body. */
type Bodies = Partial<Record<Verb, unknown>>

/** A request whose body has the type of its schema. */
type ViewRequest<Body> = FastifyRequest<
  { Params: Record<string, string> },
  RawServerDefault,
  IncomingMessage,
  Body extends TObject ? { body: Body } : FastifySchema,
  TypeBoxTypeProvider
>

interface ViewMethod<Body = unknown> {
  summary: string
  /** An object of fields. Without it, the body of the request is ignored. */
  body?: Body
  /** The query parameters, for OpenAPI. */
  query?: TObject
  /**
   * DRF's `validate`: checks what the fields alone cannot, such as whether a name is taken. Its messages are reported
   * together with those of the fields. It may also throw, such as a 404.
   *
   * @param values of the valid fields
   */
  validate?(values: Body extends TObject ? Partial<Static<Body>> : never, request: FastifyRequest): Promise<Faults>
  /** The security requirement, for OpenAPI. */
  security?: readonly { [scheme: string]: readonly string[] }[]
  /** Schemas by status. Properties that a schema does not have are removed from the response. */
  response: Record<number, TSchema>
  config?: FastifyContextConfig
  /** Returns a body to validate in place of the body of the request. */
  getBody?: (request: FastifyRequest) => unknown
  /** Returns the body of the response, which has status 200 unless the handler sets another one. */
  handler(request: ViewRequest<Body>, reply: FastifyReply): Promise<unknown>
}

export interface View<Given extends Bodies = Bodies> {
  /** For OPTIONS, such as `Token Obtain Pair`. */
  name: string
  description: string
  tags: string[]
  /** `WWW-Authenticate` of this view's 401 responses, such as `Bearer realm="api"`. */
  challenge?: string
  /** False for a DRF view that only renders JSON, so that responses do not vary by `Accept`. */
  vary?: boolean
  /**
   * Authentication, guards and throttles, in this order; they run for every method, including OPTIONS and methods that
   * the view does not have. A rate limit belongs here, where the URLs with and without a trailing slash share it, not
   * in the configuration of a route.
   */
  before?: Before[]
  /** For a view that checks passwords: counts each request with a body, after `before`, unless its handler succeeds. */
  countFailures?: LoginThrottle
  methods: { [Name in keyof Given]: ViewMethod<Given[Name]> }
}

/** Adds DRF's parsers and error handler to an encapsulated scope. Call it once, before `view`. */
export function drfScope(scope: FastifyInstance): void {
  addParsers(scope)
  scope.setErrorHandler(errorHandler)
}

/**
 * Adds the routes of a view to a scope that `drfScope` has prepared.
 *
 * A request passes content negotiation, `before`, the check of the method, the parser, the validation of fields and the
 * handler, in this order. OPTIONS returns metadata; other methods that Fastify supports return 405 if the view does not
 * have them. The URL is also served without its trailing slash, but not listed as such in OpenAPI.
 *
 * @param url with a trailing slash, relative to the scope's prefix
 */
export function view<const Given extends Bodies>(
  scope: FastifyInstance,
  url: `/${string}/`,
  options: View<Given>
): void {
  const templates = createTemplates(scope, options as unknown as View)
  for (const path of pathsOf(scope, url)) {
    for (const template of templates) scope.route(createRoute(template, path, path !== url))
  }
}

function pathsOf({ initialConfig }: FastifyInstance, url: string): string[] {
  const isIgnored = initialConfig.ignoreTrailingSlash || initialConfig.routerOptions?.ignoreTrailingSlash
  return isIgnored ? [url] : [url, url.slice(0, -1)]
}

/** A route without its URL, of which there are two. */
type RouteTemplate = Omit<RouteOptions, 'url' | 'schema' | 'onRequest'> & { schema: object; onRequest: Before[] }
type CommonTemplate = Omit<RouteTemplate, 'method' | 'handler'>

function createTemplates(scope: FastifyInstance, options: View): RouteTemplate[] {
  const verbs = VERBS.filter((verb) => options.methods[verb])
  const allowed = [...verbs, ...(verbs.includes('GET') ? ['HEAD'] : []), 'OPTIONS']
  const common = createCommonTemplate(options, allowed)
  const methods = verbs.map((verb) => createTemplate(common, verb, options))
  const heads = methods
    .filter(({ method }) => method === 'GET')
    .map((get) => ({ ...get, method: 'HEAD', schema: hide(get) }))
  const metadata = metadataOf(options)
  const others = scope.supportedMethods.filter((method) => !allowed.includes(method))
  return [
    ...methods,
    ...heads,
    // One route for both, because registering routes takes most of the time in which an app becomes ready.
    {
      ...common,
      method: ['OPTIONS', ...others],
      onRequest: [...common.onRequest, rejectMethod],
      handler: async () => metadata
    }
  ]
}

function createCommonTemplate({ challenge, vary = true, before = [] }: View, allowed: string[]): CommonTemplate {
  return {
    schema: { hide: true },
    config: { readsBody: false, ...(challenge ? { challenge } : {}) },
    exposeHeadRoute: false,
    onRequest: [negotiateContent, ...before],
    onSend: createFinisher(allowed.join(', '), vary),
    // `readFields` validates the fields. By default, Fastify would also validate them with Ajv, which coerces values.
    validatorCompiler: () => () => true,
    serializerCompiler: ({ schema }) => getSerializer(schema)
  }
}

const serializers = new Map<string, (body: unknown) => string>()

/**
 * Shares serializers of equal schemas, because compiling is slow: a view has two URLs, and most errors have the same
 * schema.
 */
function getSerializer(schema: object): (body: unknown) => string {
  const key = JSON.stringify(schema)
  const serializer = serializers.get(key) ?? (fastJson(schema) as (body: unknown) => string)
  serializers.set(key, serializer)
  return serializer
}

function createTemplate(common: CommonTemplate, verb: Verb, options: View): RouteTemplate {
  const { body, getBody, validate, handler, ...method } = options.methods[verb] as ViewMethod<TObject>
  const { summary, response, security, query, config } = method
  const { tags, description, countFailures } = options
  return {
    ...common,
    method: verb,
    schema: {
      summary,
      description,
      tags,
      response,
      ...(security && { security }),
      ...(query && { querystring: query }),
      ...(body && { body, consumes: PARSED_TYPES })
    },
    config: { ...common.config, ...config, readsBody: body !== undefined },
    preValidation: body ? [createValidator({ body, getBody, validate })] : [],
    ...(countFailures && body
      ? { onRequest: [...common.onRequest, countFailures], handler: refundOnSuccess(countFailures, handler) }
      : { handler })
  } as RouteTemplate
}

/** Does not count a request whose handler succeeded, because its password was correct. */
const refundOnSuccess =
  (throttle: LoginThrottle, handler: ViewMethod<TObject>['handler']): ViewMethod<TObject>['handler'] =>
  async (request, reply) => {
    const result = await handler(request, reply)
    throttle.giveBack(request as FastifyRequest)
    return result
  }

const hide = ({ schema }: RouteTemplate) => ({ ...schema, hide: true })

/** Copies the properties that plugins may modify in an `onRoute` hook. */
function createRoute(template: RouteTemplate, url: string, isHidden: boolean): RouteOptions {
  const schema = isHidden ? hide(template) : { ...template.schema }
  return { ...template, url, schema, onRequest: [...template.onRequest] } as RouteOptions
}

/** The indent of the response in spaces, for requests that ask for one. */
const indents = new WeakMap<FastifyRequest, number>()

const negotiateContent: onRequestHookHandler = (request, _reply, done) => {
  const indent = negotiate(request)
  if (indent > 0) indents.set(request, indent)
  done()
}

async function rejectMethod({ method }: FastifyRequest): Promise<void> {
  if (method !== 'OPTIONS') throw new MethodNotAllowed(method)
}

interface Validation {
  body: TObject
  getBody: ViewMethod['getBody'] | undefined
  validate: ViewMethod<TObject>['validate'] | undefined
}

/** Creates a hook that validates the body and replaces it by the values of its fields. */
const createValidator =
  ({ body, getBody, validate }: Validation) =>
  async (request: FastifyRequest) => {
    const { values, faults } = readFields(body, getBody ? getBody(request) : request.body)
    const others = (await validate?.(values, request)) ?? {}
    const entries = Object.keys(body.properties).flatMap((name) => {
      const messages = [...(faults[name] ?? []), ...(others[name] ?? [])]
      return messages.length > 0 ? [[name, messages] as const] : []
    })
    if (entries.length > 0) throw new ValidationError(Object.fromEntries(entries))
    request.body = values
  }

/** Creates a hook that gives every response of a view, including errors, the headers and the format of DRF. */
function createFinisher(allow: string, varies: boolean): onSendHookHandler<unknown> {
  return (request, reply, payload, done) => {
    reply.header('allow', allow)
    if (varies) varyBy(reply, 'Accept')
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
    if (typeof payload !== 'string' || !isJson(reply)) return done(null, payload)
    const text = escapeSeparators(indentJson(payload, indents.get(request)))
    reply.header('content-type', 'application/json').header('content-length', Buffer.byteLength(text))
    done(null, request.method === 'HEAD' ? null : text)
  }
}

/** False for plain text that another plugin sends before the request reaches the view. */
const isJson = (reply: FastifyReply) => String(reply.getHeader('content-type')).startsWith('application/json')

const indentJson = (json: string, indent: number | undefined) =>
  indent === undefined ? json : JSON.stringify(JSON.parse(json), null, indent)

/** Escapes U+2028 and U+2029, as DRF does: JSON allows them in strings, but JavaScript before ES2019 does not. */
const escapeSeparators = (json: string) => json.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')

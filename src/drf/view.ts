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

/** In the order in which DRF lists them in `Allow`. */
const VERBS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
type Verb = (typeof VERBS)[number]

/** Runs before a handler and refuses by throwing: authentication, a guard, a throttle. */
type Before = onRequestHookHandler | onRequestAsyncHookHandler

/** The bodies of a view's methods; unknown for a method without one. */
type Bodies = Partial<Record<Verb, unknown>>

/** By Fastify's type provider, the body is what its schema says. */
type ViewRequest<Body> = FastifyRequest<
  { Params: Record<string, string> },
  RawServerDefault,
  IncomingMessage,
  Body extends TObject ? { body: Body } : FastifySchema,
  TypeBoxTypeProvider
>

export interface Method<Body = unknown> {
  summary: string
  /** An object of fields. Without one the request's body is not looked at. */
  body?: Body
  /** The parameters of the URL, for an OpenAPI document. */
  query?: TObject
  /**
   * What else is wrong with the fields that are good in themselves, such as a name that is taken; told together with
   * what is wrong with the others. May throw what comes before all that, such as a 404.
   */
  faults?(given: Body extends TObject ? Partial<Static<Body>> : never, request: FastifyRequest): Promise<Faults>
  /** For OpenAPI: the names of the schemes that a caller has to use. */
  security?: readonly { [scheme: string]: readonly string[] }[]
  /** By status. What a schema does not name is left out of the answer. */
  response: Record<number, TSchema>
  config?: FastifyContextConfig
  /** A body in place of the one that was sent, before its fields are read. */
  bodyOf?: (request: FastifyRequest) => unknown
  /** What it resolves to is sent with status 200, unless it sets another one on the reply. */
  handler(request: ViewRequest<Body>, reply: FastifyReply): Promise<unknown>
}

export interface View<Given extends Bodies = Bodies> {
  /** As OPTIONS tells it, such as `Token Obtain Pair`. */
  name: string
  description: string
  tags: string[]
  /** The `WWW-Authenticate` of this view's 401s, such as `Bearer realm="api"`. */
  challenge?: string
  /** False where there was never another form to choose than JSON, so that the answer does not depend on `Accept`. */
  vary?: boolean
  /**
   * Run in this order for every method, OPTIONS and refused ones included: who is calling, may they, how often.
   * A limit belongs here, where both spellings of the URL share it, and not into a route's own configuration.
   */
  before?: Before[]
  /** For a view that checks passwords: counts each request with a body, after `before`, unless its handler succeeds. */
  countFailures?: LoginThrottle
  methods: { [Name in keyof Given]: Method<Given[Name]> }
}

/** Sets up an encapsulated scope for views, once: DRF's parsers and error answers. */
export function drfScope(scope: FastifyInstance): void {
  addParsers(scope)
  scope.setErrorHandler(errorHandler)
}

/**
 * DRF's APIView as routes of a scope that `drfScope` has set up.
 *
 * A request passes negotiation, `before`, the question whether the view has the method, the parser, the fields and the
 * handler, in this order. OPTIONS tells about the view; any other method that Fastify knows and the view has not is 405.
 * Both spellings of the URL are served; an OpenAPI document shows the one with the slash.
 *
 * @param url with its trailing slash, relative to the scope's prefix
 */
export function view<const Given extends Bodies>(
  scope: FastifyInstance,
  url: `/${string}/`,
  options: View<Given>
): void {
  const plans = plansFor(scope, options as unknown as View)
  for (const spelling of spellingsOf(scope, url)) {
    for (const plan of plans) scope.route(routeOf(plan, spelling, spelling !== url))
  }
}

function spellingsOf({ initialConfig }: FastifyInstance, url: string): string[] {
  const isIgnored = initialConfig.ignoreTrailingSlash || initialConfig.routerOptions?.ignoreTrailingSlash
  return isIgnored ? [url] : [url, url.slice(0, -1)]
}

/** A route but for its URL, which has two spellings. */
type Plan = Omit<RouteOptions, 'url' | 'schema' | 'onRequest'> & { schema: object; onRequest: Before[] }
type CommonPlan = Omit<Plan, 'method' | 'handler'>

function plansFor(scope: FastifyInstance, options: View): Plan[] {
  const verbs = VERBS.filter((verb) => options.methods[verb])
  const allowed = [...verbs, ...(verbs.includes('GET') ? ['HEAD'] : []), 'OPTIONS']
  const common = commonPlan(options, allowed)
  const methods = verbs.map((verb) => methodPlan(common, verb, options))
  const heads = methods
    .filter(({ method }) => method === 'GET')
    .map((get) => ({ ...get, method: 'HEAD', schema: hide(get) }))
  const metadata = metadataOf(options)
  const others = scope.supportedMethods.filter((method) => !allowed.includes(method))
  return [
    ...methods,
    ...heads,
    { ...common, method: 'OPTIONS', handler: async () => metadata },
    { ...common, method: others, onRequest: [...common.onRequest, refuseMethod], handler: refuseMethod }
  ]
}

function commonPlan({ challenge, vary = true, before = [] }: View, allowed: string[]): CommonPlan {
  return {
    schema: { hide: true },
    config: { readsBody: false, ...(challenge ? { challenge } : {}) },
    exposeHeadRoute: false,
    onRequest: [negotiateAnswer, ...before],
    onSend: finisher(allowed.join(', '), vary),
    // The fields are read below. Left alone, Fastify would have ajv check them, and coerce what they hold.
    validatorCompiler: () => () => true,
    serializerCompiler: ({ schema }) => serializerOf(schema)
  }
}

const serializers = new Map<string, (answer: unknown) => string>()

/** One for all that look alike: a view has two spellings, refusals are the same everywhere, and to make one takes a while. */
function serializerOf(schema: object): (answer: unknown) => string {
  const text = JSON.stringify(schema)
  const serializer = serializers.get(text) ?? (fastJson(schema) as (answer: unknown) => string)
  serializers.set(text, serializer)
  return serializer
}

function methodPlan(common: CommonPlan, verb: Verb, options: View): Plan {
  const { body, bodyOf, faults, handler, ...method } = options.methods[verb] as Method<TObject>
  const { summary, response, security, query, config } = method
  const { tags, description, countFailures } = options
  return {
    ...common,
    method: verb,
    schema: {
      ...{ summary, description, tags, response },
      ...(security && { security }),
      ...(query && { querystring: query }),
      ...(body && { body, consumes: PARSED_TYPES })
    },
    config: { ...common.config, ...config, readsBody: body !== undefined },
    preValidation: body ? [fieldReader({ body, bodyOf, faults })] : [],
    ...(countFailures && body
      ? { onRequest: [...common.onRequest, countFailures], handler: givingBack(countFailures, handler) }
      : { handler })
  } as Plan
}

/** A correct password does not use up the limit of its IP address. */
const givingBack =
  (throttle: LoginThrottle, handler: Method<TObject>['handler']): Method<TObject>['handler'] =>
  async (request, reply) => {
    const result = await handler(request, reply)
    throttle.giveBack(request as FastifyRequest)
    return result
  }

const hide = ({ schema }: Plan) => ({ ...schema, hide: true })

/** Copies what plugins are wont to change in a route that they are told of. */
function routeOf(plan: Plan, url: string, isHidden: boolean): RouteOptions {
  const schema = isHidden ? hide(plan) : { ...plan.schema }
  return { ...plan, url, schema, onRequest: [...plan.onRequest] } as RouteOptions
}

/** How many blanks an answer is indented by, for the few requests that ask for it. */
const indents = new WeakMap<FastifyRequest, number>()

const negotiateAnswer: onRequestHookHandler = (request, _reply, done) => {
  const indent = negotiate(request)
  if (indent > 0) indents.set(request, indent)
  done()
}

async function refuseMethod({ method }: FastifyRequest): Promise<never> {
  throw new MethodNotAllowed(method)
}

interface Reading {
  body: TObject
  bodyOf: Method['bodyOf'] | undefined
  faults: Method<TObject>['faults'] | undefined
}

const fieldReader =
  ({ body, bodyOf, faults: faultsOf }: Reading) =>
  async (request: FastifyRequest) => {
    const { values, faults } = readFields(body, bodyOf ? bodyOf(request) : request.body)
    const others = (await faultsOf?.(values, request)) ?? {}
    const told = Object.keys(body.properties).flatMap((name) => {
      const messages = [...(faults[name] ?? []), ...(others[name] ?? [])]
      return messages.length > 0 ? [[name, messages] as const] : []
    })
    if (told.length > 0) throw new ValidationError(Object.fromEntries(told))
    request.body = values
  }

/** Gives every answer of a view, refusals included, the headers and the looks of DRF's. */
function finisher(allow: string, varies: boolean): onSendHookHandler<unknown> {
  return (request, reply, payload, done) => {
    reply.header('allow', allow)
    if (varies) varyBy(reply, 'Accept')
    if (!reply.hasHeader('cache-control')) reply.header('cache-control', 'no-store')
    if (typeof payload !== 'string' || !isJson(reply)) return done(null, payload)
    const text = escapeSeparators(indented(payload, indents.get(request)))
    reply.header('content-type', 'application/json').header('content-length', Buffer.byteLength(text))
    done(null, request.method === 'HEAD' ? null : text)
  }
}

/** Not so the few answers that plugins give in plain text before a view is reached. */
const isJson = (reply: FastifyReply) => String(reply.getHeader('content-type')).startsWith('application/json')

const indented = (json: string, indent: number | undefined) =>
  indent === undefined ? json : JSON.stringify(JSON.parse(json), null, indent)

/** JSON allows U+2028 and U+2029 within strings, where a script of old took them for ends of lines. */
const escapeSeparators = (json: string) => json.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')

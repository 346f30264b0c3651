/** The server: a Fastify app with the plugin, all routes, OpenAPI, health checks, CORS, security headers and time limits. */
import type { IncomingMessage, Server } from 'node:http'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import Fastify, {
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyRequest,
  type onRequestHookHandler
} from 'fastify'
import { errorHandler, notFoundHandler } from '../drf/error-handler.ts'
import latchkey from '../plugin.ts'
import { accountRoutes, authRoutes } from '../routes/routes.ts'
import { wellKnownRoutes } from '../routes/well-known/jwks.ts'
import type { Settings } from '../settings/schema.ts'
import { healthRoutes } from './health.ts'
import { createLogStream } from './log-stream.ts'
import { registerOpenApi } from './openapi.ts'
import { assertHost, handleClientError, handleRawRequests, NOSNIFF } from './raw-http.ts'

/**
 * In milliseconds. Requests that arrive too slowly are rejected, and connections closed whose clients do not read. Idle
 * connections are kept for longer than the 60 seconds of common proxies, since a proxy must be the one that closes them.
 */
const TIMEOUTS = { requestTimeout: 20_000, keepAliveTimeout: 65_000, connectionTimeout: 30_000 }
const HTTP_OPTIONS = { headersTimeout: 10_000, connectionsCheckingInterval: 2000, requireHostHeader: false }
/**
 * When a shutdown closes all connections: after requests in progress, which wait up to five seconds for the database, but
 * before the ten seconds after which the command line exits with an error.
 */
const FORCE_CLOSE_AFTER_MS = 8000
const MAX_BODY_BYTES = 64 * 1024
/** A longer path parameter is a 404. */
const MAX_PARAM_LENGTH = 150
const PREFLIGHT_MAX_AGE_SECONDS = 600

type Logger = NonNullable<FastifyHttpOptions<Server>['logger']>

/**
 * Creates the app, which does not listen yet.
 *
 * @param logger by default JSON lines to standard output, of `settings.logLevel` and above
 * @throws {ImproperlyConfigured} if the database or the signing key cannot be used
 */
export async function createServer(settings: Settings, logger: Logger = loggerOf(settings)): Promise<FastifyInstance> {
  const options: FastifyHttpOptions<Server> = {
    ...TIMEOUTS,
    http: HTTP_OPTIONS,
    logger,
    bodyLimit: MAX_BODY_BYTES,
    trustProxy: settings.trustProxy.length > 0 ? [...settings.trustProxy] : false,
    forceCloseConnections: 'idle',
    // During shutdown, requests on open connections still get their normal responses.
    return503OnClosing: false,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    clientErrorHandler: handleClientError,
    rewriteUrl: (request) => routeUnknownMethod(request, knownMethods),
    frameworkErrors: (error, request, reply) => errorHandler(error, request, reply.headers(NOSNIFF))
  }
  const app = Fastify(options)
  const knownMethods = new Set(app.supportedMethods)
  handleRawRequests(app.server)
  app.addHook('onRequest', restoreMethod)
  app.setErrorHandler(errorHandler)
  app.setNotFoundHandler(notFoundHandler)
  await app.register(helmet, { contentSecurityPolicy: false })
  app.addHook('onRequest', assertHost)
  const isClosing = closeGracefully(app)
  if (settings.corsOrigins.length + settings.cookieOrigins.length > 0) {
    await app.register(cors, () => corsOptionsOf(settings))
  }
  await registerOpenApi(app, settings)
  await app.register(latchkey, settings)
  await app.register(authRoutes, { prefix: '/api' })
  await app.register(accountRoutes, { prefix: '/auth' })
  await app.register(wellKnownRoutes, { prefix: '/.well-known' })
  healthRoutes(app, isClosing)
  return app
}

/** The methods of requests that Fastify does not know by default, such as PROPFIND. */
const unknownMethods = new WeakMap<IncomingMessage, string>()

/**
 * Lets methods that Fastify does not know reach the routes, which respond with DRF's 405: as TRACE, which no view has.
 * Adding them to Fastify would make each of them a route of each view, which is 2200 more routes and 10 MB.
 */
function routeUnknownMethod(raw: IncomingMessage, known: ReadonlySet<string>): string {
  const { method = '', url = '' } = raw
  if (!known.has(method)) {
    unknownMethods.set(raw, method)
    raw.method = 'TRACE'
  }
  return url
}

/** An onRequest hook that sets the method back to that of the client, for error messages and logs. */
const restoreMethod: onRequestHookHandler = ({ raw }, _reply, done) => {
  if (raw.method === 'TRACE') raw.method = unknownMethods.get(raw) ?? raw.method
  done()
}

/**
 * Graceful shutdown: requests in progress are finished, and their connections closed with `Connection: close`. Node alone
 * would keep connections that are busy when the shutdown begins, and the process with them, until the client closes them.
 *
 * @returns whether the shutdown has begun
 */
function closeGracefully(app: FastifyInstance): () => boolean {
  let isClosing = false
  app.addHook('preClose', async () => {
    isClosing = true
    // Node's own time limits end with listening, so that an incomplete request would otherwise be waited for.
    setTimeout(() => app.server.closeAllConnections(), FORCE_CLOSE_AFTER_MS).unref()
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (isClosing) reply.header('connection', 'close')
    done(null, payload)
  })
  return () => isClosing
}

function corsOptionsOf({ corsOrigins, cookieOrigins, authHeaderName }: Settings) {
  const own = authHeaderName === 'HTTP_AUTHORIZATION' ? [] : [authHeaderName.slice('HTTP_'.length).replaceAll('_', '-')]
  const options = {
    origin: [...corsOrigins, ...cookieOrigins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ['Accept', 'Authorization', 'Content-Type', 'Prefer', 'X-Latchkey-Mode', ...own],
    exposedHeaders: ['Retry-After', 'WWW-Authenticate'],
    maxAge: PREFLIGHT_MAX_AGE_SECONDS
  }
  return async ({ headers }: FastifyRequest) => ({
    ...options,
    credentials: cookieOrigins.includes(String(headers.origin)),
    // Other OPTIONS requests ask for DRF's metadata of a view.
    preflight: headers.origin !== undefined && headers['access-control-request-method'] !== undefined
  })
}

/** A link of an email that leads to this server, by mistake: its token must not be in the log while it is valid. */
const maskTokens = (path = '') => path.replace(/[0-9a-z]{1,13}-[0-9a-f]{32}/gi, '***')

/** Logs no header, body or query string: they may contain tokens and passwords. */
function loggerOf({ logLevel }: Settings): Logger {
  const req = ({ method, url, id, ip, raw }: FastifyRequest) => {
    const path = maskTokens(url.split('?', 1)[0])
    return { id, method: unknownMethods.get(raw) ?? method, path, ip }
  }
  return { level: logLevel, serializers: { req }, stream: createLogStream() }
}

/** The server: the plugin, its routes, their documentation and health, on a Fastify of their own. */
import { METHODS, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import Fastify, { type FastifyHttpOptions, type FastifyInstance, type FastifyRequest } from 'fastify'
import { errorHandler, notFoundHandler } from '../drf/error-handler.ts'
import { ParseError, ServiceUnavailable } from '../errors.ts'
import latchkey from '../plugin.ts'
import { accountRoutes, authRoutes } from '../routes/routes.ts'
import { wellKnownRoutes } from '../routes/well-known/jwks.ts'
import type { Settings } from '../settings/schema.ts'
import { version } from '../version.ts'

/** Slow clients are put out; a proxy's own time-out of 60 s comes before ours. All in milliseconds. */
const TIMEOUTS = { requestTimeout: 20_000, keepAliveTimeout: 65_000, connectionTimeout: 0 }
/** After what is under way, which waits five seconds for a database, and before the command line loses its patience. */
const LAST_CALL = 8000
const HTTP = { headersTimeout: 10_000, connectionsCheckingInterval: 2000, requireHostHeader: false }

type Logger = NonNullable<FastifyHttpOptions<Server>['logger']>

/**
 * A Fastify app with everything on it, not listening yet.
 *
 * @param logger where to log; by default JSON lines to standard output, of `settings.logLevel`
 * @throws {ImproperlyConfigured} if the database or the key is not as it should be
 */
export async function createServer(settings: Settings, logger: Logger = loggerOf(settings)): Promise<FastifyInstance> {
  const options: FastifyHttpOptions<Server> = {
    ...TIMEOUTS,
    http: HTTP,
    logger,
    bodyLimit: 64 * 1024,
    trustProxy: settings.trustProxy.length > 0 ? [...settings.trustProxy] : false,
    forceCloseConnections: 'idle',
    // What comes in at the last moment is answered as ever, and so in the same form.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 150 },
    clientErrorHandler,
    frameworkErrors: (error, request, reply) => errorHandler(error, request, reply.headers(NO_GUESSING))
  }
  const app = Fastify(options)
  answerAll(app.server)
  // Node's own time-outs end with listening, and a client that has not sent all of its request would be waited for.
  app.addHook('preClose', async () => void setTimeout(() => app.server.closeAllConnections(), LAST_CALL).unref())
  for (const method of METHODS) {
    if (method !== 'CONNECT' && !app.supportedMethods.includes(method)) app.addHttpMethod(method, { hasBody: true })
  }
  app.setErrorHandler(errorHandler)
  app.setNotFoundHandler(notFoundHandler)
  await app.register(helmet, { contentSecurityPolicy: false })
  app.addHook('onRequest', checkHost)
  const isClosing = closeInTime(app)
  if (settings.corsOrigins.length + settings.cookieOrigins.length > 0)
    await app.register(cors, () => corsOptions(settings))
  await documentation(app, settings)
  await app.register(latchkey, settings)
  await app.register(authRoutes, { prefix: '/api' })
  await app.register(accountRoutes, { prefix: '/auth' })
  await app.register(wellKnownRoutes, { prefix: '/.well-known' })
  health(app, isClosing)
  return app
}

/** Left to Node, a connection that is busy when the closing begins stays, and the server with it, until its client goes. */
function closeInTime(app: FastifyInstance): () => boolean {
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
  })
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (closing) reply.header('connection', 'close')
    done(null, payload)
  })
  return () => closing
}

function corsOptions({ corsOrigins, cookieOrigins }: Settings) {
  const options = {
    origin: [...corsOrigins, ...cookieOrigins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowedHeaders: ['Accept', 'Authorization', 'Content-Type', 'X-Latchkey-Mode'],
    exposedHeaders: ['Retry-After', 'WWW-Authenticate'],
    maxAge: 600
  }
  // An OPTIONS that asks for no method is no preflight, but somebody who wants to know about a view.
  return async ({ headers }: FastifyRequest) => ({
    ...options,
    credentials: cookieOrigins.includes(String(headers.origin)),
    preflight: headers.origin !== undefined && headers['access-control-request-method'] !== undefined
  })
}

async function documentation(app: FastifyInstance, { sessionCookieName }: Settings): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Latchkey', version, description: "Django's authentication as an API." },
      components: {
        securitySchemes: {
          jwt: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
          basic: { type: 'http', scheme: 'basic' },
          token: { type: 'apiKey', in: 'header', name: 'Authorization', description: '`Token` and the key' },
          session: { type: 'apiKey', in: 'cookie', name: sessionCookieName }
        }
      }
    }
  })
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: true })
  app.get('/openapi.json', { schema: { hide: true } }, async () => app.swagger())
}

function health(app: FastifyInstance, isClosing: () => boolean): void {
  const answer = { schema: { hide: true } }
  app.get('/health/live', answer, async () => ({ status: 'ok' }))
  app.get('/health/ready', answer, async () => {
    if (isClosing()) throw new ServiceUnavailable('The server is shutting down.')
    // Of a table: a statement that touches no page of the file says nothing of SQLite.
    await app.auth.database.user.findFirst({ select: { id: true } }).catch((cause: unknown) => {
      // Whatever it is, this is no server to send requests to.
      throw new ServiceUnavailable(undefined, { cause })
    })
    const { revocations, settings } = app.auth
    if (revocations.secondsSinceSync > settings.revocationMaxLag) {
      throw new ServiceUnavailable('What was revoked elsewhere cannot be heard of.')
    }
    return { status: 'ok' }
  })
}

/** No header, body or query is ever logged: that is where tokens and passwords travel. */
function loggerOf({ logLevel }: Settings): Logger {
  const req = ({ method, url, id, ip }: FastifyRequest) => ({ id, method, path: url.split('?', 1)[0], ip })
  return { level: logLevel, serializers: { req } }
}

const REASONS: Record<string, [status: string, detail: string]> = {
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'The headers are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'The request took too long.']
}

/** For the answers that helmet has no hand in. */
const NO_GUESSING = { 'x-content-type-options': 'nosniff' }

/** RFC 9112 §3.2: without its one Host a request is nobody's. Node answers with no body, and lets two of them pass. */
async function checkHost({ raw: { httpVersion, rawHeaders } }: FastifyRequest): Promise<void> {
  const hosts = rawHeaders.filter((name, index) => index % 2 === 0 && name.toLowerCase() === 'host').length
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) throw new ParseError()
}

/** The latest answer of each connection, given or still to give. */
const latest = new WeakMap<Socket, ServerResponse>()

/** What Node would answer with no body, or not at all, gets an answer like all else. */
function answerAll(server: Server): void {
  server.on('request', (request, response) => latest.set(request.socket, response))
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
  server.on('connect', (_request, socket) => clientErrorHandler({ code: '' }, socket as Socket))
}

/**
 * What is not HTTP never becomes a request; it gets the same form of answer all the same. But never ahead of its turn, nor
 * as a second answer to one request: it would be taken for the answer to another.
 */
function clientErrorHandler({ code }: { code: string }, socket: Socket): void {
  const answer = latest.get(socket)
  if (answer?.req.complete && !answer.writableFinished && !socket.destroyed) {
    answer.shouldKeepAlive = false
    return
  }
  const isAnswered = answer !== undefined && !answer.req.complete && answer.headersSent
  if (socket.writable && code !== 'ECONNRESET' && !isAnswered) socket.write(refusalOf(code))
  socket.destroySoon()
}

function refusalOf(code: string): string {
  const [status, detail] = REASONS[code] ?? ['400 Bad Request', 'Malformed request.']
  const body = JSON.stringify({ detail })
  const headers = {
    'content-type': 'application/json',
    ...NO_GUESSING,
    'content-length': body.length,
    connection: 'close'
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status}`, ...lines, '', body].join('\r\n')
}

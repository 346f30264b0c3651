import rateLimit from '@fastify/rate-limit'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { errorHandler, notFoundHandler } from '../../src/drf/error-handler.ts'
import {
  AuthError,
  AuthenticationFailed,
  InvalidToken,
  NotAuthenticated,
  PermissionDenied,
  ServiceUnavailable,
  Throttled,
  ValidationError
} from '../../src/errors.ts'
import { keptLog, sendRaw } from './scope.ts'

/** Creates an app whose routes all throw `thrown()`. */
function throwing(t: Test, thrown: () => unknown) {
  const { lines, options } = keptLog()
  const app = Fastify(options)
  t.teardown(() => app.close())
  app.setErrorHandler(errorHandler)
  const refuse = async () => {
    throw thrown()
  }
  app.get('/plain', refuse)
  app.get('/challenging', { config: { challenge: 'Bearer realm="api"' } }, refuse)
  return { app, lines }
}

const GENERIC = { detail: 'A server error occurred.' }

t.test('an AuthError is sent with its status, headers and body, and is not logged', async (t) => {
  const refusals: [refusal: AuthError, body: unknown, headers: Record<string, unknown>][] = [
    [new ValidationError({ name: ['Taken.'] }), { name: ['Taken.'] }, {}],
    [new ValidationError(['Unable to create account.']), ['Unable to create account.'], {}],
    [new InvalidToken(), { detail: 'Token is invalid', code: 'token_not_valid' }, {}],
    [new PermissionDenied('No.'), { detail: 'No.' }, { 'www-authenticate': undefined }],
    [new Throttled(1), { detail: 'Request was throttled. Expected available in 1 second.' }, { 'retry-after': '1' }]
  ]
  for (const [refusal, body, headers] of refusals) {
    const { app, lines } = throwing(t, () => refusal)
    const answer = await app.inject('/plain')
    t.equal(answer.statusCode, refusal.statusCode)
    t.strictSame(answer.json(), body)
    t.equal(answer.headers['content-type'], 'application/json')
    for (const [name, value] of Object.entries(headers)) t.equal(answer.headers[name], value)
    t.strictSame(lines, [], 'expected errors are not logged')
  }
})

t.test("only a 401 has a challenge: the error's own, else that of the route", async (t) => {
  const withOwn = new AuthenticationFailed()
  withOwn.headers['www-authenticate'] = 'Basic realm="api"'
  const coerced = Object.assign(new NotAuthenticated(), { statusCode: 403 })
  const challenges: [error: unknown, url: string, statusCode: number, challenge: string | undefined][] = [
    [new NotAuthenticated(), '/challenging', 401, 'Bearer realm="api"'],
    [new NotAuthenticated(), '/plain', 401, undefined],
    [withOwn, '/challenging', 401, 'Basic realm="api"'],
    [withOwn, '/plain', 401, 'Basic realm="api"'],
    [coerced, '/challenging', 403, undefined],
    [new PermissionDenied(), '/challenging', 403, undefined],
    [new Error('oops'), '/challenging', 500, undefined]
  ]
  for (const [error, url, statusCode, challenge] of challenges) {
    const answer = await throwing(t, () => error).app.inject(url)
    t.equal(answer.statusCode, statusCode)
    t.equal(answer.headers['www-authenticate'], challenge)
  }
})

t.test('any other thrown value is logged and returns a 500 that does not reveal the cause', async (t) => {
  const unexpected = [
    new Error('SELECT secret FROM table'),
    Object.assign(new Error('another service says no'), { statusCode: 401 }),
    Object.assign(new Error('another service says no'), { statusCode: 404, code: 'E_UPSTREAM' }),
    Object.assign(new Error('odd'), { statusCode: '400', code: 'FST_ERR_X' }),
    Object.assign(new Error('odd'), { statusCode: 200, code: 'FST_ERR_X' }),
    Object.assign(new Error('internal thing'), { statusCode: 500, code: 'FST_ERR_ODD' }),
    new AuthError(),
    'a text',
    { statusCode: 400 },
    Object.create(null),
    null
  ]
  for (const error of unexpected) {
    const { app, lines } = throwing(t, () => error)
    const answer = await app.inject('/plain')
    t.equal(answer.statusCode, 500)
    t.strictSame(answer.json(), GENERIC)
    t.equal(lines.length, 1)
    t.match(lines, [{ level: 50 }])
  }
  const { app, lines } = throwing(t, () => new Error('the cause'))
  await app.inject('/plain')
  t.match(lines, [{ err: { message: 'the cause' } }])
})

t.test('a 503 keeps its status and Retry-After, and its cause is only in the log', async (t) => {
  const inLowerCase = { 'retry-after': 7 }
  const outages: [error: unknown, retryAfter: string | undefined][] = [
    [new ServiceUnavailable(undefined, { cause: new Error('10.0.0.7 refused') }), '5'],
    [Object.assign(new Error('10.0.0.7 refused'), { statusCode: 503 }), undefined],
    [Object.assign(new Error('10.0.0.7 refused'), { statusCode: 503, headers: inLowerCase }), '7'],
    [
      Object.assign(new Error('10.0.0.7 refused'), { statusCode: 503, headers: { 'Retry-After': '9', 'x-leak': '1' } }),
      '9'
    ]
  ]
  for (const [error, retryAfter] of outages) {
    const { app, lines } = throwing(t, () => error)
    const answer = await app.inject('/challenging')
    t.equal(answer.statusCode, 503)
    t.strictSame(answer.json(), { detail: 'Service temporarily unavailable, try again later.' })
    t.equal(answer.headers['retry-after'], retryAfter)
    t.equal(answer.headers['x-leak'], undefined)
    t.match(lines, [{ level: 40, err: { stack: /10\.0\.0\.7/ } }])
  }
})

t.test("Fastify's own 4xx errors are sent in DRF's format", async (t) => {
  const { app, lines } = throwing(t, () => null)
  const schema = { querystring: { type: 'object', required: ['a'] } }
  app.get('/query', { schema }, async () => ({}))
  app.post('/body', { bodyLimit: 2 }, async () => ({}))
  const invalid = await app.inject('/query')
  t.equal(invalid.statusCode, 400)
  t.strictSame(invalid.json(), { detail: "querystring must have required property 'a'" })
  const large = await app.inject({ method: 'POST', url: '/body', payload: { a: 1 } })
  t.equal(large.statusCode, 413)
  t.strictSame(large.json(), { detail: 'Request body is too large' })
  t.strictSame(lines, [])
})

t.test('as frameworkErrors, the handler sends malformed URLs in the same format (400)', async (t) => {
  const app = Fastify({ frameworkErrors: errorHandler })
  t.teardown(() => app.close())
  app.get('/:id', async () => ({}))
  const answer = await app.inject('/%zz')
  t.equal(answer.statusCode, 400)
  t.strictSame(answer.json(), { detail: "'/%zz' is not a valid url component" })
  t.equal(answer.headers['content-type'], 'application/json')
})

t.test('a connection that the client closes during its body is not logged as an error', async (t) => {
  const { app, lines } = throwing(t, () => null)
  const answered = new Promise((resolve) =>
    app.addHook('onError', async (_request, _reply, error) => resolve(error.code))
  )
  app.post('/body', async () => ({}))
  await sendRaw(
    app,
    'POST /body HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{'
  ).catch(() => {})
  t.equal(await answered, 'ECONNRESET')
  t.strictSame(lines, [])
})

t.test("an error of @fastify/rate-limit is sent as DRF's 429 with Retry-After", async (t) => {
  const { app, lines } = throwing(t, () => null)
  await app.register(rateLimit, { global: false })
  app.get('/limited', { config: { rateLimit: { max: 0, timeWindow: 60_000 } } }, async () => ({}))
  const answer = await app.inject('/limited')
  t.equal(answer.statusCode, 429)
  t.strictSame(answer.json(), { detail: 'Request was throttled. Expected available in 60 seconds.' })
  t.equal(answer.headers['retry-after'], '60')
  t.strictSame(lines, [])
})

t.test('a 429 without Retry-After has neither the header nor a waiting time', async (t) => {
  const { app } = throwing(t, () => Object.assign(new Error('x'), { statusCode: 429 }))
  const answer = await app.inject('/plain')
  t.equal(answer.statusCode, 429)
  t.strictSame(answer.json(), { detail: 'Request was throttled.' })
  t.notOk('retry-after' in answer.headers)
})

t.test("a route's response schema is not applied to errors", async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setErrorHandler(errorHandler)
  const response = { '4xx': { type: 'object', properties: { detail: { type: 'number' } }, required: ['missing'] } }
  app.get('/', { schema: { response } }, async () => {
    throw new InvalidToken('Token is expired')
  })
  const answer = await app.inject('/')
  t.equal(answer.statusCode, 401)
  t.strictSame(answer.json(), { detail: 'Token is expired', code: 'token_not_valid' })
})

t.test('the handler for unknown routes sends 404 in the same format', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setNotFoundHandler(notFoundHandler)
  const answer = await app.inject('/nowhere')
  t.equal(answer.statusCode, 404)
  t.equal(answer.body, '{"detail":"Not found."}')
  t.equal(answer.headers['content-type'], 'application/json')
})

t.test(
  'errors of http-errors and @fastify/sensible keep their 4xx status, those of other services do not',
  async (t) => {
    const httpError = (statusCode: number, expose: boolean) =>
      Object.assign(new Error('No such post'), { statusCode, status: statusCode, expose })
    for (const statusCode of [404, 409, 422]) {
      const { app } = throwing(t, () => httpError(statusCode, true))
      const answer = await app.inject('/plain')
      t.strictSame([answer.statusCode, answer.json()], [statusCode, { detail: 'No such post' }])
    }
    for (const error of [httpError(500, false), httpError(502, true), httpError(404, false)]) {
      const { app } = throwing(t, () => error)
      t.equal((await app.inject('/plain')).statusCode, 500)
    }
  }
)

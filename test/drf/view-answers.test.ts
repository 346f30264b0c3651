/** Responses of views: format and headers, and views together with other plugins, OpenAPI and the host's routes. */
import cors from '@fastify/cors'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import t from 'tap'
import Type from 'typebox'
import { drfScope, view } from '../../src/drf/view.ts'
import { NotAuthenticated, NotFound } from '../../src/errors.ts'
import { keptLog, scopeWith } from './scope.ts'
import { Credentials, Greeting, post, tokenView, userView } from './views.ts'

t.test("responses and errors are indented on request, with the format of Python's json.dumps", async (t) => {
  const app = await scopeWith(t, (scope) => {
    const handler = async () => ({ a: [1, { b: 'é' }], none: {}, empty: [], text: 'x: ["\u2028"]' })
    const response = { 200: Type.Any() }
    view(scope, '/deep/', {
      name: 'Deep',
      description: '',
      tags: [],
      methods: { GET: { summary: '', response, handler } }
    })
    tokenView(scope)
  })
  const deep = await app.inject({ url: '/api/deep/', headers: { accept: 'application/json; indent=2' } })
  const expected = [
    '{',
    '  "a": [',
    '    1,',
    '    {',
    '      "b": "é"',
    '    }',
    '  ],',
    '  "none": {},',
    '  "empty": [],',
    '  "text": "x: [\\"\\u2028\\"]"',
    '}'
  ]
  t.equal(deep.body, expected.join('\n'))
  t.equal(deep.headers['content-type'], 'application/json')
  t.equal(deep.headers['content-length'], String(Buffer.byteLength(deep.body)))
  const refused = await post(app, {}, { accept: '*/*; indent=4' })
  t.match(refused.body, /^\{\n {4}"username": \[\n {8}"This field is required\."\n/)
})

t.test('U+2028 and U+2029 are escaped in responses and errors', async (t) => {
  const app = await scopeWith(t, (scope) => {
    const handler = async ({ url }: { url: string }) => {
      if (url.endsWith('?bad')) throw new NotFound('\u2028\u2029')
      return { hello: '\u2028\u2029' }
    }
    const GET = { summary: '', response: { 200: Greeting }, handler }
    view(scope, '/lines/', { name: 'Lines', description: '', tags: [], methods: { GET } })
  })
  t.equal((await app.inject('/api/lines/')).body, '{"hello":"\\u2028\\u2029"}')
  t.equal((await app.inject('/api/lines/?bad')).body, '{"detail":"\\u2028\\u2029"}')
})

t.test('unexpected errors return a generic 500 with the headers of the view, and are logged', async (t) => {
  const { lines, options } = keptLog()
  const setUp = (scope: FastifyInstance) => {
    const handler = async () => {
      throw new Error('the cause')
    }
    view(scope, '/bad/', {
      name: 'Bad',
      description: '',
      tags: [],
      methods: { GET: { summary: '', response: {}, handler } }
    })
  }
  const answer = await (await scopeWith(t, setUp, options)).inject('/api/bad/')
  t.equal(answer.statusCode, 500)
  t.equal(answer.body, '{"detail":"A server error occurred."}')
  t.equal(answer.headers.allow, 'GET, HEAD, OPTIONS')
  t.equal(answer.headers['cache-control'], 'no-store')
  t.match(lines, [{ level: 50, err: { message: 'the cause' } }])
})

t.test('Vary and Cache-Control that a hook has set are kept', async (t) => {
  const varies: [given: string | string[], vary: string][] = [
    ['Origin', 'Origin, Accept'],
    [['Origin', 'Cookie'], 'Origin,Cookie, Accept'],
    ['origin, ACCEPT', 'origin, ACCEPT'],
    ['Accept-Encoding', 'Accept-Encoding, Accept'],
    ['*', '*']
  ]
  for (const [given, vary] of varies) {
    const app = await scopeWith(t, (scope) => {
      scope.addHook('onRequest', async (_request, reply) => {
        reply.header('vary', given).header('cache-control', 'private')
      })
      userView(scope)
    })
    const { headers } = await app.inject('/api/users/7/')
    t.equal(headers.vary, vary)
    t.equal(headers['cache-control'], 'private')
  }
})

t.test('responses of @fastify/cors are unchanged, and Vary of allowed requests has Origin and Accept', async (t) => {
  const app = await scopeWith(t, async (scope) => {
    await scope.register(cors, { origin: ['https://app.example'] })
    tokenView(scope)
  })
  const headers = { origin: 'https://app.example', 'access-control-request-method': 'POST' }
  const preflight = await app.inject({ method: 'OPTIONS', url: '/api/token/', headers })
  t.equal(preflight.statusCode, 204)
  t.equal(preflight.headers['access-control-allow-origin'], 'https://app.example')
  const invalid = await app.inject({ method: 'OPTIONS', url: '/api/token/', headers: { accept: '*/*;indent=2' } })
  t.equal(invalid.statusCode, 400)
  t.equal(invalid.body, 'Invalid Preflight Request')
  t.match(invalid.headers['content-type'], /^text\/plain/)
  const posted = await post(app, { username: 'a', password: 'right' }, { origin: 'https://app.example' })
  t.equal(posted.headers.vary, 'Origin, Accept')
})

t.test('a rate limit in "before" is shared by the URLs with and without trailing slash', async (t) => {
  const app = await scopeWith(t, async (scope) => {
    await scope.register(rateLimit, { global: true, max: 1000 })
    tokenView(scope, { before: [scope.rateLimit({ max: 2, timeWindow: 60_000 })] })
  })
  const right = { username: 'a', password: 'right' }
  t.equal((await post(app, right)).statusCode, 200)
  t.equal((await post(app, right, {}, '/api/token')).statusCode, 200)
  for (const url of ['/api/token/', '/api/token']) {
    const answer = await post(app, right, {}, url)
    t.equal(answer.statusCode, 429)
    t.equal(answer.headers['retry-after'], '60')
    t.equal(answer.headers.allow, 'POST, OPTIONS')
  }
})

t.test('each method is listed once for OpenAPI, with body and responses', async (t) => {
  const shown: [method: unknown, url: string, schema: RouteOptions['schema'], config: RouteOptions['config']][] = []
  await scopeWith(t, (scope) => {
    scope.addHook('onRoute', ({ method, url, schema, config }) => {
      if (!(schema as { hide?: boolean }).hide) shown.push([method, url, schema, config])
    })
    tokenView(scope)
    userView(scope)
  })
  t.strictSame(
    shown.map(([method, url]) => `${method} ${url}`),
    ['POST /api/token/', 'GET /api/users/:id/', 'PATCH /api/users/:id/', 'DELETE /api/users/:id/']
  )
  const [token] = shown
  t.equal(token?.[2]?.body, Credentials)
  t.match(token?.[2], { consumes: ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data'] })
  t.match(token?.[2], { summary: 'Sign in', description: 'Signs in.', tags: ['token'], response: { 200: Greeting } })
})

t.test('the config of a method overrides the challenge of its view', async (t) => {
  const config = { challenge: 'Token' }
  const app = await scopeWith(t, (scope) => {
    const handler = async () => {
      throw new NotAuthenticated()
    }
    const methods = { GET: { summary: '', response: {}, config, handler } }
    view(scope, '/mine/', { name: 'Mine', description: '', tags: [], challenge: 'Bearer', methods })
  })
  t.equal((await app.inject('/api/mine')).headers['www-authenticate'], 'Token')
  t.strictSame(config, { challenge: 'Token' })
})

t.test('with ignoreTrailingSlash each view is registered once', async (t) => {
  for (const options of [{ ignoreTrailingSlash: true }, { routerOptions: { ignoreTrailingSlash: true } }]) {
    const app = await scopeWith(t, tokenView, options)
    for (const url of ['/api/token/', '/api/token']) t.equal((await post(app, {}, {}, url)).statusCode, 400)
  }
})

t.test("parsers and error handler of a scope do not affect the host's routes", async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.register(async (scope) => {
    drfScope(scope)
    tokenView(scope)
  })
  app.post('/host', async ({ body }) => {
    if (body === 'bad') throw new Error('mine')
    return { body }
  })
  const headers = { 'content-type': 'text/plain' }
  const plain = await app.inject({ method: 'POST', url: '/host', payload: 'text', headers })
  t.strictSame(plain.json(), { body: 'text' })
  const bad = await app.inject({ method: 'POST', url: '/host', payload: 'bad', headers })
  t.equal(bad.json().message, 'mine')
})

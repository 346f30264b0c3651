import cors from '@fastify/cors'
import rateLimit from '@fastify/rate-limit'
import fc from 'fast-check'
import Fastify, { type FastifyInstance, type InjectOptions, type RouteOptions } from 'fastify'
import t from 'tap'
import Type from 'typebox'
import { AuthenticationFailed, NotAuthenticated, NotFound, PermissionDenied, Throttled } from '../../src/errors.ts'
import { CharField } from '../../src/http/fields.ts'
import { drfScope, type View, view } from '../../src/http/view.ts'
import { keptLog, scopeWith, sendRaw } from './scope.ts'

const Credentials = Type.Object({ username: CharField(), password: CharField() })
const Greeting = Type.Object({ hello: Type.String() })

/** A view like those of tokens. */
function tokenView(scope: FastifyInstance, more: Partial<View> = {}) {
  view(scope, '/token/', {
    name: 'Token Obtain Pair',
    description: 'Signs in.',
    tags: ['token'],
    challenge: 'Bearer realm="api"',
    methods: {
      POST: {
        summary: 'Sign in',
        body: Credentials,
        response: { 200: Greeting },
        handler: async ({ body }) => {
          if (body.password !== 'right') throw new AuthenticationFailed('No.')
          return { hello: body.username, password: body.password }
        }
      }
    },
    ...(more as object)
  })
}

/** A view like those of users. */
function userView(scope: FastifyInstance, more: Partial<View> = {}) {
  view(scope, '/users/:id/', {
    name: 'User',
    description: 'A user.',
    tags: ['users'],
    methods: {
      GET: { summary: 'See', response: { 200: Greeting }, handler: async ({ params }) => ({ hello: params.id }) },
      DELETE: {
        summary: 'Delete',
        response: { 204: Type.Null() },
        handler: async (_request, reply) => {
          reply.code(204)
        }
      },
      PATCH: {
        summary: 'Change',
        body: Type.Object({ email: CharField({ required: false }) }),
        response: { 201: Type.Object({ email: Type.Optional(Type.String()) }) },
        handler: async ({ body }, reply) => {
          reply.code(201)
          return { email: body.email }
        }
      }
    },
    ...(more as object)
  })
}

const post = (
  app: FastifyInstance,
  payload: InjectOptions['payload'],
  headers: Record<string, string> = {},
  url = '/api/token/'
) => app.inject({ method: 'POST', url, headers, ...(payload === undefined ? {} : { payload }) })

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY'] as const

t.test('fields are read and trimmed, and the answer has what its schema names', async (t) => {
  const app = await scopeWith(t, tokenView)
  const right = { username: ' alice ', password: 'right' }
  const form = new URLSearchParams(right).toString()
  const answers = [
    await post(app, right),
    await post(app, form, { 'content-type': 'application/x-www-form-urlencoded' }),
    await post(app, right, {}, '/api/token')
  ]
  for (const answer of answers) {
    t.equal(answer.statusCode, 200)
    t.equal(answer.body, '{"hello":"alice"}')
  }
})

t.test('every answer has the headers of the view, refusals included', async (t) => {
  const app = await scopeWith(t, tokenView)
  const json = { 'content-type': 'application/json' }
  const answers: [statusCode: number, challenge: string | undefined, request: InjectOptions][] = [
    [200, undefined, { method: 'POST', payload: { username: 'a', password: 'right' } }],
    [200, undefined, { method: 'OPTIONS' }],
    [400, undefined, { method: 'POST' }],
    [400, undefined, { method: 'POST', payload: '{', headers: json }],
    [401, 'Bearer realm="api"', { method: 'POST', payload: { username: 'a', password: 'wrong' } }],
    [404, undefined, { method: 'POST', query: { format: 'xml' } }],
    [405, undefined, { method: 'GET' }],
    [405, undefined, { method: 'HEAD' }],
    [406, undefined, { method: 'POST', headers: { accept: 'a/b' } }],
    [413, undefined, { method: 'POST', payload: 'x'.repeat(70_000), headers: json }],
    [415, undefined, { method: 'POST', payload: 'x', headers: { 'content-type': 'text/plain' } }]
  ]
  for (const [statusCode, challenge, request] of answers) {
    const { headers, ...answer } = await app.inject({ url: '/api/token/', ...request })
    t.equal(answer.statusCode, statusCode)
    t.equal(headers.allow, 'POST, OPTIONS')
    t.equal(headers.vary, 'Accept')
    t.equal(headers['content-type'], 'application/json')
    t.equal(headers['cache-control'], 'no-store')
    t.equal(headers['www-authenticate'], challenge)
  }
})

t.test('messages of fields come with status 400', async (t) => {
  const app = await scopeWith(t, tokenView)
  const bodies: [payload: string, body: unknown][] = [
    ['', { username: ['This field is required.'], password: ['This field is required.'] }],
    [
      '{"username":"","password":null}',
      { username: ['This field may not be blank.'], password: ['This field may not be null.'] }
    ],
    ['["a"]', { non_field_errors: ['Invalid data. Expected a dictionary, but got list.'] }],
    ['null', { non_field_errors: ['No data provided'] }]
  ]
  for (const [payload, body] of bodies) {
    const answer = await post(app, payload, { 'content-type': 'application/json' })
    t.equal(answer.statusCode, 400)
    t.strictSame(answer.json(), body)
  }
})

t.test('each method that the view does not have is 405, in its own name', async (t) => {
  const app = await scopeWith(t, tokenView)
  for (const method of METHODS.filter((name) => name !== 'POST' && name !== 'OPTIONS')) {
    for (const url of ['/api/token/', '/api/token']) {
      const answer = await app.inject({ method: method as 'GET', url })
      t.equal(answer.statusCode, 405, method)
      t.equal(answer.body, method === 'HEAD' ? '' : `{"detail":"Method \\"${method}\\" not allowed."}`)
      t.equal(answer.headers.allow, 'POST, OPTIONS')
    }
  }
})

t.test('Allow lists the methods in the order of DRF, with HEAD beside GET', async (t) => {
  const app = await scopeWith(t, userView)
  const answer = await app.inject('/api/users/7/')
  t.strictSame(answer.json(), { hello: '7' })
  t.equal(answer.headers.allow, 'GET, PATCH, DELETE, HEAD, OPTIONS')
})

t.test('HEAD answers as GET, without the body', async (t) => {
  const app = await scopeWith(t, (scope) => {
    userView(scope)
    tokenView(scope)
  })
  const get = await app.inject('/api/users/7/')
  const head = await app.inject({ method: 'HEAD', url: '/api/users/7' })
  t.equal(head.statusCode, 200)
  t.equal(head.body, '')
  const { date, ...expected } = get.headers
  t.match(head.headers, expected)
  const refused = await sendRaw(app, 'HEAD /api/token/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  t.match(refused, /^HTTP\/1.1 405 [\s\S]*content-length: 41\r\n[\s\S]*\r\n\r\n$/)
})

t.test('a handler may set another status, and may answer nothing', async (t) => {
  const app = await scopeWith(t, userView)
  const created = await app.inject({ method: 'PATCH', url: '/api/users/7/', payload: { email: ' a@b ' } })
  t.equal(created.statusCode, 201)
  t.equal(created.body, '{"email":"a@b"}')
  const deleted = await app.inject({
    method: 'DELETE',
    url: '/api/users/7/',
    payload: '{bad',
    headers: { 'content-type': 'x' }
  })
  t.equal(deleted.statusCode, 204)
  t.equal(deleted.body, '')
  t.notOk('content-type' in deleted.headers)
  t.equal(deleted.headers.vary, 'Accept')
})

t.test('OPTIONS tells about the view, whatever its body, under both spellings', async (t) => {
  const app = await scopeWith(t, tokenView)
  for (const url of ['/api/token/', '/api/token']) {
    const answer = await app.inject({ method: 'OPTIONS', url, payload: '{bad', headers: { 'content-type': 'a' } })
    t.equal(answer.statusCode, 200)
    t.equal(
      answer.body,
      '{"name":"Token Obtain Pair","description":"Signs in.","renders":["application/json","text/html"],' +
        '"parses":["application/json","application/x-www-form-urlencoded","multipart/form-data"],' +
        '"actions":{"POST":{"username":{"type":"string","required":true,"read_only":false,"label":"Username"},' +
        '"password":{"type":"string","required":true,"read_only":false,"label":"Password"}}}}'
    )
  }
})

t.test('a request is judged in the order of DRF', async (t) => {
  const app = await scopeWith(t, (scope) => tokenView(scope, { before: [guard, throttle] }))
  const all = { method: 'PUT', payload: 'x', headers: { 'content-type': 'text/plain' } } as const
  const steps: [statusCode: number, request: InjectOptions, more: Record<string, string>][] = [
    [404, { ...all, url: '/api/token/?format=xml' }, { accept: 'a/b' }],
    [406, all, { accept: 'a/b' }],
    [401, all, {}],
    [429, all, { user: 'busy' }],
    [405, all, { user: 'alice' }],
    [415, { ...all, method: 'POST' }, { user: 'alice' }],
    [400, { method: 'POST', payload: {} }, { user: 'alice' }],
    [200, { method: 'POST', payload: { username: 'a', password: 'right' } }, { user: 'alice' }]
  ]
  for (const [statusCode, request, more] of steps) {
    const answer = await app.inject({ url: '/api/token/', ...request, headers: { ...request.headers, ...more } })
    t.equal(answer.statusCode, statusCode)
  }
})

t.test('what runs before the handler runs for every method, OPTIONS and refused ones included', async (t) => {
  const app = await scopeWith(t, (scope) => tokenView(scope, { before: [guard, throttle] }))
  for (const method of METHODS) {
    for (const url of ['/api/token/', '/api/token']) {
      const anonymous = await app.inject({ method: method as 'GET', url })
      t.equal(anonymous.statusCode, 401, method)
      t.equal(anonymous.headers['www-authenticate'], 'Bearer realm="api"')
      const forbidden = await app.inject({ method: method as 'GET', url, headers: { user: 'mallory' } })
      t.equal(forbidden.statusCode, 403, method)
      t.notOk('www-authenticate' in forbidden.headers)
    }
  }
})

t.test('an answer is indented if asked for, as Python indents', async (t) => {
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

t.test('what a script could take for the end of a line is escaped, in answers and in refusals', async (t) => {
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

t.test('what is thrown unexpectedly tells nothing, and has the headers of the view', async (t) => {
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

t.test('Vary and Cache-Control that others have set stay', async (t) => {
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

t.test('what CORS answers stays as it is, and what it lets pass says what it depends on', async (t) => {
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

t.test('a limit among what runs before is shared by both spellings of the URL', async (t) => {
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

t.test('an OpenAPI document shows the methods once, with their bodies', async (t) => {
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

t.test("a method's own configuration reaches its routes", async (t) => {
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

t.test('an app that ignores trailing slashes itself gets each view once', async (t) => {
  for (const options of [{ ignoreTrailingSlash: true }, { routerOptions: { ignoreTrailingSlash: true } }]) {
    const app = await scopeWith(t, tokenView, options)
    for (const url of ['/api/token/', '/api/token']) t.equal((await post(app, {}, {}, url)).statusCode, 400)
  }
})

t.test("neither parsers nor errors of a scope touch the host's", async (t) => {
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

t.test('any bytes under any type are answered with 2xx or 4xx, in JSON', async (t) => {
  const { lines, options } = keptLog()
  const app = await scopeWith(t, tokenView, options)
  const type = fc.oneof(
    fc.constantFrom(
      ...[
        'application/json',
        'application/x-www-form-urlencoded',
        'multipart/form-data; boundary=b',
        'multipart/form-data'
      ],
      ...['application/json; charset=utf-16', 'application/json; charset=bz2', 'text/plain', '*/*', '']
    ),
    fc.string({ unit: 'grapheme-ascii' }).filter((text) => !/[\r\n]/.test(text))
  )
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 500 }).map((bytes) => Buffer.from(bytes)),
    fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
    fc
      .string()
      .map((text) => Buffer.from(`--b\r\nContent-Disposition: form-data; name="username"\r\n\r\n${text}\r\n--b--`))
  )
  const accept = fc.oneof({ weight: 9, arbitrary: fc.constant('*/*') }, fc.string({ unit: 'grapheme-ascii' }))
  await fc.assert(
    fc.asyncProperty(type, body, accept, async (contentType, payload, accepted) => {
      const answer = await post(app, payload, { 'content-type': contentType, accept: accepted.replace(/[\r\n]/g, '') })
      JSON.parse(answer.body)
      return answer.statusCode < 500 && answer.headers.allow === 'POST, OPTIONS'
    }),
    { numRuns: 1000 }
  )
  t.strictSame(lines, [])
})

/** Lets in whoever says a name. */
async function guard({ headers }: { headers: Record<string, unknown> }): Promise<void> {
  if (headers.user === undefined) throw new NotAuthenticated()
  if (headers.user === 'mallory') throw new PermissionDenied()
}

async function throttle({ headers }: { headers: Record<string, unknown> }): Promise<void> {
  if (headers.user === 'busy') throw new Throttled(60)
}

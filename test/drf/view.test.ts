/** Requests to views: order of the checks, methods, headers, and arbitrary bodies. */
import fc from 'fast-check'
import type { InjectOptions } from 'fastify'
import t from 'tap'
import { keptLog, scopeWith, sendRaw } from './scope.ts'
import { guard, METHODS, post, throttle, tokenView, userView } from './views.ts'

t.test('fields are read and trimmed, and the response has only the properties of its schema', async (t) => {
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

t.test('every response, including errors, has the headers of the view', async (t) => {
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

t.test('invalid fields return 400 with the messages', async (t) => {
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

t.test('methods that the view does not have return 405 with the method in the message', async (t) => {
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

t.test('Allow lists the methods in the order of DRF, with HEAD if there is GET', async (t) => {
  const app = await scopeWith(t, userView)
  const answer = await app.inject('/api/users/7/')
  t.strictSame(answer.json(), { hello: '7' })
  t.equal(answer.headers.allow, 'GET, PATCH, DELETE, HEAD, OPTIONS')
})

t.test('HEAD returns the status and headers of GET without the body', async (t) => {
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

t.test('a handler can set another status and return no body', async (t) => {
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

t.test('OPTIONS returns the metadata for any body, with and without trailing slash', async (t) => {
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

t.test('requests are checked in the order of DRF: format, Accept, guards, throttles, method, body', async (t) => {
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

t.test('"before" runs for every method, including OPTIONS and those that return 405', async (t) => {
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

t.test('any body of any Content-Type returns 2xx or 4xx, in JSON', async (t) => {
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

/** The server: health checks, graceful shutdown, CORS, headers, error responses and TRUST_PROXY. */
import t from 'tap'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, bearer, PASSWORD } from '../support/journeys.ts'
import { halvesOf, listening, type Wire, wireTo } from '../support/listening.ts'
import { dropDatabase, nameOf } from '../support/postgres.ts'
import { theWorld } from '../support/world.ts'

const json = { 'content-type': 'application/json' }

onEachDatabase(t, (t, { databaseUrl }) => {
  t.test('the server provides the API, and both health checks return 200', async (t) => {
    const { app, origin } = await listening(t, { databaseUrl: await databaseUrl(t) })
    const { username } = await addUser(app)

    const body = JSON.stringify({ username, password: PASSWORD })
    const signedIn = await fetch(`${origin}/api/token/`, { method: 'POST', body, headers: json })
    t.equal(signedIn.status, 200)
    const { access } = (await signedIn.json()) as { access: string }
    const answer = await fetch(`${origin}/api/protected/`, { headers: bearer(access) })
    t.equal(await answer.text(), '{"message":"This is a protected view."}')
    const bob = JSON.stringify({ username: 'bob', password: PASSWORD })
    const made = await fetch(`${origin}/auth/users/`, { method: 'POST', body: bob, headers: json })
    t.equal(made.status, 201)
    const login = await fetch(`${origin}/auth/jwt/create/`, { method: 'POST', body: bob, headers: json })
    t.equal(login.status, 200)
    for (const url of ['/health/live', '/health/ready']) {
      const health = await fetch(origin + url)
      t.equal(health.status, 200)
      t.strictSame(await health.json(), { status: 'ok' })
    }
  })
})

t.test('without its database the server is live but not ready, and requests return 503 with Retry-After', async (t) => {
  const { postgres } = await theWorld()
  if ('missing' in postgres) return t.plan(0, postgres.missing)
  const databaseUrl = await worldOf('postgresql').databaseUrl(t)
  const { app, origin } = await listening(t, { databaseUrl })
  await addUser(app)
  t.equal((await fetch(`${origin}/health/ready`)).status, 200)

  await dropDatabase(postgres.url, nameOf(databaseUrl))

  t.equal((await fetch(`${origin}/health/live`)).status, 200)
  const body = JSON.stringify({ username: 'alice', password: PASSWORD })
  for (const answer of [
    await fetch(`${origin}/health/ready`),
    await fetch(`${origin}/api/token/`, { method: 'POST', body, headers: json })
  ]) {
    t.equal(answer.status, 503)
    t.strictSame(await answer.json(), { detail: 'Service temporarily unavailable, try again later.' })
    t.equal(answer.headers.get('retry-after'), '5')
  }
})

t.test('graceful shutdown: pending requests complete, the ready check returns 503, connections close', async (t) => {
  const { app, port } = await listening(t)
  const { username } = await addUser(app)
  const [start, rest] = halvesOf('/api/token/', { username, password: PASSWORD })
  const [login, asking, idle] = [wireTo(port), wireTo(port), wireTo(port)]
  login.send(start)
  asking.send('GET /health/ready HTTP/1.1\r\nHost: localhost\r\n')
  idle.send('GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await idle.until('{"status":"ok"}')

  const closed = app.close()
  await idle.ended
  await t.rejects(fetch(`http://127.0.0.1:${port}/health/live`), 'new connections are rejected')
  login.send(rest)
  asking.send('\r\n')

  const answers: [wire: Wire, status: string, body: RegExp][] = [
    [login, '200 OK', /^\{"refresh":".*","access":".*"\}$/],
    [asking, '503 Service Unavailable', /^\{"detail":"The server is shutting down\."\}$/]
  ]
  for (const [wire, status, expected] of answers) {
    const [head = '', body = ''] = (await wire.ended).split('\r\n\r\n')
    t.ok(head.startsWith(`HTTP/1.1 ${status}\r\n`), head)
    t.match(head, /\r\nconnection: close/i)
    t.match(body, expected)
  }
  await closed
})

t.test('CORS allows the configured origins only', async (t) => {
  const { origin: server } = await listening(t, { corsOrigins: ['https://app.example', 'http://localhost:5173'] })
  async function preflight(origin: string, method = 'POST', path = '/api/token/') {
    const headers = {
      ...{ origin, 'access-control-request-method': method },
      'access-control-request-headers': 'authorization,content-type'
    }
    return fetch(server + path, { method: 'OPTIONS', headers })
  }
  const asked = await preflight('https://app.example', 'DELETE', '/auth/users/me/')
  t.match(asked.headers.get('access-control-allow-methods'), /\bDELETE\b/)
  for (const origin of ['https://app.example', 'http://localhost:5173']) {
    const asked = await preflight(origin)
    t.equal(asked.status, 204)
    t.equal(await asked.text(), '')
    t.equal(asked.headers.get('access-control-allow-origin'), origin)
    t.match(asked.headers.get('access-control-allow-methods'), /\bPOST\b/)
    t.match(asked.headers.get('access-control-allow-headers'), /\bAuthorization\b.*\bContent-Type\b/)
    t.equal(asked.headers.get('access-control-max-age'), '600')
    t.match(asked.headers.get('vary'), /Origin/i)
    const posted = await fetch(`${server}/api/token/`, { method: 'POST', headers: { origin } })
    t.equal(posted.status, 400)
    t.equal(posted.headers.get('access-control-allow-origin'), origin)
    t.match(posted.headers.get('access-control-expose-headers'), /WWW-Authenticate/)
  }
  for (const origin of ['https://evil.example', 'https://app.example.evil', 'https://app.example:8443', 'null']) {
    for (const answer of [await preflight(origin), await fetch(`${server}/api/token/`, { headers: { origin } })]) {
      t.notOk(answer.headers.has('access-control-allow-origin'), origin)
      t.match(answer.headers.get('vary'), /Origin/i)
    }
  }
  t.notOk((await preflight('https://app.example')).headers.has('access-control-allow-credentials'))
})

t.test('OPTIONS returns metadata with and without CORS unless the request is a preflight', async (t) => {
  for (const corsOrigins of [['https://app.example'], []]) {
    const { origin } = await listening(t, { corsOrigins })
    const asked = { 'access-control-request-method': 'POST' }
    for (const headers of [{}, { origin: 'https://app.example' }, asked]) {
      const answer = await fetch(`${origin}/api/token/`, {
        method: 'OPTIONS',
        headers: headers as Record<string, string>
      })
      t.equal(answer.status, 200)
      t.match(await answer.json(), { name: 'Token Obtain Pair' })
    }
  }
  const { origin } = await listening(t)
  const answer = await fetch(`${origin}/api/token/`, { headers: { origin: 'https://app.example' } })
  t.notOk(answer.headers.has('access-control-allow-origin'), 'no origin is allowed by default')
})

t.test('preflights do not count towards the login rate limit', async (t) => {
  const { origin } = await listening(t, { corsOrigins: ['https://app.example'], loginRate: '1/minute' })
  const headers = { origin: 'https://app.example', 'access-control-request-method': 'POST' }
  for (let n = 0; n < 3; n++) {
    t.equal((await fetch(`${origin}/api/token/`, { method: 'OPTIONS', headers })).status, 204)
  }
  t.equal((await fetch(`${origin}/api/token/`, { method: 'POST', headers: { origin: headers.origin } })).status, 400)
  const throttled = await fetch(`${origin}/api/token/`, { method: 'POST', headers: { origin: headers.origin } })
  t.equal(throttled.status, 429)
  t.equal(throttled.headers.get('access-control-allow-origin'), 'https://app.example', 'readable by the page')
  t.match(throttled.headers.get('access-control-expose-headers'), /Retry-After/)
})

t.test('all responses have security headers and do not reveal the server software', async (t) => {
  const { origin } = await listening(t)
  const expected = {
    ...{ 'x-content-type-options': 'nosniff', 'x-frame-options': 'SAMEORIGIN', 'referrer-policy': 'no-referrer' },
    'strict-transport-security': /^max-age=\d{7,}/,
    'cross-origin-resource-policy': 'same-origin'
  }
  for (const url of ['/api/token/', '/api/protected/', '/health/live', '/openapi.json', '/docs/', '/none']) {
    const { headers } = await fetch(origin + url)
    t.match(Object.fromEntries(headers), expected, url)
    t.notOk(headers.has('x-powered-by') || headers.has('server'))
  }
})

t.test("unknown routes return 404 and unknown methods 405, in DRF's format", async (t) => {
  const { origin } = await listening(t)
  const refused: [status: number, method: string, url: string, detail: string][] = [
    [404, 'GET', '/', 'Not found.'],
    [404, 'GET', '/api/', 'Not found.'],
    [404, 'POST', '/api/token/nothing/', 'Not found.'],
    [404, 'PROPFIND', '/nothing', 'Not found.'],
    [404, 'DELETE', '/health/live', 'Not found.'],
    [404, 'GET', `/${'x'.repeat(3000)}`, 'Not found.'],
    [405, 'GET', '/api/token/', 'Method "GET" not allowed.'],
    [405, 'PROPFIND', '/api/token/', 'Method "PROPFIND" not allowed.'],
    [405, 'PROPFIND', '/api/token', 'Method "PROPFIND" not allowed.'],
    [405, 'M-SEARCH', '/api/token/verify/', 'Method "M-SEARCH" not allowed.'],
    [401, 'PROPFIND', '/api/protected/', 'Authentication credentials were not provided.']
  ]
  for (const [status, method, url, detail] of refused) {
    const answer = await fetch(origin + url, { method })
    t.equal(answer.status, status, `${method} ${url.slice(0, 40)}`)
    t.equal(answer.headers.get('content-type'), 'application/json')
    t.strictSame(await answer.json(), { detail })
    t.equal(
      answer.headers.get('allow'),
      status === 405 ? 'POST, OPTIONS' : status === 401 ? 'GET, HEAD, OPTIONS' : null
    )
  }
})

t.test('malformed HTTP requests return 400 or 431 with JSON', async (t) => {
  const { port } = await listening(t)
  const host = 'Host: localhost\r\n'
  const sent: [status: number, request: string][] = [
    [400, 'junk\r\n\r\n'],
    [400, `GET / HTTP/9.9\r\n${host}\r\n`],
    [400, `GET / HTTP/1.1\r\n${host}no colon\r\n\r\n`],
    [400, `POST / HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    [400, `GET /%zz HTTP/1.1\r\n${host}Connection: close\r\n\r\n`],
    [400, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'],
    [431, `GET / HTTP/1.1\r\n${host}X: ${'x'.repeat(20_000)}\r\n\r\n`]
  ]
  for (const [status, request] of sent) {
    const wire = wireTo(port)
    wire.send(request)
    const [head = '', body = ''] = (await wire.ended).split('\r\n\r\n')
    t.match(head, new RegExp(`^HTTP/1.1 ${status} `), JSON.stringify(request.slice(0, 60)))
    t.match(head, /\r\ncontent-type: application\/json/i)
    t.match(Object.keys(JSON.parse(body)), ['detail'])
  }
})

t.test('only X-Forwarded-For of trusted proxies determines the client address', async (t) => {
  const seen: [trustProxy: string, forwarded: string, ip: string][] = [
    ['off', '203.0.113.9', '127.0.0.1'],
    ['10.0.0.0/8', '203.0.113.9', '127.0.0.1'],
    ['127.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['127.0.0.0/8', '1.1.1.1, 203.0.113.9', '203.0.113.9'],
    ['127.0.0.1,10.0.0.0/8', '1.1.1.1, 203.0.113.9, 10.1.2.3', '203.0.113.9']
  ]
  for (const [trustProxy, forwarded, ip] of seen) {
    const { origin } = await listening(t, { trustProxy }, (app) => {
      app.get('/ip', async (request) => ({ ip: request.ip }))
    })
    const headers = { 'x-forwarded-for': forwarded, 'x-real-ip': '1.2.3.4', forwarded: 'for=1.2.3.4' }
    t.strictSame(await (await fetch(`${origin}/ip`, { headers })).json(), { ip }, `${trustProxy}: ${forwarded}`)
  }
})

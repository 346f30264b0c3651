/** `latchkey/client` against a real server: login, logout and `fetch`. */
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createClient, NetworkError, SignedOutError } from '../../src/client/client.ts'
import { isAuthenticated } from '../../src/index.ts'
import { jtiOf } from '../support/tokens.ts'
import { cut, refuse } from './proxy.ts'
import { clock, LOGOUT, REFRESH, shelf, spoil, stage } from './stage.ts'

/** Adds a guarded route that returns the body of the request. */
const echo = (app: FastifyInstance) => {
  app.addContentTypeParser(/^text\/|^multipart\//, { parseAs: 'string' }, (_request, body, done) => done(null, body))
  app.post('/echo/', { preHandler: isAuthenticated }, async ({ body }) => ({ body }))
}

/** Starts a server of another origin, which records the headers of its requests. */
async function stranger(t: Test): Promise<{ origin: string; heard: IncomingHttpHeaders[] }> {
  const heard: IncomingHttpHeaders[] = []
  const server = createServer(({ headers }, response) => {
    heard.push(headers)
    response.end('{}')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close().closeAllConnections())
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, heard }
}

t.test('after a login fetch sends the access token, and after a logout it is rejected', async (t) => {
  const { client: clientOf, proxy, alice } = await stage(t)
  const reasons: string[] = []
  const client = await clientOf({ onSignOut: (reason) => reasons.push(reason) }, 'not yet')
  const changes: boolean[] = []
  const stop = client.onChange((signedIn) => changes.push(signedIn))

  t.equal(await client.isSignedIn(), false)
  await t.rejects(client.fetch('/api/protected/'), SignedOutError)
  t.strictSame(proxy.seen(), [], 'no request is sent without a login')
  await client.signIn(alice)
  t.equal(await client.isSignedIn(), true)
  const answer = await client.fetch('/api/protected/')
  t.strictSame(await answer.json(), { message: 'This is a protected view.' })
  t.equal((await client.fetch('protected/')).status, 200, 'relative to baseUrl')
  t.equal((await client.fetch(new URL('protected/', `${proxy.origin}/api/`))).status, 200)
  t.match(await client.getAccessToken(), /^[\w-]+\.[\w-]+\.[\w-]+$/)
  t.equal(await client.signOut(), true)

  t.equal(proxy.seen(LOGOUT).length, 1)
  t.strictSame(reasons, ['here'])
  await t.rejects(client.fetch('/api/protected/'), { name: 'SignedOutError', retryable: false })
  await t.rejects(client.getAccessToken(), SignedOutError)
  t.equal(await client.signOut(), true, 'a second logout succeeds')
  t.strictSame([changes, reasons], [[true, false], ['here']])
  stop()
  await client.signIn(alice)
  t.strictSame(changes, [true, false], 'removed listeners are not called')
})

t.test('a rejected login throws ApiError or NetworkError with the details of the response', async (t) => {
  const { client: clientOf, proxy, alice } = await stage(t)
  const client = await clientOf({}, 'not yet')
  const refusalOf = (credentials: object) => client.signIn(credentials as never).catch((error: unknown) => error)

  t.match(await refusalOf({ ...alice, password: 'wrong' }), {
    ...{ name: 'ApiError', status: 401, retryable: false, fields: {}, retryAfter: null },
    ...{ detail: /^No active account/, message: /^No active account/ }
  })
  t.match(await refusalOf({ username: '' }), {
    ...{ status: 400, detail: '', message: 'This field may not be blank. This field is required.' },
    fields: { username: ['This field may not be blank.'], password: ['This field is required.'] }
  })
  const answers: [status: number, body: string, expected: object][] = [
    [429, '{"detail":"Wait."}', { name: 'ApiError', detail: 'Wait.', retryAfter: 7, retryable: true }],
    [400, '{"non_field_errors":["No.","Never."]}', { detail: 'No. Never.', message: 'No. Never.' }],
    [403, '{}', { name: 'NetworkError', status: 403, retryable: false }],
    [401, '{"message":"Unauthorized"}', { name: 'NetworkError', status: 401, retryable: false }],
    [400, '{"message":["Bad"],"error":"Bad Request"}', { name: 'NetworkError', status: 400 }],
    [404, '<html>', { name: 'NetworkError', status: 404, retryable: false }],
    [503, '{"detail":"Down."}', { name: 'NetworkError', status: 503, retryAfter: 7, retryable: true }],
    [200, '<html>', { name: 'NetworkError', status: 200, retryable: true }],
    [200, '[]', { name: 'NetworkError' }],
    [200, '{"access":1}', { name: 'NetworkError' }]
  ]
  for (const [status, body, expected] of answers) {
    proxy.upon('POST', refuse(status, body, { 'retry-after': '7' }))
    t.match(await refusalOf(alice), expected, `${status} ${body}`)
  }
  proxy.upon('POST', refuse(503, '{}', { 'retry-after': 'Fri, 01 Jan 2027 00:00:00 GMT' }))
  t.match(await refusalOf(alice), { retryAfter: null })
  proxy.upon('POST', cut)
  t.match(await refusalOf(alice), { name: 'NetworkError', status: null, cause: TypeError, retryable: true })
  t.equal(await client.isSignedIn(), false)
  t.ok(new NetworkError(null) instanceof Error)
})

t.test('a login whose refresh token went into a cookie is rejected without cookie mode, and ended', async (t) => {
  const origin = 'https://app.example.com'
  const { client: clientOf, proxy, alice, app } = await stage(t, { cookieOrigins: origin })
  const fromPage: typeof fetch = (input, init) =>
    fetch(input, { ...init, headers: { ...(init?.headers as object), origin, 'sec-fetch-site': 'same-site' } })
  const storage = shelf()
  const client = await clientOf({ fetch: fromPage, storage }, 'not yet')
  const changes: boolean[] = []
  client.onChange((signedIn) => changes.push(signedIn))

  await t.rejects(client.signIn(alice), { name: 'Error', message: /mode: 'cookie'.*JWT_COOKIE_ORIGINS/ })
  t.equal(await client.isSignedIn(), false)
  t.equal(storage.values.size, 0)
  t.strictSame(changes, [])
  t.strictSame(await app.auth.sessions.list(1), [])
  t.equal(proxy.seen(REFRESH).length, 0)

  proxy.upon('POST /api/token/', refuse(200, '{"access":"opaque"}'))
  proxy.upon('POST /api/token/logout/', cut)
  await t.rejects(client.signIn(alice), { message: /JWT_COOKIE_ORIGINS/ })
})

t.test('after a 401 the client refreshes and repeats the request with the same body', async (t) => {
  const { client: clientOf, proxy } = await stage(t, {}, echo)
  const storage = shelf()
  const client = await clientOf({ storage })
  const form = new FormData()
  form.set('a', 'b')
  const bodies: RequestInit[] = [
    { body: 'text', headers: { 'content-type': 'text/plain' } },
    { body: new URLSearchParams({ a: 'b' }).toString(), headers: [['content-type', 'text/plain']] },
    { body: new Blob(['blob'], { type: 'text/plain' }) },
    { body: Buffer.from('bytes'), headers: new Headers({ 'content-type': 'text/plain' }) },
    { body: form },
    { body: '{"json":true}', headers: { 'content-type': 'application/json' } }
  ]

  for (const [index, init] of bodies.entries()) {
    spoil(storage)
    const answer = await client.fetch('/echo/', { method: 'POST', ...init })
    t.equal(answer.status, 200)
    t.match(JSON.stringify(await answer.json()), /text|a=b|blob|bytes|name=\\"a\\"|json/)
    const [refused, , answered] = proxy.seen().slice(-3)
    t.match([refused?.line, answered?.line], ['POST /echo/', 'POST /echo/'])
    if (init.body !== form) t.equal(refused?.body, answered?.body)
    t.equal(proxy.seen(REFRESH).length, index + 1)
  }
  spoil(storage)
  const url = `${proxy.origin}/echo/`
  const request = new Request(url, { method: 'POST', body: 'of a request', headers: { 'content-type': 'text/plain' } })
  t.strictSame(await (await client.fetch(request)).json(), { body: 'of a request' })
})

t.test('a request with a stream is not repeated after a 401, and the next request succeeds', async (t) => {
  const { client: clientOf, proxy } = await stage(t, {}, echo)
  const storage = shelf()
  const client = await clientOf({ storage })
  const send = (body: unknown) => {
    const init = { method: 'POST', duplex: 'half', headers: { 'content-type': 'text/plain' }, body }
    return client.fetch('/echo/', init as RequestInit)
  }
  async function* parts() {
    yield Buffer.from('part')
  }

  for (const body of [new Blob(['stream']).stream(), parts()]) {
    spoil(storage)
    const { length } = proxy.seen('POST /echo/')
    t.equal((await send(body)).status, 401)
    t.equal(proxy.seen('POST /echo/').length, length + 1)
  }
  t.equal(proxy.seen(REFRESH).length, 2)
  t.strictSame(await (await send(new Blob(['stream']).stream())).json(), { body: 'stream' })
})

t.test('a second 401 is returned, and other statuses and network errors without a retry', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const client = await clientOf()
  proxy.upon('GET /odd/', refuse(401), 'always')

  t.equal((await client.fetch('/odd/')).status, 401)
  t.equal(proxy.seen('GET /odd/').length, 2)
  t.equal(proxy.seen(REFRESH).length, 1)
  for (const status of [204, 400, 403, 404, 429, 500, 503]) {
    proxy.upon('GET /api/protected/', refuse(status))
    t.equal((await client.fetch('/api/protected/')).status, status)
  }
  proxy.upon('GET /api/protected/', cut)
  await t.rejects(client.fetch('/api/protected/'), { name: 'TypeError', message: 'fetch failed' })
  await t.rejects(client.fetch('/api/protected/', { signal: AbortSignal.abort() }), { name: 'AbortError' })
  t.equal(proxy.seen(REFRESH).length, 1)
  t.equal(await client.isSignedIn(), true)
})

t.test('requests to other origins have no access token unless the origin is configured', async (t) => {
  const { origin, heard } = await stranger(t)
  const { port } = new URL(origin)
  const { client: clientOf, proxy } = await stage(t, {}, (app) => {
    app.get('/elsewhere/', async (_request, reply) => reply.redirect(`${origin}/`))
  })
  const client = await clientOf()
  const host = new URL(proxy.origin).host
  const addresses = [
    ...[`${origin}/`, `//127.0.0.1:${port}/`, `http://${host}@127.0.0.1:${port}/`, `\\\\127.0.0.1:${port}\\`],
    ...[`http://${host}:x@127.0.0.1:${port}/`, ` http:\t//127.0.0.1:${port}/${proxy.origin}/`, '/elsewhere/']
  ]

  // `fetch` may reject URLs with credentials.
  for (const address of addresses) await client.fetch(address).catch(({ name }) => t.equal(name, 'TypeError', address))
  t.ok((await client.fetch(new Request(`${origin}/x`))).ok)
  t.ok((await client.fetch(new URL(origin))).ok)
  t.ok(heard.length >= 5)
  t.strictSame([...new Set(heard.map(({ authorization }) => authorization))], [undefined])
  const wider = await clientOf({ origins: [`${origin}/some/path`] })
  await wider.fetch(`${origin}/`)
  t.equal(jtiOf(`${heard.at(-1)?.authorization}`.replace('Bearer ', '')), jtiOf(await wider.getAccessToken()))
  const lost = await clientOf({}, 'not yet')
  t.ok((await lost.fetch(`${origin}/`)).ok, 'other origins need no login')
})

t.test('configured origins are compared as a whole, not by prefix', async (t) => {
  const { origin, heard } = await stranger(t)
  const { client: clientOf, proxy } = await stage(t)
  /** Sends requests to https URLs to the other server. */
  const toStranger: typeof fetch = (input, init) => {
    const url = String(input)
    return fetch(url.startsWith(proxy.origin) ? url : url.replace(/^https:\/\/[^/]+/, origin), init)
  }
  const client = await clientOf({ fetch: toStranger, origins: ['https://API.example.com'] })
  const addresses = [
    'https://api.example.com.evil.test/',
    'https://api.example.com:8443/',
    'https://api.example.com@evil/'
  ]

  for (const address of [...addresses, 'https://xapi.example.com/', 'https://x/https://api.example.com/']) {
    await client.fetch(address)
    t.equal(heard.at(-1)?.authorization, undefined, address)
  }
  t.equal(heard.length, 5)
  for (const address of ['https://api.example.com/', 'HTTPS://api.Example.com:443/x', 'https://api.example.com?x']) {
    await client.fetch(address)
    t.match(heard.at(-1)?.authorization, /^Bearer ey/, address)
  }
})

t.test('refresh requests do not follow redirects', async (t) => {
  const { origin, heard } = await stranger(t)
  const { client: clientOf, proxy } = await stage(t)
  const { now, forward } = clock()
  const client = await clientOf({ now })
  forward(600)

  proxy.upon(REFRESH, refuse(307, '', { location: `${origin}/` }))
  await t.rejects(client.fetch('/api/protected/'), NetworkError)
  t.strictSame(heard, [])
  t.equal((await client.fetch('/api/protected/')).status, 200)
})

t.test('createClient throws TypeError for an invalid baseUrl or origin', async (t) => {
  for (const baseUrl of ['', 'api', '/api', 'ftp://x/api', 'http://user:secret@x/api', 'https://user@x']) {
    t.throws(() => createClient({ baseUrl }), TypeError, baseUrl)
  }
  t.throws(() => createClient({ baseUrl: 'https://x', origins: ['y'] }), TypeError)
  t.intercept(globalThis, 'location' as never, { value: { href: 'https://app.example.com/page?x' } as never })
  const client = createClient({ baseUrl: '/api' })
  await t.rejects(client.fetch('https://app.example.com/api/'), SignedOutError, 'in a page baseUrl may be relative')
})

t.test('the client has no dependencies and uses no globals of Node.js or the DOM', async (t) => {
  const folder = new URL('../../src/client/', import.meta.url)
  const files = readdirSync(folder)
  t.ok(files.length > 5)
  for (const file of files) {
    const text = readFileSync(new URL(file, folder), 'utf8').replace(/\/\*.*?\*\/|\/\/.*$/gms, '')
    t.strictSame(
      [...text.matchAll(/ from '([^']+)'/g)].map(([, from]) => from).filter((from) => !/^\.\/.*\.ts$/.test(`${from}`)),
      [],
      file
    )
    t.notMatch(text, /\b(process|Buffer|require|global|document|window|setImmediate)\b/, file)
  }
})

/** CSRF protection: each reason for which Django rejects a request, and the accepted requests. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { masked, unmasked } from '../../src/authentication/csrf.ts'
import { drfScope } from '../../src/drf/view.ts'
import { csrfProtect, csrfToken, errorHandler, type LatchkeyOptions } from '../../src/index.ts'
import { worldOf } from '../support/build.ts'

const { build } = worldOf('sqlite')
const SECRET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef'
const MASK = 'zyxwvutsrqponmlkjihgfedcba987654'
const TOKEN = 'zyxwvutsrqponmlkjihgfedcba987654ZZZZZZZZZZZZZZZZZZZZZZZZZZ999999'
const FORM = 'application/x-www-form-urlencoded'

interface Sent {
  method?: 'GET' | 'HEAD' | 'OPTIONS' | 'POST' | 'PUT' | 'DELETE'
  cookie?: string
  token?: string
  headers?: Record<string, string>
  payload?: string
  url?: string
}

function routes(app: FastifyInstance): void {
  app.register(async (scope) => {
    drfScope(scope)
    scope.route({
      ...{ method: ['GET', 'OPTIONS', 'POST', 'PUT', 'DELETE'], url: '/form/', preHandler: csrfProtect },
      handler: async () => 'done'
    })
  })
  app.register(async (scope) => {
    scope.setErrorHandler(errorHandler)
    scope.addContentTypeParser(FORM, { parseAs: 'string' }, (_request, body, done) => {
      done(null, Object.fromEntries(new URLSearchParams(String(body))))
    })
    scope.post('/theirs/', { preHandler: csrfProtect }, async () => 'done')
    scope.get('/page/', async (request, reply) => [csrfToken(request, reply), csrfToken(request, reply)])
  })
}

async function send(app: FastifyInstance, { method = 'POST', cookie = SECRET, token, ...rest }: Sent = {}) {
  const answer = await app.inject({
    ...{ method, url: rest.url ?? '/form/' },
    ...(rest.payload !== undefined && { payload: rest.payload }),
    headers: {
      host: 'app.example',
      ...(cookie && { cookie: `csrftoken=${cookie}; __Host-csrftoken=${cookie}` }),
      ...(token !== undefined && { 'x-csrftoken': token }),
      ...(rest.payload !== undefined && { 'content-type': FORM }),
      ...rest.headers
    }
  })
  return answer.statusCode === 403 ? String(answer.json().detail).replace('CSRF Failed: ', '') : answer.body
}

/** Header of a trusted proxy for a request over TLS. */
const TLS = { 'x-forwarded-proto': 'https' }
const proxied = async (t: Test, settings: LatchkeyOptions = {}) =>
  build(t, settings, async (app) => {
    // trustProxy can be set only when Fastify is created; this has the same effect.
    app.addHook('onRequest', async (request) => {
      const protocol = String(request.headers['x-forwarded-proto'] ?? 'http')
      Object.defineProperty(request, 'protocol', { value: protocol })
    })
    routes(app)
  })

t.test('tokens are masked and unmasked as in Django', async (t) => {
  t.equal(masked(SECRET, MASK), TOKEN)
  t.equal(unmasked(TOKEN), SECRET)
  t.equal(unmasked(SECRET), SECRET)
})

t.test('safe methods need no token, and others the cookie and its token, plain or masked', async (t) => {
  const app = await build(t, {}, routes)
  for (const method of ['GET', 'HEAD', 'OPTIONS'] as const) t.notMatch(await send(app, { method, cookie: '' }), /CSRF/)
  for (const method of ['POST', 'PUT', 'DELETE'] as const) {
    for (const [cookie, token] of [
      [SECRET, SECRET],
      [SECRET, TOKEN],
      [TOKEN, SECRET],
      [TOKEN, masked(SECRET, SECRET)]
    ]) {
      t.equal(await send(app, { method, cookie: cookie as string, token: token as string }), 'done')
    }
    t.equal(await send(app, { method, cookie: '', token: TOKEN }), 'CSRF cookie not set.')
  }
})

t.test('a missing or wrong cookie or token is rejected with the message of Django', async (t) => {
  const app = await build(t, {}, routes)
  const header = "CSRF token from the 'X-Csrftoken' HTTP header"
  const odd = `${SECRET.slice(1)}-`
  const sent: [sent: Sent, reason: string][] = [
    [{ cookie: 'short', token: TOKEN }, 'CSRF cookie has incorrect length.'],
    [{ cookie: odd, token: TOKEN }, 'CSRF cookie has invalid characters.'],
    [{ cookie: 'x'.repeat(4000), token: TOKEN }, 'CSRF cookie has incorrect length.'],
    [{}, 'CSRF token missing.'],
    [{ token: '' }, `${header} has incorrect length.`],
    [{ token: 'x'.repeat(4000) }, `${header} has incorrect length.`],
    [{ token: odd }, `${header} has invalid characters.`],
    [{ token: 'x'.repeat(32) }, `${header} incorrect.`],
    [{ token: `${TOKEN.slice(0, 63)}8` }, `${header} incorrect.`],
    [{ payload: 'csrfmiddlewaretoken=short' }, 'CSRF token from POST has incorrect length.'],
    [{ payload: `csrfmiddlewaretoken=${odd}` }, 'CSRF token from POST has invalid characters.'],
    [{ payload: `csrfmiddlewaretoken=${'x'.repeat(64)}`, token: TOKEN }, 'CSRF token from POST incorrect.'],
    [{ payload: 'csrfmiddlewaretoken=' }, 'CSRF token missing.'],
    [{ payload: `csrfmiddlewaretoken=${TOKEN}`, method: 'PUT' }, 'CSRF token missing.']
  ]
  for (const [one, reason] of sent) t.equal(await send(app, one), reason)
  for (const url of ['/form/', '/theirs/']) {
    t.equal(await send(app, { url, payload: `csrfmiddlewaretoken=${TOKEN}` }), 'done', `the field of a form at ${url}`)
    t.equal(await send(app, { url, payload: 'csrfmiddlewaretoken=', token: TOKEN }), 'done', 'the header')
    t.equal(await send(app, { url, payload: 'a=1' }), 'CSRF token missing.')
  }
  const json = { 'content-type': 'application/json' }
  const payload = JSON.stringify({ csrfmiddlewaretoken: TOKEN })
  t.equal(await send(app, { headers: json, payload }), 'CSRF token missing.', 'not read from JSON')
})

t.test('Origin must be the own origin or a trusted one', async (t) => {
  const csrfTrustedOrigins = ['https://other.example', 'https://*.wild.example', 'http://port.example:8080']
  const app = await build(t, { csrfTrustedOrigins }, routes)
  const withOrigin = (origin: string) => send(app, { token: TOKEN, headers: { origin } })
  for (const good of [
    ...['http://app.example', 'https://other.example', 'https://a.wild.example', 'https://a.b.wild.example'],
    ...['https://wild.example', 'http://port.example:8080']
  ]) {
    t.equal(await withOrigin(good), 'done', good)
  }
  for (const bad of [
    ...['https://app.example', 'http://app.example:80', 'http://evil.example', 'null', '', 'http://other.example'],
    ...['https://xwild.example', 'https://wild.example.evil', 'http://a.wild.example', 'http://port.example'],
    ...['https://other.example.evil', 'https://x@other.example', 'http://APP.example', 'constructor', '*']
  ]) {
    t.equal(await withOrigin(bad), `Origin checking failed - ${bad} does not match any trusted origins.`)
  }
})

t.test('over TLS without Origin, Referer must be of the own host or a trusted one', async (t) => {
  const app = await proxied(t, { csrfTrustedOrigins: ['https://other.example', 'http://*.wild.example'] })
  const referred = (referer?: string) =>
    send(app, { token: TOKEN, headers: { ...TLS, ...(referer !== undefined && { referer }) } })

  for (const good of ['https://app.example/a?b', 'https://other.example', 'https://a.wild.example/#x']) {
    t.equal(await referred(good), 'done', good)
  }
  t.equal(await referred(), 'Referer checking failed - no Referer.')
  for (const bad of ['', 'app.example', '/form/', 'https://', 'https:///x', '//app.example/']) {
    t.equal(await referred(bad), 'Referer checking failed - Referer is malformed.', bad)
  }
  const insecure = 'Referer checking failed - Referer is insecure while host is secure.'
  t.equal(await referred('http://app.example/'), insecure)
  for (const bad of ['https://evil.example/app.example', 'https://app.example.evil/', 'https://app.example:8443/']) {
    t.equal(await referred(bad), `Referer checking failed - ${bad} does not match any trusted origins.`)
  }
  const both = { ...TLS, origin: 'https://app.example', referer: 'https://evil.example/' }
  t.equal(await send(app, { token: TOKEN, headers: both }), 'done', 'Origin takes precedence')
})

t.test(
  'csrfToken returns the token of the cookie in a new mask, and sets a new cookie if there is no valid one',
  async (t) => {
    const app = await proxied(t)
    for (const cookie of ['', 'short', `${SECRET.slice(1)}-`, SECRET, TOKEN]) {
      const headers = { ...TLS, cookie: `__Host-csrftoken=${cookie}` }
      const answer = await app.inject({ url: '/page/', headers })
      const [set, ...others] = answer.cookies
      t.match(set, {
        name: '__Host-csrftoken',
        value: /^[a-zA-Z0-9]{32}$/,
        path: '/',
        sameSite: 'Lax',
        maxAge: 31_449_600,
        secure: true
      })
      t.strictSame([others, set?.httpOnly], [[], undefined], 'one cookie, which scripts can read')
      t.equal(answer.headers.vary, 'Cookie')
      const [one, other] = answer.json() as [string, string]
      t.not(one, other)
      for (const token of [one, other]) t.equal(unmasked(token), set?.value)
      if (cookie.length >= 32 && !cookie.includes('-')) t.equal(set?.value, SECRET)
    }
    t.notOk((await app.inject('/page/')).cookies[0]?.secure)
  }
)

t.test(
  'over TLS the cookie has the prefix __Host-, so that other hosts cannot set it, unless a setting names it',
  async (t) => {
    const app = await proxied(t)
    t.equal(await send(app, { token: TOKEN, headers: { ...TLS, origin: 'https://app.example' } }), 'done')
    const tossed = { ...TLS, origin: 'https://app.example', cookie: `csrftoken=${SECRET}` }
    t.equal(await send(app, { token: TOKEN, headers: tossed }), 'CSRF cookie not set.')
    const named = await proxied(t, { csrfCookieName: 'xsrf' })
    const [set] = (await named.inject({ url: '/page/', headers: TLS })).cookies
    t.equal(set?.name, 'xsrf')
    const own = { ...TLS, origin: 'https://app.example', cookie: `xsrf=${SECRET}` }
    t.equal(await send(named, { token: TOKEN, headers: own }), 'done')
  }
)

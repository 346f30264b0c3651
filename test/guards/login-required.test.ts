/** loginRequired: redirects page requests to the login page and rejects other requests. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import {
  and,
  authenticateWith,
  errorHandler,
  hasPermission,
  isAdminUser,
  loginRequired,
  not,
  or
} from '../../src/index.ts'
import { openBrowser } from '../support/browser.ts'
import { worldOf } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { listening, wireTo } from '../support/listening.ts'

const { build } = worldOf('sqlite')
const PAGE = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
let handled = 0

function routes(app: FastifyInstance): void {
  app.setErrorHandler(errorHandler)
  // An asynchronous hook, as plugins have it, delays the response.
  app.addHook('onSend', async (_request, _reply, payload) => payload)
  const show = async () => {
    handled++
    return 'the page'
  }
  app.all('/page/*', { preHandler: loginRequired() }, show)
  app.get('/session/', { preHandler: authenticateWith(['session'], loginRequired({ loginUrl: '/in?a=1' })) }, show)
  app.get('/elsewhere/', { onRequest: loginRequired({ loginUrl: 'https://id.example/in' }) }, show)
  app.get('/both/', { preHandler: [loginRequired(), hasPermission('blog.add_post')] }, show)
  app.get('/and/', { preHandler: and(loginRequired(), isAdminUser) }, show)
  app.get('/or/', { preHandler: or(isAdminUser, loginRequired()) }, show)
  app.get('/not/', { preHandler: not(loginRequired()) }, show)
  app.get('*', { preHandler: loginRequired() }, show)
}

t.test('anonymous page requests are redirected to the login URL with next, before the handler runs', async (t) => {
  const app = await build(t, { authenticationSchemes: ['session'] }, routes)
  const sent: [url: string, location: string][] = [
    ['/page/', '/accounts/login/?next=/page/'],
    ['/page/?a=1&b=x%20y', '/accounts/login/?next=/page/%3Fa%3D1%26b%3Dx%2520y'],
    ["/page/!'()*~-._,;:@$+", '/accounts/login/?next=/page/%21%27%28%29%2A~-._%2C%3B%3A%40%24%2B'],
    ['/page/%C3%BC', '/accounts/login/?next=/page/%25C3%25BC'],
    ['/session/', '/in?a=1&next=/session/'],
    ['/elsewhere/', 'https://id.example/in?next=/elsewhere/'],
    ['/both/', '/accounts/login/?next=/both/']
  ]
  handled = 0
  for (const [url, location] of sent) {
    const seen = await app.inject({ url, headers: { accept: PAGE } })
    t.strictSame([seen.statusCode, seen.headers.location], [302, location], url)
    t.strictSame([seen.headers.vary, seen.headers['cache-control']], ['Cookie, Accept', 'no-store'])
  }
  t.equal(handled, 0)
})

t.test('next is always a path on this host, whatever the request target', async (t) => {
  const { port } = await listening(t, { authenticationSchemes: ['session'] }, routes)
  const sent: [target: string, next: string][] = [
    ['//evil.example/x', '/%252Fevil.example/x'],
    ['///evil.example', '/%252F/evil.example'],
    ['/\\evil.example', '/%255Cevil.example'],
    ['http://evil.example/page/', '/'],
    ['/x?//evil.example', '/x%3F//evil.example']
  ]
  for (const [target, next] of sent) {
    const wire = wireTo(port)
    wire.send(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nConnection: close\r\n\r\n`)
    const answer = await wire.ended
    t.match(answer, /^HTTP\/1\.1 (302|404) /, target)
    if (answer.includes(' 302 '))
      t.equal(/^location: (.*)$/im.exec(answer)?.[1]?.trim(), `/accounts/login/?next=${next}`)
  }
})

t.test('anonymous requests that do not accept HTML return 401, as with isAuthenticated', async (t) => {
  const app = await build(t, { authenticationSchemes: ['jwt', 'session'] }, routes)
  const refused = [{}, { accept: '*/*' }, { accept: 'application/json' }, { accept: 'application/json, text/html' }]
  for (const headers of refused) {
    const answer = await app.inject({ url: '/page/', headers })
    t.strictSame([answer.statusCode, answer.headers['www-authenticate']], [401, 'Bearer realm="api"'])
    t.strictSame(answer.json(), { detail: 'Authentication credentials were not provided.' })
    t.equal(answer.headers.vary, 'Cookie, Accept')
  }
  const pages = [{ accept: PAGE }, { accept: 'TEXT/HTML' }, { accept: '*/*', 'sec-fetch-mode': 'navigate' }]
  for (const headers of pages) t.equal((await app.inject({ url: '/page/', headers })).statusCode, 302)
  t.equal((await app.inject({ method: 'POST', url: '/page/', headers: { accept: PAGE } })).statusCode, 302)
  const wrong = await app.inject({ url: '/page/', headers: { accept: PAGE, authorization: 'Bearer x' } })
  t.equal(wrong.statusCode, 401, 'invalid credentials are not redirected')
})

t.test('loginRequired redirects alone and in a list of guards, and returns 403 within and, or and not', async (t) => {
  const app = await build(t, { authenticationSchemes: ['session'] }, routes)
  await addUser(app)
  const browser = openBrowser(app)
  const statuses = async () => {
    const found = []
    for (const url of ['/page/', '/both/', '/and/', '/or/', '/not/']) {
      found.push((await browser.send({ url, headers: { accept: PAGE } })).statusCode)
    }
    return found
  }
  t.strictSame(await statuses(), [302, 302, 403, 403, 200])
  await browser.signIn()
  t.strictSame(await statuses(), [200, 403, 403, 200, 403])
})

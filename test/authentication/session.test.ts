/** Django's login and logout on routes of the host, and the session scheme with others. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import {
  authenticateWith,
  csrfProtect,
  csrfToken,
  errorHandler,
  isAuthenticated,
  login,
  logout,
  updateSessionAuthHash
} from '../../src/index.ts'
import { openBrowser } from '../support/browser.ts'
import { worldOf } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../support/journeys.ts'

const { build } = worldOf('sqlite')

function routes(app: FastifyInstance): void {
  app.setErrorHandler(errorHandler)
  app.get('/sign-in/', async (request, reply) => csrfToken(request, reply))
  app.post('/sign-in/', { preHandler: csrfProtect }, async (request, reply) => {
    const { username, password } = request.body as { username: string; password: string }
    const user = await app.auth.users.authenticate(username, password)
    if (user === null) return reply.code(400).send()
    await login(request, reply, user)
    return { token: csrfToken(request, reply) }
  })
  app.post('/sign-out/', { preHandler: csrfProtect }, async (request, reply) => {
    await logout(request, reply)
    return {}
  })
  const guarded = { preHandler: authenticateWith(['session', 'jwt'], isAuthenticated) }
  const who = async ({ user, auth }: { user: unknown; auth: unknown }) => ({ user, auth: auth?.constructor.name })
  app.get('/who/', guarded, who)
  app.post('/who/', guarded, who)
  app.get('/tokens-first/', { preHandler: authenticateWith(['jwt', 'session'], isAuthenticated) }, who)
  app.post('/password/', guarded, async (request, reply) => {
    const user = await app.auth.users.setPassword(Number(request.user?.id), 'another-Pass-1')
    await updateSessionAuthHash(request, reply, user)
    return {}
  })
}

t.test('a form of the host logs in and out with login, logout and csrfProtect', async (t) => {
  const app = await build(t, {}, routes)
  await addUser(app)
  const browser = openBrowser(app)
  const form = { method: 'POST' as const, url: '/sign-in/', payload: { username: 'alice', password: PASSWORD } }
  t.equal((await browser.send(form)).statusCode, 403, 'without a CSRF token')
  await browser.send({ url: '/sign-in/' })

  const signedIn = await browser.send(form)

  t.equal(signedIn.statusCode, 200)
  const { value: secret } = signedIn.cookies.filter(({ name }) => name === 'csrftoken').at(-1) ?? {}
  t.equal(signedIn.cookies.length, 2, 'the CSRF cookie is set once')
  t.equal(browser.cookies.get('csrftoken'), secret)
  const headers = { 'x-csrftoken': signedIn.json().token }
  const who = await browser.send({ method: 'POST', url: '/who/', headers })
  t.match(who.json(), { user: { username: 'alice' }, auth: 'BrowserSession' })
  t.notOk('password' in who.json().user)
  t.equal((await browser.send({ method: 'POST', url: '/sign-out/' })).statusCode, 200)
  t.equal((await browser.send({ url: '/who/' })).statusCode, 403)
})

t.test('the first scheme decides between 401 and 403, and requests with a JWT need no CSRF token', async (t) => {
  const app = await build(t, {}, routes)
  await addUser(app)
  const browser = openBrowser(app)
  const { access } = await obtainPair(app)

  const anonymous = await app.inject('/who/')
  t.strictSame([anonymous.statusCode, anonymous.headers.vary], [403, 'Cookie'])
  const challenged = await app.inject('/tokens-first/')
  t.strictSame([challenged.statusCode, challenged.headers['www-authenticate']], [401, 'Bearer realm="api"'])
  t.equal((await app.inject({ url: '/who/', headers: bearer('x') })).statusCode, 403)
  t.equal((await app.inject({ method: 'POST', url: '/who/', headers: bearer(access) })).statusCode, 200)
  await browser.signIn()
  const both = await app.inject({
    ...{ method: 'POST', url: '/who/' },
    headers: { ...bearer(access), cookie: `sessionid=${browser.cookies.get('sessionid')}` }
  })
  t.match(both.json(), { detail: 'CSRF Failed: CSRF cookie not set.' }, 'a session is checked first, as in DRF')
  t.equal((await browser.send({ url: '/tokens-first/' })).statusCode, 200)
})

t.test('updateSessionAuthHash creates no session for a request without one', async (t) => {
  const app = await build(t, {}, routes)
  await addUser(app)
  const { access } = await obtainPair(app)
  const answer = await app.inject({ method: 'POST', url: '/password/', headers: bearer(access) })
  t.strictSame([answer.statusCode, answer.cookies], [200, []])
})

t.test('request.authenticate() finds the user of a session in a route without guard', async (t) => {
  const app = await build(t, { authenticationSchemes: ['session'] }, (app) => {
    app.get('/ask/', async (request) => {
      await request.authenticate()
      return { username: request.user?.username ?? null }
    })
  })
  await addUser(app)
  const browser = openBrowser(app)
  t.strictSame((await browser.send({ url: '/ask/' })).json(), { username: null })
  await browser.signIn()
  t.strictSame((await browser.send({ url: '/ask/' })).json(), { username: 'alice' })
})

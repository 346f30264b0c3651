/** `/api/session/`: login and logout of browsers. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { accountRoutes, errorHandler, isAuthenticated } from '../../../src/index.ts'
import { openBrowser } from '../../support/browser.ts'
import { onEachDatabase, worldOf } from '../../support/build.ts'
import { addUser, PASSWORD } from '../../support/journeys.ts'
import { listening } from '../../support/listening.ts'
import { allowInserts, refuseInserts } from '../../tokens/faults.ts'

const SESSION = { authenticationSchemes: ['session' as const] }
const URL = '/api/session/'
const UNABLE = { non_field_errors: ['Unable to log in with provided credentials.'] }

function routes(app: FastifyInstance): void {
  app.setErrorHandler(errorHandler)
  app.route({
    ...{ method: ['GET', 'POST'], url: '/mine/', preHandler: isAuthenticated },
    handler: async ({ user }) => ({ id: user?.id })
  })
}

const keysIn = async ({ auth }: FastifyInstance) =>
  (await auth.database.browserSession.findMany()).map(({ sessionKey }) => sessionKey)

onEachDatabase(t, (t, { build }) => {
  t.test('a browser logs in, sends safe and unsafe requests, and logs out', async (t) => {
    const app = await build(t, SESSION, routes)
    const { id } = await addUser(app, { email: 'alice@example.com', isStaff: true })
    const browser = openBrowser(app)
    const user = { id, username: 'alice', email: 'alice@example.com', is_staff: true }

    const before = await browser.send({ url: URL })
    t.strictSame([before.statusCode, before.json()], [200, { user: null }])
    t.match(before.cookies, [{ name: 'csrftoken', value: /^[a-zA-Z0-9]{32}$/, sameSite: 'Lax', path: '/' }])
    t.equal((await browser.send({ url: '/mine/' })).statusCode, 403, 'without a challenge')
    const token = browser.cookies.get('csrftoken')

    const login = await browser.signIn()
    t.strictSame([login.statusCode, login.json()], [200, { user }])
    const [session, csrf] = login.cookies
    t.match(session, {
      name: 'sessionid',
      value: /^[a-z0-9]{32}$/,
      httpOnly: true,
      sameSite: 'Lax',
      path: '/',
      maxAge: 1_209_600
    })
    t.not(csrf?.value, token, 'the CSRF token is replaced')
    t.match(
      [before, login].map(({ headers }) => [headers.vary, headers['cache-control']]),
      [
        ['Cookie, Accept', 'no-store'],
        ['Cookie, Accept', 'no-store']
      ]
    )
    t.strictSame((await browser.send({ url: URL })).json(), { user })
    const { lastLogin } = (await app.auth.users.get('id', id)) ?? {}
    t.ok(lastLogin && Math.abs(lastLogin.getTime() - Date.now()) < 60_000)

    const seen = await browser.send({ url: '/mine/' })
    t.strictSame([seen.json(), seen.headers.vary], [{ id }, 'Cookie'])
    t.strictSame((await browser.send({ method: 'POST', url: '/mine/' })).json(), { id })
    const forged = await browser.send({ method: 'POST', url: '/mine/', headers: { 'x-csrftoken': token ?? '' } })
    t.strictSame(
      [forged.statusCode, forged.json()],
      [403, { detail: "CSRF Failed: CSRF token from the 'X-Csrftoken' HTTP header incorrect." }]
    )
    const foreign = await browser.send({ method: 'POST', url: '/mine/', headers: { origin: 'https://evil.example' } })
    t.match(foreign.json(), { detail: /^CSRF Failed: Origin checking failed - https:\/\/evil.example / })

    const stolen = browser.cookies.get('sessionid') ?? ''
    const logout = await browser.send({ method: 'DELETE', url: URL })
    t.strictSame([logout.statusCode, logout.body, browser.cookies.has('sessionid')], [204, '', false])
    t.match(logout.cookies, [{ name: 'sessionid', value: '', httpOnly: true, path: '/', maxAge: 0 }])
    browser.cookies.set('sessionid', stolen)
    t.strictSame((await browser.send({ url: URL })).json(), { user: null })
    t.strictSame(await keysIn(app), [])
    t.equal((await browser.send({ method: 'DELETE', url: URL })).statusCode, 204, 'logout can be repeated')
  })

  t.test('session fixation: a login replaces the session key, and planted or earlier keys are invalid', async (t) => {
    const app = await build(t, SESSION, routes)
    await addUser(app)
    await addUser(app, { username: 'bob' })
    const browser = openBrowser(app)
    const planted = 'a'.repeat(32)
    browser.cookies.set('sessionid', planted)

    await browser.signIn()
    const first = browser.cookies.get('sessionid')
    await browser.signIn()
    const second = browser.cookies.get('sessionid')
    t.equal(new Set([planted, first, second]).size, 3)
    await browser.signIn('bob')
    const third = browser.cookies.get('sessionid')

    t.strictSame(await keysIn(app), [third])
    t.match((await browser.send({ url: URL })).json(), { user: { username: 'bob' } })
    for (const key of [planted, first, second]) {
      browser.cookies.set('sessionid', key ?? '')
      t.strictSame((await browser.send({ url: URL })).json(), { user: null })
    }
  })

  t.test('a password change ends all sessions except the current one, whose key is replaced', async (t) => {
    const app = await build(t, SESSION, async (app) => {
      routes(app)
      await app.register(accountRoutes, { prefix: '/auth' })
    })
    await addUser(app)
    const [here, elsewhere] = [openBrowser(app), openBrowser(app)]
    for (const browser of [here, elsewhere]) await browser.signIn()
    const key = here.cookies.get('sessionid') ?? ''
    const change = (payload: object) => here.send({ method: 'POST', url: '/auth/users/set_password/', payload })

    t.equal((await change({ current_password: 'wrong', new_password: 'another-Pass-1' })).statusCode, 400)
    t.equal(here.cookies.get('sessionid'), key)
    const changed = await change({ current_password: PASSWORD, new_password: 'another-Pass-1' })

    t.equal(changed.statusCode, 204)
    t.match(changed.cookies, [{ name: 'sessionid', httpOnly: true }])
    t.not(here.cookies.get('sessionid'), key)
    t.equal((await here.send({ url: '/mine/' })).statusCode, 200)
    t.equal((await elsewhere.send({ url: '/mine/' })).statusCode, 403)
    elsewhere.cookies.set('sessionid', key)
    t.equal((await elsewhere.send({ url: '/mine/' })).statusCode, 403, 'the old key is invalid')
    const del = { method: 'DELETE' as const, url: '/auth/users/me/', payload: { current_password: 'another-Pass-1' } }
    t.equal((await here.send(del)).statusCode, 204)
    t.equal((await here.send({ url: '/mine/' })).statusCode, 403, 'a deleted user is rejected')
  })

  t.test('wrong, unknown and inactive credentials return the same 400 and create no session', async (t) => {
    const app = await build(t, { ...SESSION, authenticationBackends: ['AllowAllUsersModelBackend'] })
    await addUser(app)
    await addUser(app, { username: 'ina', isActive: false })
    const browser = openBrowser(app)
    const attempts = [
      ['alice', 'wrong'],
      ['nobody', PASSWORD],
      ['ina', PASSWORD],
      ['alice', ` ${PASSWORD}`],
      ['a'.repeat(200), 'x']
    ]
    for (const [name, password] of attempts) {
      const { statusCode, cookies, body } = await browser.signIn(name, password)
      t.strictSame([statusCode, JSON.parse(body), cookies], [400, UNABLE, []], String(name).slice(0, 10))
    }
    const odd = await browser.send({
      method: 'POST',
      url: URL,
      payload: { username: { contains: '' }, password: ['x'] }
    })
    t.strictSame(odd.json(), { username: ['Not a valid string.'], password: ['Not a valid string.'] })
    const empty = await browser.send({ method: 'POST', url: URL })
    t.match(empty.json(), { username: ['This field is required.'], password: ['This field is required.'] })
    t.strictSame(await keysIn(app), [])
  })
})

const { build } = worldOf('sqlite')

/** Sends `count` requests one after another and returns their statuses. */
async function statusesOf(count: number, send: () => Promise<{ statusCode: number }>): Promise<number[]> {
  const statuses = []
  for (let at = 0; at < count; at++) statuses.push((await send()).statusCode)
  return statuses
}

t.test(
  'logins share the rate limit of all login routes; requests without CSRF token are rejected first and not counted',
  async (t) => {
    const app = await build(t, { ...SESSION, loginRate: '2/minute' })
    await addUser(app)
    const [browser, payload] = [openBrowser(app), { username: 'alice', password: 'wrong' }]
    const login = { method: 'POST' as const, url: URL, payload }
    await browser.send({ url: URL })

    t.strictSame(await statusesOf(5, () => app.inject(login)), [403, 403, 403, 403, 403], 'a login needs a CSRF token')
    t.strictSame(await statusesOf(3, () => browser.send(login)), [400, 400, 429])
    t.equal((await app.inject({ ...login, url: '/api/token/' })).statusCode, 429, 'one limit for all routes')
    t.strictSame(await statusesOf(2, () => browser.send({ url: URL })), [200, 200], 'reads are not limited')
    t.equal((await browser.send({ method: 'DELETE', url: URL })).statusCode, 204)
  }
)

t.test('field name, cookie name and cookie age follow the settings', async (t) => {
  const app = await build(t, {
    ...SESSION,
    loginField: 'email',
    sessionCookieName: '__Host-me',
    sessionCookieAge: 3600
  })
  await addUser(app, { email: 'alice@example.com' })
  const browser = openBrowser(app)
  await browser.send({ url: URL })
  const payload = { email: 'ALICE@example.com', password: PASSWORD }
  const login = await browser.send({ method: 'POST', url: URL, payload })
  t.match(login.cookies, [{ name: '__Host-me', maxAge: 3600 }, { name: 'csrftoken' }])
  t.match((await browser.send({ url: URL })).json(), { user: { username: 'alice' } })
})

t.test('other methods return 405, and OPTIONS describes the fields', async (t) => {
  const app = await build(t)
  for (const method of ['PUT', 'PATCH', 'TRACE'] as const) {
    const answer = await app.inject({ method, url: URL })
    t.strictSame([answer.statusCode, answer.headers.allow], [405, 'GET, POST, DELETE, HEAD, OPTIONS'], method)
  }
  const { name, actions } = (await app.inject({ method: 'OPTIONS', url: URL })).json()
  t.strictSame([name, Object.keys(actions.POST)], ['Session', ['username', 'password']])
  t.equal((await app.inject({ method: 'HEAD', url: URL })).statusCode, 200)
  t.equal((await app.inject('/api/session')).statusCode, 200, 'without its slash')
  t.equal((await app.inject('/api/session/login/')).statusCode, 404)
})

t.test('requests with malformed cookies are anonymous', async (t) => {
  const app = await build(t, SESSION, routes)
  const cookies = [
    ...['sessionid', 'sessionid=', '=', ';;;', 'sessionid=%', 'sessionid=%00', 'sessionid="', 'é=é', '__proto__=1'],
    ...[`sessionid=${'x'.repeat(8000)}`, Array.from({ length: 1000 }, (_, at) => `c${at}=1`).join('; ')],
    ...[`sessionid=${"' OR 1=1 --"}`, 'sessionid=aaaaaaaa; sessionid=bbbbbbbb', `csrftoken=${'x'.repeat(8000)}`]
  ]
  for (const cookie of cookies) {
    const answer = await app.inject({ url: URL, headers: { cookie } })
    t.strictSame([answer.statusCode, answer.json()], [200, { user: null }], cookie.slice(0, 30))
    t.equal((await app.inject({ method: 'POST', url: '/mine/', headers: { cookie } })).statusCode, 403)
  }
})

t.test('cookies are Secure and have the prefix __Host- only if a trusted proxy reports TLS', async (t) => {
  const isSecure = async (t: Test, trustProxy: string) => {
    const { app, origin } = await listening(t, { ...SESSION, trustProxy })
    await addUser(app)
    const headers = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'app.example' }
    const first = await fetch(`${origin}${URL}`, { headers })
    const [, name = '', token = ''] = /^(\S*csrftoken)=(\w+)/.exec(first.headers.get('set-cookie') ?? '') ?? []
    const own = trustProxy === 'off' ? origin : 'https://app.example'
    const login = await fetch(`${origin}${URL}`, {
      method: 'POST',
      headers: { ...headers, origin: own, cookie: `${name}=${token}`, 'x-csrftoken': token },
      body: new URLSearchParams({ username: 'alice', password: PASSWORD })
    })
    t.equal(login.status, 200)
    const cookies = [...first.headers.getSetCookie(), ...login.headers.getSetCookie()]
    const names = cookies.map((cookie) => /^[^=]+/.exec(cookie)?.[0]).toSorted()
    return [names, ...cookies.map((cookie) => /; Secure/.test(cookie))]
  }
  const names = ['csrftoken', 'csrftoken', 'sessionid']
  const prefixed = names.map((name) => `__Host-${name}`)
  t.strictSame(await isSecure(t, '127.0.0.1'), [prefixed, true, true, true])
  t.strictSame(await isSecure(t, 'off'), [names, false, false, false])
})

t.test('database errors return 500, and never an anonymous response or a partial login', async (t) => {
  const app = await build(t, SESSION, routes)
  await addUser(app)
  const browser = openBrowser(app)
  await browser.signIn()
  const [before] = await keysIn(app)
  await refuseInserts(app, 'django_session')
  const login = await browser.signIn()
  t.strictSame([login.statusCode, login.cookies], [500, []])
  t.strictSame(await keysIn(app), [before], 'the earlier session is kept')
  await allowInserts(app, 'django_session')
  await app.auth.database.$executeRawUnsafe('ALTER TABLE django_session RENAME TO gone')
  for (const url of ['/mine/', URL]) t.equal((await browser.send({ url })).statusCode, 500)
})

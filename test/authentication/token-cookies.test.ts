/** Cookie mode: the refresh token is in an HttpOnly cookie, which scripts cannot read and other sites cannot use. */
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { accountRoutes, type LatchkeyOptions } from '../../src/index.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../support/journeys.ts'

const ALICE = { username: 'alice', password: PASSWORD }
const MODE = { 'x-latchkey-mode': 'cookie' }
const COOKIE = '__Host-refresh'
const APP = 'https://app.example.com'

type Headers = Record<string, string>

const send = (app: FastifyInstance, url: string, headers: Headers = MODE, payload: object = {}) =>
  app.inject({ method: 'POST', url, headers, payload })

const cookieIn = ({ cookies }: LightMyRequestResponse, name = COOKIE) => cookies.find((cookie) => cookie.name === name)
const withCookie = (value: string, headers: Headers = MODE, name = COOKIE) => ({
  ...headers,
  cookie: `${name}=${value}`
})

async function signIn(app: FastifyInstance, headers: Headers = MODE, url = '/api/token/') {
  const answer = await send(app, url, headers, ALICE)
  if (answer.statusCode !== 200) throw new Error(`not signed in: ${answer.body}`)
  return { answer, refresh: cookieIn(answer)?.value ?? '', access: answer.json().access as string }
}

onEachDatabase(t, (t, { build }) => {
  t.test('login, refresh and logout in cookie mode keep the refresh token out of the response body', async (t) => {
    const app = await build(t, {}, (app) => app.register(accountRoutes, { prefix: '/auth' }))
    await addUser(app)
    for (const [obtain, renew] of [
      ['/api/token/', '/api/token/refresh/'],
      ['/auth/jwt/create/', '/auth/jwt/refresh/']
    ] as const) {
      const { answer, refresh, access } = await signIn(app, MODE, obtain)
      t.strictSame(Object.keys(answer.json()), ['access'])
      t.match(
        answer.headers['set-cookie'],
        /^__Host-refresh=[^;]+; Max-Age=86400; Path=\/; HttpOnly; Secure; SameSite=Strict$/
      )
      const next = await send(app, renew, withCookie(refresh))
      t.strictSame([next.statusCode, Object.keys(next.json())], [200, ['access']])
      t.not(cookieIn(next)?.value, refresh)
      const again = await send(app, renew, withCookie(refresh))
      t.equal(cookieIn(again)?.value, cookieIn(next)?.value, 'a retry returns the same token')

      const out = await send(app, '/api/token/blacklist/', withCookie(refresh))

      t.strictSame([out.statusCode, out.json()], [200, {}])
      t.match(cookieIn(out), { value: '', maxAge: 0, path: '/', httpOnly: true, secure: true })
      const late = await send(app, renew, withCookie(cookieIn(next)?.value ?? ''))
      t.equal(late.statusCode, 401)
      t.match(cookieIn(late), { value: '', maxAge: 0 }, 'a rejected cookie is deleted')
      t.equal((await app.inject({ url: '/api/protected/', headers: bearer(access) })).statusCode, 401)
    }
  })

  t.test('logout deletes the cookie whether or not the token is valid', async (t) => {
    const app = await build(t)
    await addUser(app)
    const { refresh, access } = await signIn(app)
    const out = await send(app, '/api/token/logout/', { ...withCookie(refresh), ...bearer(access) })
    t.equal(out.statusCode, 204)
    t.match(cookieIn(out), { value: '', maxAge: 0 })

    for (const headers of [withCookie(refresh), withCookie('junk'), MODE]) {
      const answer = await send(app, '/api/token/blacklist/', headers)
      t.equal(answer.statusCode, 200)
      t.match(cookieIn(answer), { value: '', maxAge: 0 })
      const byAccess = await send(app, '/api/token/logout/', headers)
      t.equal(byAccess.statusCode, 401)
      t.match(cookieIn(byAccess), { value: '', maxAge: 0 })
    }
  })
})

const { build } = worldOf('sqlite')

t.test('the cookie is used only in cookie mode (else 400) and from trusted origins (else 403)', async (t) => {
  const app = await build(t, { cookieOrigins: [APP] })
  await addUser(app)
  const { refresh } = await signIn(app)
  const own = 'http://localhost:80'
  const cases: [headers: Headers, status: number][] = [
    [{}, 400],
    [{ 'x-latchkey-mode': 'token' }, 400],
    [{ ...MODE, origin: 'https://evil.example' }, 403],
    [{ ...MODE, origin: 'null' }, 403],
    [{ ...MODE, origin: 'https://app.example.com.evil.example' }, 403],
    [{ ...MODE, origin: 'http://app.example.com' }, 403],
    [{ origin: 'https://evil.example' }, 400],
    [{ ...MODE, 'sec-fetch-site': 'cross-site' }, 403],
    [{ ...MODE, 'sec-fetch-site': 'same-site' }, 403],
    [{ ...MODE, origin: own, 'sec-fetch-site': 'cross-site' }, 403],
    [{ ...MODE, origin: own, 'sec-fetch-site': 'same-origin' }, 200],
    [{ ...MODE, origin: APP, 'sec-fetch-site': 'cross-site' }, 200],
    [{ origin: APP }, 200],
    [MODE, 200]
  ]
  for (const [headers, status] of cases) {
    const host = { host: 'localhost:80' }
    const answer = await send(app, '/api/token/refresh/', { ...host, ...withCookie(refresh, headers) })
    t.equal(answer.statusCode, status, JSON.stringify(headers))
    if (status === 403) t.match(answer.json().detail, /^CSRF Failed: /)
    if (status !== 200) t.equal(answer.headers['set-cookie'], undefined)
    const login = await send(app, '/api/token/', { ...host, ...headers }, ALICE)
    const isUnknownMode = headers['x-latchkey-mode'] === 'token'
    t.equal(login.statusCode, status === 400 && !isUnknownMode ? 200 : status)
    t.equal(cookieIn(login) !== undefined, status === 200, 'a login sets it only then')
  }
})

t.test('a refresh without cookie returns 401, and one with a token in the body sets the cookie', async (t) => {
  const app = await build(t)
  await addUser(app)
  t.strictSame((await send(app, '/api/token/refresh/')).json(), {
    detail: 'Authentication credentials were not provided.'
  })
  const { refresh } = await obtainPair(app)
  const answer = await send(app, '/api/token/refresh/', MODE, { refresh })
  t.strictSame([answer.statusCode, Object.keys(answer.json())], [200, ['access']])
  t.ok(cookieIn(answer)?.value)
  const form = { ...MODE, 'content-type': 'application/x-www-form-urlencoded' }
  const posted = await app.inject({
    method: 'POST',
    url: '/api/token/refresh/',
    headers: form,
    payload: `refresh=${refresh}`
  })
  t.equal(posted.statusCode, 200)
  t.equal((await send(app, '/api/token/refresh/', MODE, { refresh: 7 })).statusCode, 401)
  t.strictSame((await send(app, '/api/token/', MODE, { ...ALICE, password: 'x' })).headers['set-cookie'], undefined)
})

t.test('the access token can be in a cookie too, which unsafe requests can use only in cookie mode', async (t) => {
  const app = await build(t, { accessCookieName: '__Host-access' }, (app) =>
    app.post('/change', async (request) => {
      await request.authenticate()
      return { id: request.user?.id ?? null }
    })
  )
  await addUser(app)
  const { answer, access } = await signIn(app)
  t.match(cookieIn(answer, '__Host-access'), {
    value: access,
    maxAge: 300,
    httpOnly: true,
    secure: true,
    sameSite: 'Strict'
  })
  const get = (headers: Headers) => app.inject({ url: '/api/protected/', headers })
  const cookie = withCookie(access, {}, '__Host-access')

  t.equal((await get(cookie)).statusCode, 200)
  t.equal((await get({ ...cookie, authorization: 'Bearer junk' })).statusCode, 401, 'the header takes precedence')
  t.equal((await send(app, '/change', cookie)).statusCode, 403)
  t.strictSame((await send(app, '/change', { ...cookie, ...MODE })).json(), { id: '1' })
  t.equal((await send(app, '/change', { ...cookie, ...MODE, origin: 'https://evil.example' })).statusCode, 403)
  const out = await send(app, '/api/token/logout/', { ...cookie, ...MODE })
  t.equal(out.statusCode, 204)
  t.match(cookieIn(out, '__Host-access'), { value: '', maxAge: 0 })
  t.equal((await get(cookie)).statusCode, 401)
})

t.test(
  'cookie name and SameSite follow the settings; without a prefix the cookie of a plain HTTP request is not Secure',
  async (t) => {
    const settings: LatchkeyOptions = {
      refreshCookieName: 'refresh',
      cookieSamesite: 'lax',
      rotateRefreshTokens: false
    }
    const app = await build(t, settings)
    await addUser(app)
    const answer = await send(app, '/api/token/', MODE, ALICE)
    t.match(answer.headers['set-cookie'], /^refresh=[^;]+; Max-Age=86400; Path=\/; HttpOnly; SameSite=Lax$/)
    const cookie = withCookie(cookieIn(answer, 'refresh')?.value ?? '', MODE, 'refresh')
    const next = await send(app, '/api/token/refresh/', cookie)
    t.strictSame([next.statusCode, next.headers['set-cookie']], [200, undefined], 'kept without rotation')
    await t.rejects(build(t, { ...settings, cookieSamesite: 'none' }), /__Host-/)
  }
)

/** JWT authentication: parsing the Authorization header and finding the user. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { errorHandler, isAuthenticated, type LatchkeyOptions } from '../../src/index.ts'
import { sendRaw } from '../drf/scope.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, obtainPair, PASSWORD } from '../support/journeys.ts'
import { mint } from '../support/tokens.ts'

const NOBODY = { detail: 'Authentication credentials were not provided.' }
const MALFORMED = {
  detail: 'Authorization header must contain two space-delimited values',
  code: 'bad_authorization_header'
}
const INVALID = { detail: 'Given token not valid for any token type', code: 'token_not_valid' }
const NOT_FOUND = { detail: 'User not found', code: 'user_not_found' }
const UNNAMED = { detail: 'Token contained no recognizable user identification', code: 'token_not_valid' }

type Build = ReturnType<typeof worldOf>['build']

/** Builds an app with a guarded route that returns the caller. */
const appWith = (build: Build, t: Test, settings: LatchkeyOptions = {}) =>
  build(t, settings, (app) =>
    app.register(async (routes) => {
      routes.setErrorHandler(errorHandler)
      routes.get('/me', { preHandler: isAuthenticated }, async ({ user, auth }: FastifyRequest) => ({ user, auth }))
    })
  )

const call = (app: FastifyInstance, headers: Record<string, string | string[]>) => app.inject({ url: '/me', headers })

const accessOf = (claims: object, omit: string[] = []) => mint({ claims: { token_type: 'access', ...claims }, omit })

t.test('the Authorization header is parsed as in SimpleJWT, but with a case-insensitive scheme', async (t) => {
  const app = await appWith(worldOf('sqlite').build, t)
  const token = accessOf({})
  const cases: [value: string, body: object | null][] = [
    [`Bearer ${token}`, null],
    [`bearer ${token}`, null],
    [`BEARER ${token}`, null],
    [`Bearer   ${token}`, null],
    [`Bearer\t${token}`, null],
    [`Bearer \t\v\f${token}`, null],
    [`  Bearer ${token}  `, null],
    ['', NOBODY],
    [' \t ', NOBODY],
    [token, NOBODY],
    [`Basic ${token}`, NOBODY],
    [`Basic ${token} ${token}`, NOBODY],
    [`JWT ${token}`, NOBODY],
    [`Bearer: ${token}`, NOBODY],
    [`Bearer${token}`, NOBODY],
    [`"Bearer" ${token}`, NOBODY],
    // Header values are bytes, and only ASCII white space separates them.
    [`Bearer\xa0${token}`, NOBODY],
    [`Bearer\x85${token}`, NOBODY],
    [`Bearer\ufeff${token}`, NOBODY],
    ['Bearer', MALFORMED],
    ['bearer ', MALFORMED],
    [`Bearer ${token} ${token}`, MALFORMED],
    [`Bearer ${token} x`, MALFORMED],
    [`Bearer ${token}, x`, MALFORMED],
    ['Bearer x', INVALID],
    [`Bearer ${token},`, INVALID],
    [`Bearer "${token}"`, INVALID],
    [`Bearer\t${token}\xa0`, INVALID]
  ]

  t.strictSame((await app.inject('/me')).json(), NOBODY, 'no header')
  for (const [value, body] of cases) {
    const answer = await call(app, { authorization: value })

    t.equal(answer.statusCode, body === null ? 200 : 401, JSON.stringify(value))
    if (body !== null) t.match(answer.json(), body, JSON.stringify(value))
    t.equal(answer.headers['www-authenticate'], body === null ? undefined : 'Bearer realm="api"')
  }
})

// A proxy may have used the other header.
t.test('a request with two Authorization headers is rejected (401)', async (t) => {
  const app = await appWith(worldOf('sqlite').build, t, { authHeaderTypes: 'Bearer,JWT' })
  const [good, bad] = [`Bearer ${accessOf({})}`, 'Bearer x']
  const send = (first: string, second: string) =>
    sendRaw(
      app,
      `GET /me HTTP/1.1\r\nHost: a\r\nAuthorization: ${first}\r\nauthorization: ${second}\r\nConnection: close\r\n\r\n`
    )

  for (const [first, second] of [
    [good, good],
    [good, bad],
    [bad, good],
    [good, 'Basic YTpi']
  ] as const) {
    t.strictSame((await call(app, { authorization: [first, second] })).json(), MALFORMED)
    t.match(await send(first, second), /^HTTP\/1\.1 401 (?:.|\s)*"bad_authorization_header"/)
  }
  t.match(await send('Basic YTpi', good), /^HTTP\/1\.1 401 (?:.|\s)*not provided/, 'the first selects the scheme')
  t.match(await send(good, ''), /^HTTP\/1\.1 401 /)
})

t.test('header name and schemes follow the settings, and the challenge names the first scheme', async (t) => {
  const app = await appWith(worldOf('sqlite').build, t, {
    authHeaderName: 'HTTP_X_ACCESS_TOKEN',
    authHeaderTypes: ['JWT', 'Token']
  })
  const token = accessOf({})
  const cases: [headers: Record<string, string | string[]>, statusCode: number, body?: object][] = [
    [{ 'X-Access-Token': `JWT ${token}` }, 200],
    [{ 'x-access-token': `token ${token}` }, 200],
    [{ 'x-access-token': `Bearer ${token}` }, 401, NOBODY],
    [{ authorization: `JWT ${token}` }, 401, NOBODY],
    [{ x_access_token: `JWT ${token}` }, 401, NOBODY],
    [{ 'x-access-token': [`JWT ${token}`, `JWT ${token}`] }, 401, MALFORMED],
    [{ 'x-access-token': 'JWT', authorization: `JWT ${token}` }, 401, MALFORMED],
    [{ 'x-access-token': 'JWT x' }, 401, INVALID]
  ]

  for (const [headers, statusCode, body] of cases) {
    const answer = await call(app, headers)

    t.equal(answer.statusCode, statusCode, JSON.stringify(Object.keys(headers)))
    if (body) t.match(answer.json(), body)
    t.equal(answer.headers['www-authenticate'], statusCode === 401 ? 'JWT realm="api"' : undefined)
  }
})

t.test('a token of another type returns 401 with one message for each configured token class', async (t) => {
  const { build } = worldOf('sqlite')
  const app = await appWith(build, t)
  const both = await appWith(build, t, { authTokenClasses: ['AccessToken', 'SlidingToken'] })
  const access = { token_class: 'AccessToken', token_type: 'access', message: 'Token has wrong type' }
  const sliding = { ...access, token_class: 'SlidingToken', token_type: 'sliding' }
  const headers = { authorization: `Bearer ${mint()}` }

  t.strictSame((await call(app, headers)).json(), { ...INVALID, messages: [access] })
  t.strictSame((await call(both, headers)).json(), { ...INVALID, messages: [access, sliding] })
})

/** Values that identify no user, with any settings. */
const ODD_IDS = [null, '', 'abc', '0', '01', '1e0', ' 1', '1\n', '１', '2147483648', 0, -1, 1.5, true, [1], { id: 1 }]

t.test('with stateless the caller has the claims of the token, and a malformed user id returns 401', async (t) => {
  const { build } = worldOf('sqlite')
  const app = await appWith(build, t)
  const named = await appWith(build, t, { userIdField: 'username', userIdClaim: 'sub' })
  const claims = { user_id: '7', username: 'seven', is_staff: true }
  const who = async (on: FastifyInstance, token: string) =>
    (await call(on, { authorization: `Bearer ${token}` })).json()

  const caller = await who(app, accessOf(claims))
  t.match(caller.user, { id: '7', username: 'seven', isStaff: true, isSuperuser: false, isActive: true })
  t.match(caller.auth, { ...claims, token_type: 'access', jti: String }, 'request.auth has the claims')
  t.equal((await who(app, accessOf({ user_id: 7 }))).user.id, '7')
  t.equal((await who(named, accessOf({ sub: 'é' }))).user.id, 'é')
  t.strictSame(await who(app, accessOf({}, ['user_id'])), UNNAMED)
  t.strictSame(await who(named, accessOf({ user_id: '7' })), UNNAMED)
  for (const user_id of ODD_IDS) t.strictSame(await who(app, accessOf({ user_id })), NOT_FOUND, JSON.stringify(user_id))
  for (const sub of ['a\0', 'x'.repeat(151)]) t.strictSame(await who(named, accessOf({ sub })), NOT_FOUND)
})

onEachDatabase(t, (t, { build, buildWithBlacklist }) => {
  t.test('without stateless the caller is the user row without password, and must exist and be active', async (t) => {
    const app = await appWith(build, t, { stateless: false })
    const { databaseUrl } = app.auth.settings
    const lenient = await appWith(build, t, { stateless: false, checkUserIsActive: false, databaseUrl })
    const { id } = await addUser(app, { email: 'a@b.c' })
    const ina = await addUser(app, { username: 'ina', isActive: false })
    const who = async (token: string, on = app) => (await call(on, { authorization: `Bearer ${token}` })).json()
    const inactive = accessOf({ user_id: ina.id })

    const { user } = await who(accessOf({ user_id: String(id), is_staff: true, is_superuser: true }))
    t.match(user, { id, username: 'alice', email: 'a@b.c', isStaff: false, isSuperuser: false, isActive: true })
    t.notOk('password' in user)
    t.match(await who(accessOf({ user_id: id })), { user: { id } }, 'an integer user_id')
    t.strictSame(await who(inactive), { detail: 'User is inactive', code: 'user_inactive' })
    t.match(await who(inactive, lenient), { user: { username: 'ina', isActive: false } })
    t.strictSame(await who(accessOf({}, ['user_id'])), UNNAMED)
    for (const user_id of [77, ...ODD_IDS]) {
      t.strictSame(await who(accessOf({ user_id })), NOT_FOUND, JSON.stringify(user_id))
    }
    await app.auth.users.deleteUser(id)
    t.strictSame(await who(accessOf({ user_id: id })), NOT_FOUND)
  })

  t.test('with checkRevokeToken a password change invalidates access tokens, also if stateless', async (t) => {
    const app = await appWith(buildWithBlacklist, t, { stateless: false, checkRevokeToken: true })
    const { databaseUrl } = app.auth.settings
    const stateless = await appWith(buildWithBlacklist, t, { checkRevokeToken: true, databaseUrl })
    const alice = await addUser(app)
    const { access } = await obtainPair(app)
    const statusOf = async (on: FastifyInstance, token: string) =>
      (await call(on, { authorization: `Bearer ${token}` })).statusCode

    t.equal(await statusOf(app, access), 200)
    await app.auth.users.setPassword(alice.id, PASSWORD)

    for (const token of [
      access,
      accessOf({ user_id: alice.id }),
      accessOf({ user_id: alice.id, hash_password: null })
    ]) {
      const answer = await call(app, { authorization: `Bearer ${token}` })
      t.equal(answer.statusCode, 401)
      t.strictSame(answer.json(), { detail: "The user's password has been changed.", code: 'password_changed' })
    }
    await stateless.auth.revocations.sync()
    t.equal(await statusOf(stateless, access), 401)
    t.equal(await statusOf(app, (await obtainPair(app)).access), 200)
  })

  t.test('with userIdField "username" the user is found by the exact username', async (t) => {
    const app = await appWith(build, t, { stateless: false, userIdField: 'username', userIdClaim: 'sub' })
    const alice = await addUser(app)
    const { access } = await obtainPair(app)
    const who = async (token: string) => (await call(app, { authorization: `Bearer ${token}` })).json()

    t.match(await who(access), { user: { id: alice.id } })
    for (const sub of ['Alice', String(alice.id), 'nobody']) t.strictSame(await who(accessOf({ sub })), NOT_FOUND)
  })
})

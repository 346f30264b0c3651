/** djoser's rules for accounts: repeated input, visible users, logout on password change, no user enumeration. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { accountRoutes, UserNotFound } from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'
import { watchStatements } from '../tokens/statements.ts'
import { linkIn, type Received, startSmtp } from './smtp.ts'

const STRONG = 'Zx9-long-pass'
const TAKEN = ['A user with that username already exists.']
const REQUIRED = ['This field is required.']
type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

const mount = (app: FastifyInstance) => app.register(accountRoutes, { prefix: '/auth' })
const ask = async (app: FastifyInstance, method: Method, path: string, payload?: object, headers = {}) => {
  const answer = await app.inject({ method, url: `/auth${path}`, headers, ...(payload && { payload }) })
  return [answer.statusCode, answer.body === '' ? null : answer.json()]
}
const signIn = async (app: FastifyInstance, username: string, password = PASSWORD) =>
  bearer((await obtainPair(app, { username, password })).access)
const differ = (field: string) => ({ non_field_errors: [`The two ${field} fields didn't match.`] })

onEachDatabase(t, (t, { buildWithBlacklist: build, build: buildWithSessions }) => {
  t.test('registration errors are reported in the order of username, password, repeated password', async (t) => {
    const app = await build(t, { accountsPasswordRetype: true }, mount)
    await addUser(app)
    const wrong: [payload: object, errors: object][] = [
      [{ username: 'alice', password: 'x', re_password: 'y' }, { username: TAKEN }],
      [{ username: 'ａlice', password: 'x', re_password: 'y' }, { username: TAKEN }],
      [{ username: 'bob', password: '1234', re_password: 'y' }, { password: [/too short/, /too common/, /numeric/] }],
      [{ username: 'bob', password: STRONG, re_password: 'y' }, differ('password')],
      [{ username: 'bob', password: STRONG }, { re_password: REQUIRED }]
    ]
    for (const [payload, errors] of wrong) {
      t.match(await ask(app, 'POST', '/users/', payload), [400, errors], JSON.stringify(payload))
    }
    t.equal(await app.auth.database.user.count(), 1)
  })

  t.test('with the retype settings a new username or password must be repeated (else 400)', async (t) => {
    const smtp = await startSmtp(t)
    const twice = { accountsPasswordRetype: true, accountsUsernameRetype: true, mailUrl: smtp.url }
    const app = await build(t, twice, mount)
    await addUser(app, { email: 'alice@example.com' })
    await addUser(app, { username: 'sam' })
    const as = await signIn(app, 'alice')
    const rename = (payload: object) => ask(app, 'POST', '/users/set_username/', payload, as)
    const good = { current_password: PASSWORD, new_username: 'al', re_new_username: 'al' }

    t.strictSame(await rename({}), [
      400,
      { current_password: REQUIRED, new_username: REQUIRED, re_new_username: REQUIRED }
    ])
    t.strictSame(await rename({ current_password: 'x', new_username: 'sam', re_new_username: 'y' }), [
      400,
      { current_password: ['Invalid password.'], new_username: TAKEN }
    ])
    t.strictSame(await rename({ ...good, re_new_username: 'AL' }), [400, differ('username')])
    t.strictSame(await rename(good), [204, null])
    t.strictSame(
      await ask(
        app,
        'POST',
        '/users/set_password/',
        { current_password: PASSWORD, new_password: STRONG, re_new_password: 'x' },
        as
      ),
      [400, differ('password')]
    )

    await ask(app, 'POST', '/users/reset_username/', { email: 'alice@example.com' })
    const link = linkIn((await smtp.received(1))[0] as Received)
    const confirm = (payload: object) => ask(app, 'POST', '/users/reset_username_confirm/', payload)
    t.strictSame(await confirm({}), [400, { new_username: REQUIRED, re_new_username: REQUIRED }])
    t.match(await confirm({ new_username: 'ann', re_new_username: 'ann' }), [
      400,
      { token: ['Invalid token for given user.'] }
    ])
    t.strictSame(await confirm({ ...link, new_username: 'ann', re_new_username: 'anna' }), [400, differ('username')])
    t.strictSame(await confirm({ ...link, new_username: 'sam', re_new_username: 'x' }), [400, { new_username: TAKEN }])
    await ask(app, 'POST', '/users/reset_password/', { email: 'alice@example.com' })
    const resetLink = linkIn((await smtp.received(2))[1] as Received)
    const reset = { ...resetLink, new_password: STRONG, re_new_password: 'x' }
    t.strictSame(await ask(app, 'POST', '/users/reset_password_confirm/', reset), [400, differ('password')])
    t.strictSame(await confirm({ ...link, new_username: 'ann', re_new_username: 'ann' }), [204, null])
  })

  t.test(
    'without accountsHideUsers all users are listed, and other users return 403 where unknown ids return 404',
    async (t) => {
      const app = await build(t, { accountsHideUsers: false }, mount)
      await addUser(app)
      const { id } = await addUser(app, { username: 'sam', isStaff: true })
      const as = await signIn(app, 'alice')

      t.match(await ask(app, 'GET', '/users/', undefined, as), [200, [{ username: 'alice' }, { username: 'sam' }]])
      const forbidden = [403, { detail: 'You do not have permission to perform this action.' }]
      for (const method of ['GET', 'PUT', 'PATCH', 'DELETE'] as const) {
        const body = method === 'GET' ? undefined : { current_password: PASSWORD }
        t.strictSame(await ask(app, method, `/users/${id}/`, body, as), forbidden, method)
        t.strictSame(await ask(app, method, '/users/999/', body, as), [
          404,
          { detail: 'No User matches the given query.' }
        ])
        t.strictSame(await ask(app, method, '/users/x/', body, as), [404, { detail: 'Not found.' }])
      }
      t.match(await ask(app, 'GET', `/users/${id}/`, undefined, await signIn(app, 'sam')), [200, { username: 'sam' }])
    }
  )

  t.test('a new password or a reset revokes all keys and tokens, with every refresh store', async (t) => {
    const smtp = await startSmtp(t)
    for (const accountsLogoutOnPasswordChange of [true, false]) {
      const app = await build(t, { accountsLogoutOnPasswordChange, mailUrl: smtp.url }, mount)
      const [alice, bob] = [await addUser(app, { email: 'a@example.com' }), await addUser(app, { username: 'bob' })]
      const [first, second, others] = [await obtainPair(app), await obtainPair(app), await obtainPair(app, bob)]
      await app.inject({ method: 'POST', url: '/api/token/blacklist/', payload: { refresh: first.refresh } })
      const key = await app.auth.authTokens.obtain(alice.id)
      const change = { current_password: PASSWORD, new_password: STRONG }
      t.equal((await ask(app, 'POST', '/users/set_password/', change, bearer(second.access)))[0], 204)
      t.equal((await refreshWith(app, second.refresh)).statusCode, 401)
      t.equal(await app.auth.authTokens.userOf(key), null)
      const third = await obtainPair(app, { username: 'alice', password: STRONG })
      t.equal((await refreshWith(app, others.refresh)).statusCode, 200, 'of another user')

      smtp.mails.length = 0
      await ask(app, 'POST', '/users/reset_password/', { email: 'a@example.com' })
      const link = linkIn((await smtp.received(1))[0] as Received)
      const reset = { ...link, new_password: `${STRONG}2` }
      t.equal((await ask(app, 'POST', '/users/reset_password_confirm/', reset))[0], 204)
      t.equal((await refreshWith(app, third.refresh)).statusCode, 401)
    }
  })

  t.test('a new password ends all login sessions, and returns a new pair if the client prefers it', async (t) => {
    for (const accountsLogoutOnPasswordChange of [true, false]) {
      const app = await buildWithSessions(t, { accountsLogoutOnPasswordChange }, mount)
      await addUser(app)
      const [own, other] = [await obtainPair(app), await obtainPair(app)]
      const change = { current_password: PASSWORD, new_password: STRONG }

      t.equal((await ask(app, 'POST', '/users/set_password/', change, bearer(own.access)))[0], 204)
      for (const { refresh } of [own, other]) t.equal((await refreshWith(app, refresh)).statusCode, 401)

      const next = await obtainPair(app, { username: 'alice', password: STRONG })
      const answer = await app.inject({
        method: 'POST',
        url: '/auth/users/set_password/',
        headers: { ...bearer(next.access), prefer: 'return=representation' },
        payload: { current_password: STRONG, new_password: `${STRONG}2` }
      })
      t.equal(answer.statusCode, accountsLogoutOnPasswordChange ? 204 : 200)
      t.equal((await refreshWith(app, next.refresh)).statusCode, 401)
      if (answer.statusCode === 200) t.equal((await refreshWith(app, answer.json().refresh)).statusCode, 200)
    }
  })

  t.test('concurrent changes of accounts each succeed or are rejected', async (t) => {
    const app = await build(t, { accountsLogoutOnPasswordChange: true, refreshStore: 'none' }, mount)
    await addUser(app)
    const names = ['bob', 'carol', 'dave']
    for (const username of names) await addUser(app, { username })
    const renames = names.map(async (username) => {
      const payload = { current_password: PASSWORD, new_username: 'eve' }
      return (await ask(app, 'POST', '/users/set_username/', payload, await signIn(app, username)))[0]
    })
    t.strictSame((await Promise.all(renames)).toSorted(), [204, 400, 400])

    const as = await signIn(app, 'alice')
    const current_password = PASSWORD
    const met = await Promise.all([
      ask(app, 'DELETE', '/users/me/', { current_password }, as),
      ask(app, 'POST', '/users/set_password/', { current_password, new_password: STRONG }, as),
      ask(app, 'POST', '/users/set_username/', { current_password, new_username: 'al' }, as),
      ask(app, 'PATCH', '/users/me/', { email: 'al@example.com' }, as)
    ])
    t.ok(
      met.every(([status]) => [200, 204, 400, 401].includes(status)),
      JSON.stringify(met)
    )
  })

  t.test('a new password also logs out clients that refresh concurrently', async (t) => {
    const app = await build(t, { accountsLogoutOnPasswordChange: true }, mount)
    await addUser(app)
    const pairs = await Promise.all([1, 2, 3, 4].map(() => obtainPair(app)))
    const change = { current_password: PASSWORD, new_password: STRONG }
    const [[status], ...refreshed] = await Promise.all([
      ask(app, 'POST', '/users/set_password/', change, bearer(pairs[0]?.access ?? '')),
      ...pairs.map(({ refresh }) => refreshWith(app, refresh))
    ])
    t.equal(status, 204)
    for (const answer of refreshed.filter(({ statusCode }) => statusCode === 200)) {
      t.equal((await refreshWith(app, answer.json().refresh)).statusCode, 401)
    }
  })

  t.test('requests for mail have the same response and statements for known and unknown addresses', async (t) => {
    const statementsOf = watchStatements(t)
    const smtp = await startSmtp(t)
    const app = await build(
      t,
      { mailUrl: smtp.url, accountsSendActivationEmail: true, accountsEmailDelay: '1s' },
      mount
    )
    await addUser(app, { email: 'alice@example.com' })
    const ina = await addUser(app, { username: 'ina', email: 'ina@example.com', isActive: false })
    await app.auth.database.pendingActivation.create({ data: { userId: ina.id } })
    await app.auth.users.createUser({ username: 'shut', email: 'shut@example.com', isActive: false })

    for (const path of ['reset_password', 'reset_username', 'resend_activation']) {
      const seen = new Set<string>()
      for (const email of ['alice@example.com', 'ina@example.com', 'shut@example.com', 'nobody@example.com']) {
        const answers: unknown[] = []
        const asked = async () => answers.push(await ask(app, 'POST', `/users/${path}/`, { email }))
        seen.add(JSON.stringify([await statementsOf(asked), answers]))
      }
      t.equal(seen.size, 1, [...seen].join('\n'))
    }
    const mails = await smtp.received(3)
    t.strictSame(mails.flatMap(({ to }) => to).toSorted(), [
      'alice@example.com',
      'alice@example.com',
      'ina@example.com'
    ])
  })

  t.test('an empty update by staff sends the mail of an account that awaits activation again', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { mailUrl: smtp.url, accountsSendActivationEmail: true }, mount)
    await addUser(app, { email: 'alice@example.com' })
    const { id } = await addUser(app, { username: 'ina', email: 'ina@example.com', isActive: false })
    await app.auth.database.pendingActivation.create({ data: { userId: id } })
    await addUser(app, { username: 'sam', isStaff: true, isSuperuser: true })
    const [asAlice, asSam] = [await signIn(app, 'alice'), await signIn(app, 'sam')]

    for (const payload of [{}, { email: 'alice@example.com' }]) {
      t.match(await ask(app, 'PUT', '/users/me/', payload, asAlice), [200, { email: 'alice@example.com' }])
    }
    t.match(await ask(app, 'PATCH', `/users/${id}/`, {}, asSam), [200, { email: 'ina@example.com' }])
    t.strictSame(
      (await smtp.received(1)).map(({ to }) => to),
      [['ina@example.com']]
    )
  })

  t.test('with accountsShowEmailNotFound resend_activation returns the same 400 for every address', async (t) => {
    for (const accountsSendActivationEmail of [true, false]) {
      const app = await build(t, { accountsSendActivationEmail, accountsShowEmailNotFound: true }, mount)
      await addUser(app, { email: 'alice@example.com' })
      for (const email of ['alice@example.com', 'nobody@example.com']) {
        t.strictSame(await ask(app, 'POST', '/users/resend_activation/', { email }), [
          400,
          ['User with given email does not exist.']
        ])
      }
    }
  })

  t.test('with loginField "email" an email address is required and unique in any case', async (t) => {
    const app = await build(t, { loginField: 'email', accountsEmailChangePassword: false }, mount)
    await addUser(app, { email: 'alice@example.com' })
    const login = (payload: object) => ask(app, 'POST', '/token/login/', payload)
    const make = (payload: object) => ask(app, 'POST', '/users/', { username: 'bob', password: STRONG, ...payload })
    const taken = [400, { email: ['user with this email address already exists.'] }]

    t.strictSame(await make({}), [400, { email: REQUIRED }])
    t.strictSame(await make({ email: '' }), [400, { email: ['This field may not be blank.'] }])
    t.strictSame(await make({ email: 'ALICE@Example.com' }), taken)
    t.equal((await make({ email: 'bob@example.com' }))[0], 201)
    const [, { auth_token: key }] = await login({ email: 'BOB@example.com', password: STRONG })
    t.match(await app.auth.authTokens.userOf(key), { username: 'bob' })
    t.match(await login({ username: 'bob', password: STRONG }), [400, { non_field_errors: [/^Unable to log in/] }])
    const payload = { email: 'bob@example.com', password: STRONG }
    const { access } = (await app.inject({ method: 'POST', url: '/auth/jwt/create/', payload })).json()
    const change = (email: string) => ask(app, 'PATCH', '/users/me/', { email }, bearer(access))
    t.strictSame(await change('Alice@example.com'), taken)
    t.strictSame(await change(''), [400, { email: ['This field may not be blank.'] }])
    t.match(await change('Bob@example.com'), [200, { email: 'Bob@example.com' }], 'the own address')
    t.match(await login({ email: 'alice@example.com', password: PASSWORD }), [200, {}])
  })

  t.test('changing a deleted user throws UserNotFound', async (t) => {
    const { auth } = await build(t)
    await t.rejects(auth.users.setPassword(77, PASSWORD), UserNotFound)
    await t.rejects(auth.users.setUsername(77, 'al'), UserNotFound)
    t.equal(await auth.users.activate(77), false)
  })
})

/** djoser's endpoints for users, in addition to the recorded parity cases. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { AUTH_MODELS, accountRoutes, PermissionDenied } from '../../../src/index.ts'
import { onEachDatabase } from '../../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../../support/journeys.ts'

const STRONG = 'Zx9-long-pass'
type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

const mount = (app: FastifyInstance) => app.register(accountRoutes, { prefix: '/auth' })

onEachDatabase(t, (t, { build }) => {
  const ask = async (app: FastifyInstance, method: Method, path: string, payload?: object, headers = {}) => {
    const answer = await app.inject({ method, url: `/auth${path}`, headers, ...(payload && { payload }) })
    return [answer.statusCode, answer.body === '' ? null : answer.json()]
  }
  const signIn = async (app: FastifyInstance, username: string, password = PASSWORD) =>
    bearer((await obtainPair(app, { username, password })).access)

  t.test('a registered user can log in, and privileges in the request are ignored', async (t) => {
    const app = await build(t, {}, mount)
    const payload = {
      username: 'bob',
      email: 'bob@EXAMPLE.com',
      password: STRONG,
      is_staff: true,
      is_active: false,
      id: 9
    }
    const [status, made] = await ask(app, 'POST', '/users/', payload)

    t.strictSame([status, made], [201, { email: 'bob@example.com', username: 'bob', id: made.id }])
    t.match(await app.auth.users.get('id', made.id), { isStaff: false, isSuperuser: false, isActive: true })
    t.strictSame(await ask(app, 'GET', '/users/me/', undefined, await signIn(app, 'bob', STRONG)), [
      200,
      { email: 'bob@example.com', id: made.id, username: 'bob' }
    ])
  })

  t.test('invalid and duplicate registrations return 400 with errors by field, and create nothing', async (t) => {
    const app = await build(t, {}, mount)
    await addUser(app)
    const wrong: [payload: object, errors: object][] = [
      [{ username: 'a b', password: STRONG }, { username: [/^Enter a valid username\./] }],
      [{ username: 'bob', password: '1234567' }, { password: [/too short/, /too common/, /entirely numeric/] }],
      [{ username: 'bob', password: STRONG, email: 'x' }, { email: ['Enter a valid email address.'] }],
      [{ username: 'bob', password: STRONG, email: `${'x'.repeat(250)}@a.bc` }, { email: [/no more than 254/] }],
      [{ username: 'bob', password: STRONG, email: null }, { email: ['This field may not be null.'] }],
      [
        { username: { contains: '' }, password: [STRONG] },
        { username: ['Not a valid string.'], password: ['Not a valid string.'] }
      ],
      [{ username: 'b\0b', password: STRONG }, { username: ['Null characters are not allowed.'] }],
      [{ username: 'bob', password: `Zx9-${'é'.repeat(600)}` }, { password: [/1024 bytes/] }]
    ]
    for (const [payload, errors] of wrong)
      t.match(await ask(app, 'POST', '/users/', payload), [400, errors], JSON.stringify(payload).slice(0, 60))
    t.equal(await app.auth.database.user.count(), 1)
    const rivals = await Promise.all(
      [1, 2, 3].map(() => ask(app, 'POST', '/users/', { username: 'bob', password: STRONG }))
    )
    t.strictSame(rivals.map(([status]) => status).toSorted(), [201, 400, 400])
  })

  t.test('with accountsRegistration off only staff with auth.add_user can create accounts', async (t) => {
    const app = await build(t, { accountsRegistration: false }, mount)
    await app.auth.permissions.syncPermissions(AUTH_MODELS)
    const alice = await addUser(app)
    const sam = await addUser(app, { username: 'sam', isStaff: true })
    await addUser(app, { username: 'sue', isStaff: true })
    for (const { id } of [alice, sam]) await app.auth.permissions.grant(id, 'auth.add_user')
    const register = async (username: string, as?: string) =>
      ask(app, 'POST', '/users/', { username, password: STRONG }, as ? await signIn(app, as) : {})

    t.strictSame(await register('bob'), [401, { detail: 'Authentication credentials were not provided.' }])
    for (const as of ['alice', 'sue']) {
      t.strictSame(await register('bob', as), [403, { detail: PermissionDenied.detail }], as)
    }
    t.match(await register('bob', 'sam'), [201, { username: 'bob' }])
    t.equal((await ask(app, 'POST', '/users/', {}))[0], 401, 'before the validation')
    t.equal((await ask(app, 'GET', '/users/me/', undefined, await signIn(app, 'bob', STRONG)))[0], 200)
  })

  t.test('only its user and permitted staff can read and change an account', async (t) => {
    const app = await build(t, {}, mount)
    const [alice, sam] = [await addUser(app), await addUser(app, { username: 'sam', isStaff: true })]
    await app.auth.permissions.syncPermissions(AUTH_MODELS)
    for (const name of ['view', 'change', 'delete']) await app.auth.permissions.grant(sam.id, `auth.${name}_user`)
    const [asAlice, asSam] = [await signIn(app, 'alice'), await signIn(app, 'sam')]

    t.match(await ask(app, 'GET', '/users/', undefined, asAlice), [200, [{ username: 'alice' }]])
    t.match(await ask(app, 'GET', '/users/', undefined, asSam), [200, [{ username: 'alice' }, { username: 'sam' }]])
    t.match(await ask(app, 'PATCH', `/users/${alice.id}/`, { email: 'a@b.cd' }, asSam), [200, { email: 'a@b.cd' }])
    t.match(await ask(app, 'PUT', `/users/${alice.id}/`, {}, asAlice), [200, { email: 'a@b.cd', username: 'alice' }])
    for (const id of [String(sam.id), '999', 'x', '1e0', '0', `${'9'.repeat(40)}`]) {
      t.strictSame(await ask(app, 'GET', `/users/${id}/`, undefined, asAlice), [404, { detail: 'Not found.' }], id)
      t.equal((await ask(app, 'DELETE', `/users/${id}/`, { current_password: PASSWORD }, asAlice))[0], 403, id)
    }
    t.equal((await ask(app, 'GET', '/users/999/', undefined, asSam))[0], 404)
    t.equal((await ask(app, 'GET', '/users/'))[0], 401)
    t.strictSame(await ask(app, 'DELETE', `/users/${alice.id}/`, { current_password: PASSWORD }, asSam), [204, null])
    t.equal((await ask(app, 'GET', '/users/me/', undefined, asAlice))[0], 401, 'a deleted user is rejected')
  })

  t.test('staff can read but not change the account of a superuser (403)', async (t) => {
    const app = await build(t, {}, mount)
    const root = await addUser(app, { username: 'root', isSuperuser: true, isStaff: true, email: 'r@b.cd' })
    const sam = await addUser(app, { username: 'sam', isStaff: true })
    await app.auth.permissions.syncPermissions(AUTH_MODELS)
    for (const name of ['view', 'change', 'delete']) await app.auth.permissions.grant(sam.id, `auth.${name}_user`)
    await addUser(app, { username: 'toor', isSuperuser: true, isStaff: true })
    const [asSam, asToor] = [await signIn(app, 'sam'), await signIn(app, 'toor')]
    const url = `/users/${root.id}/`

    t.match(await ask(app, 'GET', url, undefined, asSam), [200, { email: 'r@b.cd' }])
    for (const method of ['PUT', 'PATCH'] as const) {
      t.equal((await ask(app, method, url, { email: 's@b.cd' }, asSam))[0], 403, method)
    }
    t.equal((await ask(app, 'DELETE', url, { current_password: PASSWORD }, asSam))[0], 403)
    t.match(await ask(app, 'PATCH', url, { email: 's@b.cd' }, asToor), [200, { email: 's@b.cd' }])
    t.equal((await ask(app, 'DELETE', url, { current_password: PASSWORD }, asToor))[0], 204)
  })

  t.test('set_password requires the current password and a strong new one (else 400)', async (t) => {
    const app = await build(t, {}, mount)
    await addUser(app)
    const as = await signIn(app, 'alice')
    const change = (current_password: string, new_password: string) =>
      ask(app, 'POST', '/users/set_password/', { current_password, new_password }, as)

    t.strictSame(await change('wrong', '123'), [400, { current_password: ['Invalid password.'] }])
    t.match(await change(PASSWORD, 'alice123'), [
      400,
      { new_password: ['The password is too similar to the username.'] }
    ])
    t.strictSame(await change(PASSWORD, STRONG), [204, null])
    t.equal((await change(PASSWORD, STRONG))[0], 401, 'the token is revoked')
    t.ok(await signIn(app, 'alice', STRONG))
  })

  t.test('set_username requires the password and a valid, unused username (else 400)', async (t) => {
    const app = await build(t, {}, mount)
    await addUser(app)
    await addUser(app, { username: 'sam' })
    const as = await signIn(app, 'alice')
    const change = (new_username: string, current_password = PASSWORD) =>
      ask(app, 'POST', '/users/set_username/', { current_password, new_username }, as)

    t.match(await change('sam'), [400, { new_username: ['A user with that username already exists.'] }])
    t.match(await change('a b'), [400, { new_username: [/^Enter a valid username/] }])
    t.match(await change('bob', 'x'), [400, { current_password: ['Invalid password.'] }])
    t.strictSame(await change('ａｌ'), [204, null])
    t.match(await ask(app, 'GET', '/users/me/', undefined, as), [200, { username: 'al' }])
  })

  t.test('wrong current passwords count towards the login rate limit of all routes (429)', async (t) => {
    const app = await build(t, { loginRate: '4/minute' }, mount)
    await addUser(app)
    const as = await signIn(app, 'alice')
    const statuses = []
    for (let count = 0; count < 5; count++) {
      statuses.push(
        (await ask(app, 'POST', '/users/set_password/', { current_password: 'x', new_password: 'x' }, as))[0]
      )
    }
    t.strictSame(statuses, [400, 400, 400, 400, 429], 'the login with the correct password is not counted')
    for (const url of ['/auth/jwt/create/', '/auth/token/login/', '/api/token/', '/api/api-token-auth/']) {
      const { statusCode } = await app.inject({ method: 'POST', url, payload: { username: 'alice', password: 'x' } })
      t.equal(statusCode, 429, url)
    }
    t.equal((await ask(app, 'GET', '/users/me/', undefined, as))[0], 200)
  })

  t.test('token/login/ returns the auth token and sets last_login, and token/logout/ deletes the token', async (t) => {
    const app = await build(t, {}, mount)
    const { id } = await addUser(app)
    const [status, { auth_token: key }] = await ask(app, 'POST', '/token/login/', {
      username: 'alice',
      password: PASSWORD
    })

    t.equal(status, 200)
    t.equal(await app.auth.authTokens.obtain(id), key)
    t.ok((await app.auth.users.get('id', id))?.lastLogin)
    t.equal((await ask(app, 'POST', '/token/logout/'))[0], 401)
    t.strictSame(await ask(app, 'POST', '/token/logout/', {}, await signIn(app, 'alice')), [204, null])
    t.not(await app.auth.authTokens.obtain(id), key)
  })
})

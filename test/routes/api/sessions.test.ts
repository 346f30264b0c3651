/** The login sessions of a user over HTTP. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { accountRoutes } from '../../../src/index.ts'
import { AUTH_MODELS } from '../../../src/permissions/content-types.ts'
import { onEachDatabase, worldOf } from '../../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD, refreshWith } from '../../support/journeys.ts'
import { claimsOf, mint } from '../../support/tokens.ts'

type Method = 'GET' | 'PATCH' | 'DELETE' | 'POST'

const NOT_FOUND = { detail: 'Not found.' }
const sidOf = (token: string) => String(claimsOf(token).sid)
const ask = (app: FastifyInstance, access: string, method: Method, url: string, payload?: object) =>
  app.inject({ method, url: `/api${url}`, headers: bearer(access), ...(payload && { payload }) })
const isIn = async (app: FastifyInstance, refresh: string) => (await refreshWith(app, refresh)).statusCode === 200

onEachDatabase(t, (t, { build }) => {
  t.test('users can list, label and end their own login sessions, and no others (404)', async (t) => {
    const app = await build(t)
    await addUser(app)
    const headers = { 'user-agent': 'Phone/1' }
    const login = {
      method: 'POST',
      url: '/api/token/',
      payload: { username: 'alice', password: PASSWORD },
      headers
    } as const
    const [here, phone] = [await obtainPair(app), (await app.inject(login)).json()]
    const bobs = await obtainPair(app, await addUser(app, { username: 'bob' }))
    const url = `/sessions/${sidOf(phone.refresh)}/`

    const list = (await ask(app, here.access, 'GET', '/sessions/')).json()
    t.strictSame(
      list.map(({ id }: { id: string }) => id).toSorted(),
      [here, phone].map(({ refresh }) => sidOf(refresh)).toSorted()
    )
    const seen = list.find(({ is_current }: { is_current: boolean }) => !is_current)
    t.match(seen, {
      id: sidOf(phone.refresh),
      label: '',
      user_agent: 'Phone/1',
      address: '127.0.0.1',
      is_current: false
    })
    t.match([seen.created_at, seen.last_refresh, seen.expires_at], Array(3).fill(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/))
    t.match((await ask(app, here.access, 'PATCH', url, { label: ' my phone ' })).json(), { label: 'my phone' })
    t.match((await ask(app, here.access, 'PATCH', url, {})).json(), { label: 'my phone' })
    t.match((await ask(app, here.access, 'GET', url)).json(), { label: 'my phone', is_current: false })
    const bad: [unknown, string][] = [
      [null, 'This field may not be null.'],
      [['x'], 'Not a valid string.'],
      ['x'.repeat(101), 'Ensure this field has no more than 100 characters.'],
      ['a\0', 'Null characters are not allowed.']
    ]
    for (const [label, message] of bad) {
      const answer = await ask(app, here.access, 'PATCH', url, { label })
      t.strictSame([answer.statusCode, answer.json()], [400, { label: [message] }])
    }
    for (const method of ['GET', 'PATCH', 'DELETE'] as const) {
      for (const id of [sidOf(bobs.refresh), 'f'.repeat(32), 'x', '%00', "'; --"]) {
        t.strictSame(
          (
            await ask(app, here.access, method, `/sessions/${id}/`, method === 'PATCH' ? { label: 'x' } : undefined)
          ).json(),
          NOT_FOUND
        )
      }
    }
    t.equal((await ask(app, here.access, 'DELETE', url)).statusCode, 204)
    t.strictSame((await ask(app, here.access, 'DELETE', url)).json(), NOT_FOUND)
    t.equal((await ask(app, phone.access, 'GET', '/protected/')).statusCode, 401)
    t.strictSame(
      [await isIn(app, phone.refresh), await isIn(app, here.refresh), await isIn(app, bobs.refresh)],
      [false, true, true]
    )
  })

  t.test('a user can end all other sessions, the current one, or all', async (t) => {
    const app = await build(t)
    await addUser(app)
    const [here, other] = [await obtainPair(app), await obtainPair(app)]

    t.equal((await ask(app, here.access, 'DELETE', '/sessions/?others=true')).statusCode, 204)
    t.strictSame([await isIn(app, other.refresh), await isIn(app, here.refresh)], [false, true])
    const third = await obtainPair(app)
    t.equal((await ask(app, here.access, 'POST', '/token/logout/')).statusCode, 204)
    t.strictSame([await isIn(app, here.refresh), await isIn(app, third.refresh)], [false, true])
    t.equal((await ask(app, here.access, 'POST', '/token/logout/')).statusCode, 401, 'already ended')
    t.equal((await ask(app, third.access, 'DELETE', '/sessions/')).statusCode, 204)
    t.notOk(await isIn(app, third.refresh))
    t.equal((await ask(app, third.access, 'GET', '/sessions/')).statusCode, 401)
  })

  t.test('staff with the permissions can list and end login sessions of other users', async (t) => {
    const app = await build(t)
    const alice = await addUser(app)
    const staff = await addUser(app, { username: 'sam', isStaff: true })
    const [mine, sams] = [await obtainPair(app), await obtainPair(app, staff)]
    const url = `/users/${alice.id}/sessions/`
    for (const { access } of [mine, sams]) {
      for (const method of ['GET', 'DELETE'] as const) t.equal((await ask(app, access, method, url)).statusCode, 403)
    }
    await app.auth.permissions.syncPermissions(AUTH_MODELS)
    await app.auth.permissions.grant(staff.id, 'auth.view_user', 'auth.change_user')

    const [seen] = (await ask(app, sams.access, 'GET', url)).json()
    t.match(seen, { id: sidOf(mine.refresh), is_current: false })
    t.strictSame(
      (await ask(app, sams.access, 'DELETE', `${url}${sidOf(sams.refresh)}/`)).json(),
      NOT_FOUND,
      'not of this user'
    )
    t.equal((await ask(app, sams.access, 'DELETE', `${url}${seen.id}/`)).statusCode, 204)
    t.strictSame((await ask(app, sams.access, 'DELETE', `${url}${seen.id}/`)).json(), NOT_FOUND)
    const again = await obtainPair(app)
    t.equal((await ask(app, sams.access, 'DELETE', url)).statusCode, 204)
    t.notOk(await isIn(app, again.refresh))
    for (const id of ['77', 'x', '0'])
      t.strictSame((await ask(app, sams.access, 'GET', `/users/${id}/sessions/`)).json(), NOT_FOUND)
    t.match(await app.auth.database.session.findMany({ where: { id: seen.id } }), [{ endReason: 'staff' }])
  })

  t.test('a password change ends all login sessions, also that of the request', async (t) => {
    const app = await build(t, {}, (app) => app.register(accountRoutes, { prefix: '/auth' }))
    await addUser(app)
    const [here, other] = [await obtainPair(app), await obtainPair(app)]
    const payload = { current_password: PASSWORD, new_password: 'an0ther-Pass!' }
    const url = '/auth/users/set_password/'

    t.equal((await app.inject({ method: 'POST', url, payload, headers: bearer(here.access) })).statusCode, 204)
    t.strictSame([await isIn(app, here.refresh), await isIn(app, other.refresh)], [false, false])
    t.equal((await ask(app, here.access, 'GET', '/protected/')).statusCode, 401)
  })
})

t.test('a token without session cannot log out (400), and missing or inactive users are rejected', async (t) => {
  const app = await worldOf('sqlite').build(t)
  const { id } = await addUser(app)
  const access = mint({ claims: { token_type: 'access', user_id: String(id) } })
  const answer = await ask(app, access, 'POST', '/token/logout/')
  t.strictSame(
    [answer.statusCode, answer.json()],
    [400, { non_field_errors: ['The credentials do not belong to a login session.'] }]
  )
  t.strictSame((await ask(app, access, 'GET', '/sessions/')).json(), [])
  await app.auth.database.user.updateMany({ data: { isActive: false } })
  t.match((await ask(app, access, 'GET', '/sessions/')).json(), { code: 'user_inactive' })
  t.match((await ask(app, mint({ claims: { token_type: 'access', user_id: '77' } }), 'GET', '/sessions/')).json(), {
    code: 'user_not_found'
  })
})

t.test('without login sessions the routes return 404', async (t) => {
  const app = await worldOf('sqlite').buildWithBlacklist(t)
  await addUser(app)
  const { access } = await obtainPair(app)
  for (const url of ['/sessions/', '/users/1/sessions/']) t.equal((await ask(app, access, 'GET', url)).statusCode, 404)
})

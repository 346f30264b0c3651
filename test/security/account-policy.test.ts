/** Accounts of others: one policy at djoser's URLs and at those for staff. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { accountRoutes, isAdminUser } from '../../src/index.ts'
import { grant } from '../permissions/rights.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../support/journeys.ts'

onEachDatabase(t, (t, { build }) => {
  async function start(scope: Parameters<typeof build>[0]) {
    const app = await build(scope, {}, async (app) => {
      await app.register(accountRoutes, { prefix: '/auth' })
      app.get('/staff', { preHandler: isAdminUser }, async () => ({}))
    })
    const staff = { isStaff: true }
    const users = {
      intern: await addUser(app, { username: 'intern', ...staff }),
      helpdesk: await addUser(app, { username: 'helpdesk', ...staff }),
      boss: await addUser(app, { username: 'boss', ...staff }),
      root: await addUser(app, { username: 'root', ...staff, isSuperuser: true }),
      bob: await addUser(app, { username: 'bob' })
    }
    await app.auth.permissions.syncPermissions((await import('../../src/index.ts')).AUTH_MODELS)
    for (const name of ['view', 'change', 'delete']) await grant(app, users.helpdesk.id, `auth.${name}_user`)
    for (const name of ['view', 'change', 'delete', 'add']) await grant(app, users.boss.id, `auth.${name}_user`)
    const as = async (name: string) => bearer((await obtainPair(app, { username: name, password: PASSWORD })).access)
    return { app, users, as }
  }
  type Call = [method: 'GET' | 'PATCH' | 'PUT' | 'DELETE', url: string, payload?: object]
  const statusOf = async (app: FastifyInstance, headers: Record<string, string>, [method, url, payload]: Call) =>
    (await app.inject({ method, url, headers, ...(payload && { payload }) })).statusCode

  t.test("djoser's URLs require the model permission and the rank to change another account", async (t) => {
    const { app, users, as } = await start(t)
    const email = { email: 'intern@example.com' }
    const confirm = { current_password: PASSWORD }
    const calls = (id: number): Call[] => [
      ['PATCH', `/auth/users/${id}/`, email],
      ['PUT', `/auth/users/${id}/`, email],
      ['DELETE', `/auth/users/${id}/`, confirm]
    ]
    for (const { id } of [users.bob, users.boss, users.root]) {
      t.equal(await statusOf(app, await as('intern'), ['GET', `/auth/users/${id}/`]), 200)
      for (const call of calls(id)) {
        t.equal(await statusOf(app, await as('intern'), call), 403, `intern ${call.join(' ')}`)
      }
    }
    for (const { id } of [users.boss, users.root]) {
      for (const call of calls(id)) t.equal(await statusOf(app, await as('helpdesk'), call), 403, call.join(' '))
    }
    t.equal((await app.inject({ url: '/auth/users/', headers: await as('helpdesk') })).json().length, 5)
    t.equal(await statusOf(app, await as('helpdesk'), ['PATCH', `/auth/users/${users.bob.id}/`, email]), 200)
    t.equal(await statusOf(app, await as('helpdesk'), ['DELETE', `/auth/users/${users.bob.id}/`, confirm]), 204)
  })

  t.test('the last superuser cannot delete its own account, at any URL (403)', async (t) => {
    const { app, users, as } = await start(t)
    const headers = await as('root')
    t.equal(await statusOf(app, headers, ['DELETE', '/auth/users/me/', { current_password: PASSWORD }]), 403)
    t.equal(
      await statusOf(app, headers, ['DELETE', `/auth/users/${users.root.id}/`, { current_password: PASSWORD }]),
      403
    )
    t.equal(await statusOf(app, headers, ['DELETE', `/api/users/${users.root.id}/`]), 403)
    await app.auth.users.updateUser(users.boss.id, { isSuperuser: true })
    t.equal(await statusOf(app, headers, ['DELETE', '/auth/users/me/', { current_password: PASSWORD }]), 204)
  })

  t.test('staff cannot strip a user of permissions that they lack, nor end its sessions (403)', async (t) => {
    const { app, users, as } = await start(t)
    const headers = await as('helpdesk')
    for (const changes of [
      { user_permissions: [] },
      { is_staff: false },
      { is_active: false },
      { password: PASSWORD }
    ]) {
      const call: Call = ['PATCH', `/api/users/${users.boss.id}/`, changes]
      t.equal(await statusOf(app, headers, call), 403, JSON.stringify(changes))
    }
    for (const { id } of [users.boss, users.root]) {
      t.equal(await statusOf(app, headers, ['DELETE', `/api/users/${id}/`]), 403)
      for (const method of ['GET', 'DELETE'] as const) {
        t.equal(await statusOf(app, headers, [method, `/api/users/${id}/sessions/`]), 403, `${method} sessions`)
      }
    }
    t.equal(await statusOf(app, headers, ['PATCH', `/api/users/${users.intern.id}/`, { is_staff: false }]), 200)
    t.equal(await statusOf(app, headers, ['DELETE', `/api/users/${users.bob.id}/sessions/`]), 204)
  })

  t.test('a claim does not make a caller staff, and rights in claims must be renewed at each refresh', async (t) => {
    const { app, users } = await start(t)
    const databaseUrl = app.auth.settings.databaseUrl
    const claims = (user: { isStaff: boolean }) => ({ is_staff: user.isStaff })
    const fresh = await build(t, { databaseUrl, claims, freshClaims: true }, (app) => {
      app.get('/staff', { preHandler: isAdminUser }, async () => ({}))
    })
    const { access } = await obtainPair(fresh, { username: 'intern', password: PASSWORD })
    t.equal((await fresh.inject({ url: '/staff', headers: bearer(access) })).statusCode, 200)
    await fresh.auth.database.user.update({ where: { id: users.intern.id }, data: { isStaff: false } })
    t.equal((await fresh.inject({ url: '/staff', headers: bearer(access) })).statusCode, 403)

    const stale = await build(t, { databaseUrl, claims })
    await t.rejects(stale.auth.tokens.obtainPair({ username: 'boss', password: PASSWORD }), /freshClaims: true/)
  })

  t.test(
    'any other value of X-Latchkey-Mode than "cookie" is an error (400), and long queries are rejected',
    async (t) => {
      const { app, as } = await start(t)
      for (const mode of ['Cookie', 'cookies', 'cookie, cookie', '']) {
        const headers = { 'x-latchkey-mode': mode }
        const payload = { username: 'bob', password: PASSWORD }
        t.equal((await app.inject({ method: 'POST', url: '/api/token/', headers, payload })).statusCode, 400, mode)
      }
      const url = `/api/users/?${'a&'.repeat(7000)}`
      t.equal((await app.inject({ url, headers: await as('root') })).statusCode, 400)
    }
  )
})

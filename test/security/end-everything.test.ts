/** What ends a user's credentials ends all of them: sessions, access tokens, keys, browser sessions, tokens of Django. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { accountRoutes } from '../../src/index.ts'
import { Revocations } from '../../src/sessions/revocations.ts'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'
import { mint, secondsNow } from '../support/tokens.ts'

const STRONG = 'an0ther-Pass!'

const start = ({ build }: TestWorld, scope: Parameters<TestWorld['build']>[0]) =>
  build(scope, { authenticationSchemes: ['jwt', 'token', 'session'] }, (app) =>
    app.register(accountRoutes, { prefix: '/auth' })
  )

/** One credential of each kind, with the status of its use. */
async function credentialsOf(app: FastifyInstance, id: number): Promise<Record<string, () => Promise<number>>> {
  const user = await app.auth.users.get('id', id)
  if (user === null) throw new Error('no user')
  const pair = await obtainPair(app)
  const key = await app.auth.authTokens.obtain(id)
  const { key: cookie } = await app.auth.browserSessions.logIn(user, null)
  const old = { user_id: String(id), iat: secondsNow() - 60, jti: `${id}-${Math.random()}`.replace('.', '') }
  const [refresh, access] = ['refresh', 'access'].map((token_type) => mint({ claims: { ...old, token_type } }))
  const call = async (headers: Record<string, string>) =>
    (await app.inject({ url: '/api/protected/', headers })).statusCode
  return {
    'refresh token': async () => (await refreshWith(app, pair.refresh)).statusCode,
    'access token': () => call(bearer(pair.access)),
    'auth token key': () => call({ authorization: `Token ${key}` }),
    'browser session': () => call({ cookie: `sessionid=${cookie}` }),
    'access token without sid': () => call(bearer(access ?? '')),
    // Last, since it is adopted if it is valid.
    'refresh token without sid': async () => (await refreshWith(app, refresh ?? '')).statusCode
  }
}

onEachDatabase(t, (t, world) => {
  t.test('every operation that ends a user ends every kind of credential (401)', async (t) => {
    const app = await start(world, t)
    const { users, sessions } = app.auth
    const { id } = await addUser(app)
    const root = await addUser(app, { username: 'root', isStaff: true, isSuperuser: true })
    const own = async () => bearer((await obtainPair(app)).access)
    const staff = async () => bearer((await obtainPair(app, root)).access)
    const reset = async (password: string) => {
      const row = await users.get('id', id)
      return row && users.resetPassword(row, password)
    }
    const operations: [name: string, end: () => Promise<unknown>][] = [
      ['a password reset', () => reset(PASSWORD)],
      ['a new password', () => users.setPassword(id, PASSWORD)],
      ["staff's new password", () => users.updateUser(id, { password: PASSWORD })],
      [
        'the end of all sessions',
        async () => app.inject({ method: 'DELETE', url: '/api/sessions/', headers: await own() })
      ],
      [
        "staff's end of all sessions",
        async () => app.inject({ method: 'DELETE', url: `/api/users/${id}/sessions/`, headers: await staff() })
      ],
      [
        'deactivation and activation',
        async () => {
          await users.deactivate(id)
          await users.activate(id)
        }
      ],
      ['the domain function', () => sessions.endAll(id, 'staff')]
    ]

    for (const [name, end] of operations) {
      const credentials = await credentialsOf(app, id)
      await end()
      for (const [kind, use] of Object.entries(credentials)) t.equal(await use(), 401, `${kind} after ${name}`)
      const others = await credentialsOf(app, id)
      for (const kind of ['access token', 'auth token key', 'browser session']) {
        t.equal(await others[kind]?.(), 200, `a new ${kind} after ${name}`)
      }
    }
  })

  t.test('without such an operation every kind of credential is valid (200)', async (t) => {
    const app = await start(world, t)
    const { id } = await addUser(app)
    for (const [kind, use] of Object.entries(await credentialsOf(app, id))) t.equal(await use(), 200, kind)
  })

  t.test('the end of all others keeps the credentials of the request', async (t) => {
    const app = await start(world, t)
    const { id } = await addUser(app)
    const credentials = await credentialsOf(app, id)
    const key = await app.auth.authTokens.obtain(id)
    const headers = { authorization: `Token ${key}` }

    t.equal((await app.inject({ method: 'DELETE', url: '/api/sessions/?others=true', headers })).statusCode, 204)

    for (const [kind, use] of Object.entries(credentials)) {
      t.equal(await use(), kind === 'auth token key' ? 200 : 401, kind)
    }
    await app.auth.users.setPassword(id, STRONG)
    t.equal((await app.inject({ url: '/api/protected/', headers })).statusCode, 401)
  })

  t.test('a revocation is enforced by its process even if the list cannot be read afterwards', async (t) => {
    const app = await world.build(t, { revocationPoll: 60 })
    const { id } = await addUser(app)
    const [one, two] = [await obtainPair(app), await obtainPair(app)]
    t.intercept(app.auth.database, 'revocation', {
      value: new Proxy(app.auth.database.revocation, {
        get: () => async () => {
          throw new Error('down')
        }
      })
    })

    t.equal(
      (await app.inject({ method: 'POST', url: '/api/token/logout/', headers: bearer(one.access) })).statusCode,
      204
    )
    t.equal((await app.inject({ url: '/api/protected/', headers: bearer(one.access) })).statusCode, 401)
    t.equal((await app.inject({ url: '/api/protected/', headers: bearer(two.access) })).statusCode, 200)
    await app.auth.users.deactivate(id)
    t.equal((await app.inject({ url: '/api/protected/', headers: bearer(two.access) })).statusCode, 401)
    const sidless = mint({ claims: { token_type: 'access', user_id: String(id), iat: secondsNow() - 1 } })
    t.equal((await app.inject({ url: '/api/protected/', headers: bearer(sidless) })).statusCode, 401)
  })

  t.test('revocations are read again from a database that was restored to an earlier state', async (t) => {
    const app = await world.build(t, { revocationPoll: 60 })
    await addUser(app)
    const { database, revocations, settings, verifier } = app.auth
    const other = await world.build(t, { revocationPoll: 60, databaseUrl: settings.databaseUrl })
    const row = (sid: string, at: bigint) => ({
      id: at,
      sid,
      subject: null,
      revokedAt: new Date(),
      expiresAt: new Date(Date.now() + 60_000)
    })
    await database.revocation.createMany({ data: [row('a'.repeat(32), 100n), row('b'.repeat(32), 101n)] })
    await revocations.sync()
    await database.revocation.deleteMany()
    await revocations.sync()
    const { access } = await obtainPair(app)
    const { sid } = JSON.parse(Buffer.from(access.split('.')[1] ?? '', 'base64url').toString())
    await other.auth.database.revocation.createMany({ data: [row(sid, 50n)] })

    await revocations.sync()

    const status = await verifier.authenticate(access).then(
      () => 200,
      ({ statusCode }) => statusCode
    )
    t.equal(status, 401)
  })

  t.test(
    'a row with an id that was used before the database was restored is not missed, and a warning is logged',
    async (t) => {
      const { database, settings } = (await world.build(t, { revocationPoll: 60 })).auth
      const restores: string[] = []
      const revocations = new Revocations(settings, database, undefined, () => restores.push('restored'))
      t.teardown(() => revocations.close())
      const row = (sid: string) => ({ id: 7n, sid, revokedAt: new Date(), expiresAt: new Date(Date.now() + 300_000) })
      const clock = t.intercept(performance, 'now', { value: () => 1_000 })
      await database.revocation.create({ data: row('a'.repeat(32)) })
      await revocations.sync()
      clock.restore()
      t.intercept(performance, 'now', { value: () => 1_000_000 })
      await revocations.sync()

      await database.revocation.deleteMany()
      await database.revocation.create({ data: row('b'.repeat(32)) })
      await revocations.sync()

      t.ok(revocations.isRevoked({ sid: 'b'.repeat(32) }))
      t.ok(revocations.isRevoked({ sid: 'a'.repeat(32) }), 'known revocations stay in force')
      t.strictSame(restores, ['restored'])
    }
  )

  t.test('an older revocation that is read later does not shorten a newer one', async (t) => {
    const { database, settings } = (await world.build(t, { revocationPoll: 60 })).auth
    const revocations = new Revocations(settings, database)
    t.teardown(() => revocations.close())
    const row = (id: bigint, at: number) => ({
      id,
      subject: '1',
      revokedAt: new Date(at * 1000),
      expiresAt: new Date((at + 300) * 1000)
    })
    const now = secondsNow()
    await database.revocation.createMany({ data: [row(1n, now), row(2n, now - 100)] })
    await revocations.sync()
    t.ok(revocations.isRevoked({ user_id: '1', iat: now - 1 }))
    t.notOk(revocations.isRevoked({ user_id: '1', iat: now + 1 }))
  })

  t.test('a change of rights is enforced by its process even if the list cannot be read afterwards', async (t) => {
    const settings = { claims: () => ({ rights: 'x' }), freshClaims: true, revocationPoll: 60 }
    const app = await world.build(t, settings)
    const { id } = await addUser(app)
    const { access } = await obtainPair(app)
    const { revocation } = app.auth.database
    t.intercept(app.auth.database, 'revocation', {
      value: new Proxy(revocation, {
        get: (target, name) =>
          name === 'createMany' ? target.createMany.bind(target) : () => Promise.reject(new Error('down'))
      })
    })
    await app.auth.users.updateUser(id, { isStaff: true })
    t.equal((await app.inject({ url: '/api/protected/', headers: bearer(access) })).statusCode, 401)
  })

  t.test('a new password ends the refresh tokens of every store, and a login in the same second works', async (t) => {
    for (const refreshStore of ['blacklist', 'none', 'session'] as const) {
      const app = await world.build(t, { refreshStore })
      const { id } = await addUser(app)
      const { refresh } = await obtainPair(app)
      await app.auth.users.setPassword(id, STRONG)
      t.equal((await refreshWith(app, refresh)).statusCode, 401, refreshStore)
      const next = await obtainPair(app, { username: 'alice', password: STRONG })
      t.equal(
        (await app.inject({ url: '/api/protected/', headers: bearer(next.access) })).statusCode,
        200,
        refreshStore
      )
      t.equal((await refreshWith(app, next.refresh)).statusCode, 200, refreshStore)
    }
  })

  t.test('a token without sid that is adopted while everything is ended gets no session', async (t) => {
    const app = await world.build(t)
    const { id } = await addUser(app)
    const { sessions, database } = app.auth
    const token = mint({ claims: { user_id: String(id), iat: secondsNow() - 1 } })
    const adopting = t.intercept(sessions, 'adopt', {
      value: async (...given: Parameters<typeof sessions.adopt>) => {
        adopting.restore()
        await sessions.endAll(id, 'logout')
        return sessions.adopt(...given)
      }
    })
    t.equal((await refreshWith(app, token)).statusCode, 401)
    t.equal(await database.session.count({ where: { endedAt: null } }), 0)
  })

  t.test('a token without sid that is adopted while its user is deleted gets no session', async (t) => {
    const app = await world.build(t)
    const { id } = await addUser(app)
    const { sessions, users, database } = app.auth
    const token = mint({ claims: { user_id: String(id), iat: secondsNow() - 1 } })
    const adopting = t.intercept(sessions, 'adopt', {
      value: async (...given: Parameters<typeof sessions.adopt>) => {
        adopting.restore()
        await users.deleteUser(id)
        return sessions.adopt(...given)
      }
    })
    t.equal((await refreshWith(app, token)).statusCode, 401)
    t.equal(await database.session.count({ where: { endedAt: null } }), 0)
  })

  t.test('a login whose password is replaced while it is checked gets no credential', async (t) => {
    const changes: [name: string, change: (app: FastifyInstance, id: number) => Promise<unknown>][] = [
      ['a new password', ({ auth }, id) => auth.users.setPassword(id, STRONG)],
      ['a deactivation', ({ auth }, id) => auth.users.deactivate(id)],
      ['a deletion', ({ auth }, id) => auth.users.deleteUser(id)]
    ]
    const doors = ['/api/token/', '/api/token/sliding/', '/api/api-token-auth/', '/auth/token/login/']
    const authenticationSchemes = ['jwt', 'token'] as const
    for (const refreshStore of ['session', 'blacklist', 'none'] as const) {
      for (const [name, change] of changes) {
        const options = { refreshStore, authenticationSchemes: [...authenticationSchemes] }
        const app = await world.build(t, options, (app) => app.register(accountRoutes, { prefix: '/auth' }))
        const { users, database } = app.auth
        for (const [index, url] of doors.entries()) {
          const username = `alice${index}`
          const { id } = await addUser(app, { username })
          const checking = t.intercept(users, 'authenticate', {
            value: async (...given: Parameters<typeof users.authenticate>) => {
              checking.restore()
              const user = await users.authenticate(...given)
              await change(app, id)
              return user
            }
          })
          const answer = await app.inject({ method: 'POST', url, payload: { username, password: PASSWORD } })
          const place = `${url} with ${refreshStore} after ${name}`
          t.equal(answer.statusCode, url.startsWith('/api/token/') ? 401 : 400, place)
          t.equal(await database.authToken.count(), 0, place)
          t.equal(await database.session.count({ where: { endedAt: null } }), 0, place)
        }
      }
    }
  })

  t.test('a refresh token without iat is from before everything was ended', async (t) => {
    const app = await world.build(t, { refreshStore: 'blacklist' })
    const { id } = await addUser(app)
    const token = mint({ claims: { user_id: String(id) }, omit: ['iat'] })
    await app.auth.users.setPassword(id, STRONG)
    t.equal((await refreshWith(app, token)).statusCode, 401)
  })
})

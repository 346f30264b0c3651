/** Revocation across processes: within a second, and without a query per request. */
import type { FastifyInstance } from 'fastify'
import pg from 'pg'
import t, { type Test } from 'tap'
import type { Database } from '../../src/database/open.ts'
import { Revocations } from '../../src/sessions/revocations.ts'
import { onEachDatabase, type TestWorld, worldOf } from '../support/build.ts'
import { addUser, bearer, obtainPair } from '../support/journeys.ts'
import { listening } from '../support/listening.ts'
import { claimsOf, mint, secondsNow } from '../support/tokens.ts'
import { watchStatements } from '../tokens/statements.ts'

const statusOf = async (app: FastifyInstance, access: string) =>
  (await app.inject({ url: '/api/protected/', headers: bearer(access) })).statusCode

/** Resolves once requests with the token return `wanted`. @throws Error after a second */
async function becomes(app: FastifyInstance, access: string, wanted: number): Promise<void> {
  const deadline = Date.now() + 1000
  while ((await statusOf(app, access)) !== wanted) {
    if (Date.now() > deadline) throw new Error(`after a second it is still not ${wanted}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Builds two apps on one database, as two server processes have them. */
async function twoApps(t: Test, { build }: TestWorld, settings = {}): Promise<[FastifyInstance, FastifyInstance]> {
  const one = await build(t, settings)
  return [one, await build(t, { ...settings, databaseUrl: one.auth.settings.databaseUrl })]
}

onEachDatabase(t, (t, world) => {
  t.test('every way to end a session revokes its access tokens in both processes, and no other tokens', async (t) => {
    const [here, there] = await twoApps(t, world)
    const alice = await addUser(here)
    const { sessions, users, tokens } = here.auth
    const endings: [what: string, end: (sid: string, refresh: string) => Promise<unknown>][] = [
      ['a logout', (_sid, refresh) => tokens.blacklist(refresh)],
      ['the end of one session', (sid) => sessions.end(sid, 'logout')],
      ['the end of all sessions', () => sessions.endAll(alice.id, 'logout')],
      ['a new password', () => users.setPassword(alice.id, alice.password)],
      [
        'reuse',
        async (_sid, refresh) => {
          const { refresh: next = '' } = await tokens.refresh(refresh)
          await tokens.refresh(next)
          await tokens.refresh(refresh).catch(() => undefined)
        }
      ],
      ['a deactivation', () => users.deactivate(alice.id)],
      ['a deletion', () => users.deleteUser(alice.id)]
    ]
    const other = await obtainPair(here, await addUser(here, { username: 'bob' }))
    for (const [what, end] of endings) {
      await users.activate(alice.id)
      const { access, refresh } = await obtainPair(there)
      t.equal(await statusOf(there, access), 200, what)
      await end(String(claimsOf(access).sid), refresh)
      t.equal(await statusOf(here, access), 401, `${what} takes effect at once in the same process`)
      await becomes(there, access, 401)
    }
    t.equal(await statusOf(there, other.access), 200, 'other users stay logged in')
    const before = { user_id: String(alice.id), token_type: 'access', iat: secondsNow() - 1 }
    for (const app of [here, there]) t.equal(await statusOf(app, mint({ claims: before })), 401, 'a token without sid')
  })

  t.test('requests with revoked and with valid access tokens need no query', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await world.build(t, { revocationPoll: 60 })
    await addUser(app)
    const [one, two] = [await obtainPair(app), await obtainPair(app)]
    await app.auth.tokens.blacklist(two.refresh)

    for (const { access } of [one, two]) t.strictSame(await statementsOf(() => statusOf(app, access)), [])
    t.strictSame([await statusOf(app, one.access), await statusOf(app, two.access)], [200, 401])
  })

  t.test('a process rejects tokens that were revoked before its start', async (t) => {
    const app = await world.build(t)
    await addUser(app)
    const { access, refresh } = await obtainPair(app)
    await app.auth.tokens.blacklist(refresh)
    const later = await world.build(t, { databaseUrl: app.auth.settings.databaseUrl })

    t.equal(await statusOf(later, access), 401)
  })

  t.test('a revocation committed after one with a higher id is not missed', async (t) => {
    const { database, settings } = (await world.build(t)).auth
    const revocations = new Revocations(settings, database)
    const row = (id: bigint, sid: string) => ({
      ...{ id, sid, revokedAt: new Date(), expiresAt: new Date(Date.now() + 60_000) }
    })
    await database.revocation.create({ data: row(7n, 'later') })
    await revocations.sync()
    await database.revocation.create({ data: row(5n, 'earlier') })
    await Promise.all([revocations.sync(), revocations.sync()])

    t.ok(revocations.isRevoked({ sid: 'later' }))
    t.ok(revocations.isRevoked({ sid: 'earlier' }))
    t.notOk(revocations.isRevoked({ sid: 'other' }))
    await revocations.close()
  })
})

t.test('on PostgreSQL revocations arrive by NOTIFY, also after the connection was lost', async (t) => {
  const [here, there] = await twoApps(t, worldOf('postgresql'), { revocationPoll: 60 })
  await addUser(here)
  const [one, two, three] = [await obtainPair(here), await obtainPair(here), await obtainPair(here)]
  await here.auth.tokens.blacklist(one.refresh)
  await becomes(there, one.access, 401)

  const client = new pg.Client({ connectionString: here.auth.settings.databaseUrl })
  await client.connect()
  t.teardown(() => client.end())
  const listeners = "FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
  await client.query(`SELECT pg_terminate_backend(pid) ${listeners}`)
  await here.auth.tokens.blacklist(two.refresh)
  await becomes(there, two.access, 401)
  await here.auth.tokens.blacklist(three.refresh)
  await becomes(there, three.access, 401)
})

t.test('failing polls are reported once per outage, and known revocations stay in effect', async (t) => {
  const app = await worldOf('sqlite').build(t)
  const faults: unknown[] = []
  const { settings, database } = app.auth
  let isDown = false
  const failing = new Proxy(database, {
    get: (target, name) =>
      isDown && name === 'revocation'
        ? { findMany: () => Promise.reject(new Error('down')) }
        : Reflect.get(target, name)
  }) as Database
  const revocations = new Revocations(settings, failing, (error) => faults.push(error))
  t.equal(revocations.secondsSinceSync, Number.POSITIVE_INFINITY)
  const expiresAt = new Date(Date.now() + 60_000)
  await database.revocation.create({ data: { sid: 'known', revokedAt: new Date(), expiresAt } })
  await revocations.sync()
  isDown = true
  await revocations.sync()
  await revocations.sync()

  t.equal(faults.length, 1)
  t.ok(revocations.isRevoked({ sid: 'known' }))
  t.ok(revocations.secondsSinceSync < 60)
  isDown = false
  await revocations.sync()
  isDown = true
  await revocations.sync()
  t.equal(faults.length, 2, 'the next outage is reported again')
})

t.test('the readiness check returns 503 if revocations were last read before revocationMaxLag', async (t) => {
  const { app, origin } = await listening(t, { revocationMaxLag: 1 })
  t.equal((await fetch(`${origin}/health/ready`)).status, 200)
  t.intercept(app.auth.revocations, 'secondsSinceSync', { value: 1.5 })
  const answer = await fetch(`${origin}/health/ready`)

  t.equal(answer.status, 503)
  t.strictSame(await answer.json(), { detail: 'The revocation list is out of date.' })
})

t.test('a revocation is forgotten when the tokens that it concerns have expired', async (t) => {
  const { database, settings } = (await worldOf('sqlite').build(t)).auth
  const revocations = new Revocations(settings, database)
  const times = { revokedAt: new Date(), expiresAt: new Date(Date.now() + 60_000) }
  await database.revocation.createMany({
    data: [
      { sid: 'x', ...times },
      { subject: '7', ...times }
    ]
  })
  await revocations.sync()
  const claims = { user_id: '7', iat: secondsNow() - 1 }
  t.strictSame([revocations.isRevoked({ sid: 'x' }), revocations.isRevoked(claims)], [true, true])
  t.notOk(revocations.isRevoked({ ...claims, iat: secondsNow() + 1 }), 'a token issued later is valid')

  const clock = Date.now
  t.intercept(Date, 'now', { value: () => clock() + 61_000 })
  t.intercept(performance, 'now', { value: () => clock() })
  await revocations.sync()
  t.strictSame([revocations.isRevoked({ sid: 'x' }), revocations.isRevoked(claims)], [false, false])
})

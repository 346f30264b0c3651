/** Single use under concurrency with SimpleJWT's tables; for login sessions see sessions/. Nothing is retried here, which would hide races. */
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t, { type Test } from 'tap'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { addUser, obtainPair, refreshWith } from '../support/journeys.ts'
import { mint } from '../support/tokens.ts'

const ROUNDS = 5
const RIVALS = 20
const BLACKLISTED = '{"detail":"Token is blacklisted","code":"token_not_valid"}'

const logOut = (app: FastifyInstance, refresh: string) =>
  app.inject({ method: 'POST', url: '/api/token/blacklist/', payload: { refresh } })

/** Builds two apps with separate connections to one database, as two servers have them. */
async function twoApps(t: Test, { buildWithBlacklist: build }: TestWorld): Promise<FastifyInstance[]> {
  const one = await build(t)
  return [one, await build(t, { databaseUrl: one.auth.settings.databaseUrl })]
}

/** Sends 20 requests concurrently, alternating between the apps. */
function atOnce(apps: FastifyInstance[], ask: (app: FastifyInstance, at: number) => Promise<LightMyRequestResponse>) {
  return Promise.all(Array.from({ length: RIVALS }, (_, at) => ask(apps[at % apps.length] as FastifyInstance, at)))
}

/** Asserts that one request succeeds and the others report the token as blacklisted. @returns the successful response */
function hasOneWinner(t: Test, answers: LightMyRequestResponse[]): LightMyRequestResponse {
  const [winners, losers] = [true, false].map((won) => answers.filter(({ statusCode }) => (statusCode === 200) === won))
  t.equal(winners?.length, 1, 'one succeeds')
  t.strictSame([...new Set(losers?.map(({ statusCode, body }) => `${statusCode} ${body}`))], [`401 ${BLACKLISTED}`])
  return winners?.[0] as LightMyRequestResponse
}

onEachDatabase(t, (t, world) => {
  t.test('of 20 concurrent refreshes of one token exactly one succeeds, and its successor is valid', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    let { refresh } = await obtainPair(app, await addUser(app))
    for (let round = 0; round < ROUNDS; round++) {
      const won = hasOneWinner(t, await atOnce(apps, (app) => refreshWith(app, refresh)))
      refresh = won.json().refresh
    }
    t.equal(await app.auth.database.outstandingToken.count(), ROUNDS + 1, 'no other token was issued')
    t.equal(await app.auth.database.blacklistedToken.count(), ROUNDS)
  })

  t.test('of 20 concurrent refreshes of an unrecorded token exactly one succeeds', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    const { id } = await addUser(app)
    for (let round = 0; round < ROUNDS; round++) {
      const refresh = mint({ claims: { user_id: `${id}` } })
      hasOneWinner(t, await atOnce(apps, (app) => refreshWith(app, refresh)))
    }
  })

  t.test('of concurrent logouts and refreshes exactly one succeeds, and a logout revokes all tokens', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    const alice = await addUser(app)
    for (let round = 0; round < ROUNDS; round++) {
      const { refresh } = await obtainPair(app, alice)
      const answers = await atOnce(apps, (app, at) => (at % 4 < 2 ? logOut(app, refresh) : refreshWith(app, refresh)))
      const successor = hasOneWinner(t, answers).json().refresh
      if (successor) hasOneWinner(t, await atOnce(apps, (app) => logOut(app, successor)))
    }
    const { database } = app.auth
    t.equal(await database.outstandingToken.count(), await database.blacklistedToken.count(), 'no token is valid')
  })

  t.test('concurrent refreshes do not prevent the deletion of their user', async (t) => {
    const app = await world.build(t, { refreshStore: 'blacklist' })
    for (let round = 0; round < 5; round++) {
      const { id } = await addUser(app)
      const pairs = await Promise.all(Array.from({ length: 20 }, () => obtainPair(app)))
      const refreshes = pairs.map(({ refresh }) => refreshWith(app, refresh))
      await app.auth.users.deleteUser(id)
      t.equal(await app.auth.users.get('id', id), null)
      for (const { statusCode } of await Promise.all(refreshes))
        t.ok([200, 401].includes(statusCode), String(statusCode))
    }
  })

  t.test('concurrent refreshes of different tokens all succeed', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    const alice = await addUser(app)
    const pairs = await Promise.all(Array.from({ length: RIVALS }, () => obtainPair(app, alice)))
    t.equal(new Set(pairs.map(({ refresh }) => refresh)).size, RIVALS, 'concurrent logins get different tokens')
    const answers = await atOnce(apps, (app, at) => refreshWith(app, pairs[at]?.refresh ?? ''))
    t.strictSame([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
  })
})

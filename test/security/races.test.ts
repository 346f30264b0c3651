/** What can be used once is used once, however many try at the same moment: no retries here, they would hide the fault. Here with SimpleJWT's tables; of sessions, see sessions/. */
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

/** Two apps with connections of their own, as two servers have them. */
async function twoApps(t: Test, { buildWithBlacklist: build }: TestWorld): Promise<FastifyInstance[]> {
  const one = await build(t)
  return [one, await build(t, { databaseUrl: one.auth.settings.databaseUrl })]
}

/** All at once, by turns with either app. */
function atOnce(apps: FastifyInstance[], ask: (app: FastifyInstance, at: number) => Promise<LightMyRequestResponse>) {
  return Promise.all(Array.from({ length: RIVALS }, (_, at) => ask(apps[at % apps.length] as FastifyInstance, at)))
}

/** @returns the one that has won */
function hasOneWinner(t: Test, answers: LightMyRequestResponse[]): LightMyRequestResponse {
  const [winners, losers] = [true, false].map((won) => answers.filter(({ statusCode }) => (statusCode === 200) === won))
  t.equal(winners?.length, 1, 'one winner')
  t.strictSame([...new Set(losers?.map(({ statusCode, body }) => `${statusCode} ${body}`))], [`401 ${BLACKLISTED}`])
  return winners?.[0] as LightMyRequestResponse
}

onEachDatabase(t, (t, world) => {
  t.test('of twenty refreshes of one token one wins, and what it gets is good for the next twenty', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    let { refresh } = await obtainPair(app, await addUser(app))
    for (let round = 0; round < ROUNDS; round++) {
      const won = hasOneWinner(t, await atOnce(apps, (app) => refreshWith(app, refresh)))
      refresh = won.json().refresh
    }
    t.equal(await app.auth.database.outstandingToken.count(), ROUNDS + 1, 'and nothing else has been handed out')
    t.equal(await app.auth.database.blacklistedToken.count(), ROUNDS)
  })

  t.test('so it is with a token that was handed out elsewhere, and was never recorded', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    const { id } = await addUser(app)
    for (let round = 0; round < ROUNDS; round++) {
      const refresh = mint({ claims: { user_id: `${id}` } })
      hasOneWinner(t, await atOnce(apps, (app) => refreshWith(app, refresh)))
    }
  })

  t.test('of logouts and refreshes at once one wins: who is told to be signed out is', async (t) => {
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
    t.equal(await database.outstandingToken.count(), await database.blacklistedToken.count(), 'nobody is signed in')
  })

  t.test('sessions do not get in the way of each other', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    const alice = await addUser(app)
    const pairs = await Promise.all(Array.from({ length: RIVALS }, () => obtainPair(app, alice)))
    t.equal(new Set(pairs.map(({ refresh }) => refresh)).size, RIVALS, 'logins at once are not the same')
    const answers = await atOnce(apps, (app, at) => refreshWith(app, pairs[at]?.refresh ?? ''))
    t.strictSame([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
  })
})

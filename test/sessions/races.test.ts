/** Concurrent uses of one token on two servers. Nothing is retried here, which would hide races. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { addUser, obtainPair, refreshWith } from '../support/journeys.ts'

const RIVALS = 20
const ROUNDS = 4

const logOut = (app: FastifyInstance, refresh: string) =>
  app.inject({ method: 'POST', url: '/api/token/blacklist/', payload: { refresh } })

async function twoApps(t: Test, { build }: TestWorld, settings = {}): Promise<[FastifyInstance, FastifyInstance]> {
  const one = await build(t, settings)
  return [one, await build(t, { ...settings, databaseUrl: one.auth.settings.databaseUrl })]
}

const atOnce = <Result>(apps: FastifyInstance[], ask: (app: FastifyInstance, at: number) => Promise<Result>) =>
  Promise.all(Array.from({ length: RIVALS }, (_, at) => ask(apps[at % apps.length] as FastifyInstance, at)))

onEachDatabase(t, (t, world) => {
  t.test('concurrent refreshes of one token on two servers return the same valid successor', async (t) => {
    const apps = await twoApps(t, world)
    let { refresh } = await obtainPair(apps[0], await addUser(apps[0]))
    for (let round = 0; round < ROUNDS; round++) {
      const answers = await atOnce(apps, (app) => refreshWith(app, refresh))
      t.strictSame([...new Set(answers.map(({ statusCode }) => statusCode))], [200])
      const successors = new Set(answers.map((answer) => answer.json().refresh))
      t.equal(successors.size, 1, 'byte for byte the same')
      for (const answer of answers) await apps[1].auth.verifier.authenticate(answer.json().access)
      refresh = [...successors][0]
    }
    t.equal(await apps[0].auth.database.session.count(), 1)
  })

  t.test('without a grace period one of 20 concurrent refreshes succeeds, and the session ends by reuse', async (t) => {
    const apps = await twoApps(t, world, { rotationGrace: 0 })
    const { refresh } = await obtainPair(apps[0], await addUser(apps[0]))
    const answers = await atOnce(apps, (app) => refreshWith(app, refresh))
    const won = answers.filter(({ statusCode }) => statusCode === 200)

    t.equal(won.length, 1)
    t.equal((await refreshWith(apps[0], won[0]?.json().refresh)).statusCode, 401)
    t.strictSame([...new Set(answers.map(({ statusCode }) => statusCode))].toSorted(), [200, 401])
  })

  t.test('a logout concurrent with refreshes ends the session, and no successor stays valid', async (t) => {
    const apps = await twoApps(t, world)
    const alice = await addUser(apps[0])
    for (let round = 0; round < ROUNDS; round++) {
      const { refresh } = await obtainPair(apps[0], alice)
      const answers = await atOnce(apps, (app, at) => (at % 4 < 2 ? logOut(app, refresh) : refreshWith(app, refresh)))
      const outs = answers.filter((_, at) => at % 4 < 2)
      t.equal(outs.filter(({ statusCode }) => statusCode === 200).length, 1, 'exactly one logout succeeds')
      for (const answer of answers) {
        const { refresh: successor } = answer.json()
        if (successor) t.equal((await refreshWith(apps[1], successor)).statusCode, 401)
      }
    }
    t.equal(await apps[0].auth.database.session.count({ where: { endedAt: null } }), 0)
  })

  t.test('a deactivation concurrent with logins leaves no session active', async (t) => {
    const apps = await twoApps(t, world)
    const alice = await addUser(apps[0])
    for (let round = 0; round < ROUNDS; round++) {
      await apps[0].auth.users.activate(alice.id)
      const logins = await atOnce(apps, async (app, at) => {
        if (at === RIVALS / 2) await apps[1].auth.users.deactivate(alice.id)
        return obtainPair(app).catch(() => null)
      })
      for (const pair of logins) if (pair) t.equal((await refreshWith(apps[0], pair.refresh)).statusCode, 401)
      t.equal(await apps[0].auth.database.session.count({ where: { endedAt: null } }), 0, 'no active session')
    }
  })
})

/** Databases that are unreachable, hang or use another time zone: errors, timeouts and recovery. */
import { EventEmitter, once } from 'node:events'
import { mkdirSync, rmdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { migrate } from '../../src/database/migrate.ts'
import { type Database, openDatabase } from '../../src/database/open.ts'
import { onEachDatabase, type Scope } from '../support/build.ts'
import { addUser, bearer, obtainPair } from '../support/journeys.ts'
import { ask, pathOf, run } from './catalog.ts'
import { layWire } from './proxy.ts'
import { newUser } from './users.ts'

async function open(scope: Scope, url: string): Promise<Database> {
  const database = await openDatabase(url)
  scope.teardown(() => database.$disconnect())
  return database
}

/** The ways to query a database. */
const WAYS: Record<string, (database: Database) => Promise<unknown>> = {
  model: (database) => database.user.count(),
  raw: (database) => database.$queryRaw`SELECT count(*) FROM auth_user`,
  batch: (database) => database.$transaction([database.user.count(), database.group.count()]),
  interactive: (database) => database.$transaction((transaction) => transaction.user.count())
}

/** Queries in all ways at once. @returns `done` or the name of the error for each */
async function outcomes(database: Database, ways = WAYS): Promise<Record<string, string>> {
  const done = await Promise.all(
    Object.entries(ways).map(async ([name, ask]) => [
      name,
      await ask(database).then(
        () => 'done',
        (error: Error) => error.constructor.name
      )
    ])
  )
  return Object.fromEntries(done)
}

const all = (outcome: string, ways = WAYS) => Object.fromEntries(Object.keys(ways).map((name) => [name, outcome]))

t.setTimeout(100_000)

onEachDatabase(t, (t, { provider, build, databaseUrl, emptyDatabaseUrl }) => {
  const isServer = provider === 'postgresql'

  t.test('queries to an unreachable database raise DatabaseUnavailable, and succeed when it is back', async (t) => {
    const away = await (isServer ? cutWire(t, await databaseUrl(t)) : noFile(await emptyDatabaseUrl(t)))
    const database = await open(t, away.url)

    t.strictSame(await outcomes(database), all('DatabaseUnavailable'))

    await away.comeBack()
    t.strictSame(await outcomes(database), all('done'))
  })

  t.test('constraint violations and errors of the caller are not reported as DatabaseUnavailable', async (t) => {
    const database = await open(t, await databaseUrl(t))
    const data = newUser('alice')
    const token = { tokenId: 1n, blacklistedAt: new Date() }
    await database.user.create({ data })

    await t.rejects(database.user.create({ data }), { code: 'P2002' })
    await t.rejects(database.$transaction([database.user.create({ data })]), { code: 'P2002' })
    await t.rejects(database.$queryRaw`SELECT nothing FROM nowhere`, { code: 'P2010' })
    await t.rejects(database.blacklistedToken.create({ data: token }), { code: 'P2003' })
    await t.rejects(database.$transaction([database.blacklistedToken.create({ data: token }), database.user.count()]), {
      cause: { kind: 'ForeignKeyConstraintViolation' }
    })
    await t.rejects(
      database.$transaction(async () => {
        throw new RangeError('mine')
      }),
      new RangeError('mine')
    )
    t.equal(await database.user.count(), 1)
  })

  t.test('times are stored as UTC in any time zone of the database', async (t) => {
    const url = await databaseUrl(t)
    if (isServer) await run(url, inZone(url, 'America/New_York'))
    const dateJoined = new Date('2024-07-01T12:00:00.026Z')
    const theirs = "SELECT CAST(date_joined AS text) AS joined FROM auth_user WHERE username = 'alice'"

    const database = await open(t, url)
    await database.user.create({ data: { ...newUser('alice'), dateJoined } })

    t.strictSame((await database.user.findFirst())?.dateJoined, dateJoined)
    t.match((await ask(url, theirs))[0]?.joined, /^2024-07-01 12:00:00\.026(000|\+00)$/)
    t.equal(await database.user.count({ where: { dateJoined: { lte: dateJoined } } }), 1)
    t.equal(await database.user.count({ where: { dateJoined: { lt: dateJoined } } }), 0)
  })

  if (!isServer) return

  t.test('queries on terminated connections raise DatabaseUnavailable, and later ones reconnect', async (t) => {
    const url = await databaseUrl(t)
    const database = await open(t, url)
    await run(url, SLOW_USERS)
    await database.user.create({ data: newUser('alice') })
    const data = { email: 'alice@example.com' }
    const slow: typeof WAYS = {
      model: (database) => database.user.updateMany({ data }),
      raw: (database) => database.$queryRaw`SELECT CAST(pg_sleep(3) AS text)`,
      batch: (database) => database.$transaction([database.user.count(), database.user.updateMany({ data })]),
      interactive: (database) => database.$transaction((transaction) => transaction.user.updateMany({ data }))
    }

    const ended = outcomes(database, slow)
    await sleep(500)
    await run(url, TERMINATE_OTHERS)
    t.strictSame(await ended, all('DatabaseUnavailable'))
    t.strictSame(await outcomes(database), all('done'))

    await run(url, TERMINATE_OTHERS)
    await sleep(100)
    t.strictSame(await outcomes(database), all('done'), 'also if idle connections were terminated')
    t.equal((await database.user.findFirst())?.email, '', 'uncommitted changes are rolled back')
  })

  t.test('without its database an app returns 503 with Retry-After, and recovers', async (t) => {
    const wire = await layWire(t, await databaseUrl(t))
    const app = await build(t, { databaseUrl: wire.url })
    const alice = await addUser(app)
    const { access, refresh } = await obtainPair(app, alice)
    const signIn = () => app.inject({ method: 'POST', url: '/api/token/', payload: alice })

    await wire.cut()
    const answers = [
      await signIn(),
      await app.inject({ method: 'POST', url: '/api/token/refresh/', payload: { refresh } }),
      await app.inject({ method: 'POST', url: '/api/token/blacklist/', payload: { refresh } })
    ]
    const read = await app.inject({ url: '/api/protected/', headers: bearer(access) })

    for (const answer of answers) {
      t.equal(answer.statusCode, 503)
      t.match(answer.headers, { 'retry-after': /^\d+$/, 'content-type': /^application\/json/ })
      t.strictSame(answer.json(), { detail: 'Service temporarily unavailable, try again later.' })
    }
    t.equal(read.statusCode, 200, 'a valid access token needs no database')
    await wire.mend()
    t.equal((await signIn()).statusCode, 200)
  })

  t.test('slow statements, silent servers and full pools time out after 5 seconds', { timeout: 20_000 }, async (t) => {
    const url = await databaseUrl(t)
    const wire = await layWire(t, url)
    const [slow, silent, full] = [await open(t, url), await open(t, wire.url), await open(t, url)]
    await outcomes(silent)
    wire.freeze()
    const users = await everyConnection(full, 6000)

    const begun = performance.now()
    const [asleep, mute, crowded] = await Promise.all([
      slow.$queryRaw`SELECT CAST(pg_sleep(30) AS text)`.catch((error: Error) => error),
      outcomes(silent),
      outcomes(full)
    ])
    const waited = performance.now() - begun

    t.type(asleep, DatabaseUnavailable, 'slow statement')
    t.strictSame(mute, all('DatabaseUnavailable'), 'silent server')
    t.strictSame(crowded, all('DatabaseUnavailable'), 'exhausted pool')
    t.ok(waited > 4900 && waited < 10_000, `all failed after ${Math.round(waited)} ms`)
    await wire.mend()
    t.strictSame(await outcomes(silent), all('done'))
    await users.released
    t.strictSame(await outcomes(full), all('done'))
  })
})

/** Occupies all ten connections of a pool. @param duration in milliseconds, from the time that this returns */
async function everyConnection(database: Database, duration: number): Promise<{ released: Promise<unknown> }> {
  const taken = new EventEmitter()
  const users = Array.from({ length: 10 }, (_, index) =>
    database.$transaction(
      async (transaction) => {
        await transaction.user.count()
        taken.emit(String(index))
        await sleep(duration)
      },
      { timeout: 2 * duration }
    )
  )
  await Promise.all(users.map((_, index) => once(taken, String(index))))
  return { released: Promise.all(users) }
}

async function cutWire(scope: Scope, databaseUrl: string) {
  const wire = await layWire(scope, databaseUrl)
  await wire.cut()
  return { url: wire.url, comeBack: wire.mend }
}

/** Makes a database unreachable by a folder in place of its file. */
function noFile(url: string) {
  mkdirSync(pathOf(url))
  return {
    url,
    async comeBack() {
      rmdirSync(pathOf(url))
      await migrate(url)
    }
  }
}

/** Sets the time zone of new connections. */
const inZone = (url: string, zone: string) =>
  `ALTER DATABASE "${new URL(url).pathname.slice(1)}" SET TimeZone = '${zone}'`

const SLOW_USERS = `
  CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3); RETURN new; END $$;
  CREATE TRIGGER slow BEFORE UPDATE ON auth_user FOR EACH ROW EXECUTE FUNCTION slow()`

const TERMINATE_OTHERS = `
  SELECT pg_terminate_backend(pid) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid()`

/** SQLite: paths, Django's format of times, durability and file modes. For concurrent access see contention.test.ts. */
import { chmodSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { migrate } from '../../src/database/migrate.ts'
import { type Database, openDatabase } from '../../src/database/open.ts'
import { djangoTime } from '../../src/database/sqlite.ts'
import { type Scope, worldOf } from '../support/build.ts'
import { ask, pathOf, run } from './catalog.ts'
import { newUser } from './users.ts'

const { databaseUrl, emptyDatabaseUrl } = worldOf('sqlite')

async function open(scope: Scope, url: string): Promise<Database> {
  const database = await openDatabase(url)
  scope.teardown(() => database.$disconnect())
  return database
}

const usernames = async (url: string) =>
  (await ask(url, 'SELECT username FROM auth_user ORDER BY username')).map(({ username }) => username)

t.test('special characters in a path are taken literally', async (t) => {
  for (const name of ['a%20b.db', '100%.db', 'a#b.db', 'ü ö.db', ':memory:', 'libsql:x']) {
    const url = `file:${join(t.testdir(), name)}`
    await migrate(url)
    const database = await open(t, url)

    await database.user.create({ data: newUser('alice') })

    t.strictSame(await usernames(url), ['alice'], name)
  }
})

t.test('times are stored in Django’s format: UTC, with six fractional digits or none', async (t) => {
  const cases: [string | Date, string][] = [
    ['2026-11-22T17:08:43.026Z', '2026-11-22 17:08:43.026000'],
    ['2026-11-22T17:08:43.000Z', '2026-11-22 17:08:43'],
    ['2026-11-22T17:08:43.1Z', '2026-11-22 17:08:43.100000'],
    ['2026-11-22T18:08:43+01:00', '2026-11-22 17:08:43'],
    [new Date(0), '1970-01-01 00:00:00']
  ]
  const url = await databaseUrl(t)
  const database = await open(t, url)

  for (const [index, [time, text]] of cases.entries()) {
    t.equal(djangoTime(time), text)
    await database.user.create({ data: { ...newUser(`user${index}`), dateJoined: time } })
  }

  const rows = await ask(url, 'SELECT date_joined, last_login FROM auth_user ORDER BY id')
  t.strictSame(
    rows.map((row) => ({ ...row })),
    cases.map(([, date_joined]) => ({ date_joined, last_login: null }))
  )
})

t.test('times are stored and read as UTC in any time zone of the process', async (t) => {
  // Ambiguous in New York at the end of daylight saving time, and skipped on Lord Howe Island at its start.
  const written = ['2023-11-05 01:30:00', '2023-10-01 02:15:00.123456', '2024-05-17 09:30:00.000999']
  const read = ['2023-11-05T01:30:00.000Z', '2023-10-01T02:15:00.123Z', '2024-05-17T09:30:00.000Z']
  const { TZ } = process.env
  t.teardown(() => (TZ === undefined ? Reflect.deleteProperty(process.env, 'TZ') : Object.assign(process.env, { TZ })))
  for (const [zone, offset] of Object.entries({ 'America/New_York': 240, 'Australia/Lord_Howe': -630, UTC: 0 })) {
    process.env.TZ = zone
    t.equal(new Date(2024, 6, 1).getTimezoneOffset(), offset, zone)
    const url = await databaseUrl(t)
    for (const [index, time] of written.entries()) await run(url, userOfDjango(`user${index}`, time))
    const database = await open(t, url)
    const dateJoined = new Date('2024-07-01T12:00:00.000Z')

    await database.user.create({ data: { ...newUser('zoe'), dateJoined } })

    const users = await database.user.findMany({ orderBy: { id: 'asc' } })
    const joined = users.map(({ dateJoined }) => dateJoined.toISOString())
    t.strictSame(joined, [...read, dateJoined.toISOString()])
    const [zoe] = await ask(url, "SELECT date_joined FROM auth_user WHERE username = 'zoe'")
    t.equal(zoe?.date_joined, '2024-07-01 12:00:00')
  }
})

const userOfDjango = (username: string, joined: string) => `
  INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
  VALUES ('!', FALSE, '${username}', '', '', '', FALSE, TRUE, '${joined}')`

t.test('filters and ordering compare times correctly with and without fractional digits', async (t) => {
  const url = await databaseUrl(t)
  const database = await open(t, url)
  const times = ['2026-01-01 12:00:00', '2026-01-01 12:00:00.000001', '2026-01-01 12:00:00.500000']
  for (const [index, time] of times.entries()) await run(url, userOfDjango(`user${index}`, time))
  const noon = new Date('2026-01-01T12:00:00Z')
  const later = new Date('2026-01-01T12:00:00.500Z')
  const count = (dateJoined: object) => database.user.count({ where: { dateJoined } })

  t.equal(await count({ equals: noon }), 1)
  t.equal(await count({ lte: noon }), 1)
  t.equal(await count({ gt: noon }), 2)
  t.equal(await count({ gte: noon, lt: later }), 2)
  t.equal(await count({ lte: later }), 3)
  t.equal(await count({ in: [noon, later] }), 2)
  t.strictSame(
    (await database.user.findMany({ orderBy: { dateJoined: 'desc' } })).map(({ username }) => username),
    ['user2', 'user1', 'user0']
  )
})

t.test('write-ahead log, synchronous=FULL and foreign keys are on, also after a transaction', async (t) => {
  const database = await open(t, await databaseUrl(t))
  const pragmas = async () => ({
    ...(await database.$queryRaw<object[]>`PRAGMA journal_mode`)[0],
    ...(await database.$queryRaw<object[]>`PRAGMA synchronous`)[0],
    ...(await database.$queryRaw<object[]>`PRAGMA foreign_keys`)[0]
  })
  const FULL = 2

  t.strictSame(await pragmas(), { journal_mode: 'wal', synchronous: FULL, foreign_keys: 1 })
  await database.$transaction([database.user.count(), database.user.create({ data: newUser('alice') })])
  t.strictSame(await pragmas(), { journal_mode: 'wal', synchronous: FULL, foreign_keys: 1 })
})

t.test('new files and folders have modes 600 and 700, and existing ones keep their mode', async (t) => {
  const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8)
  const ours = `file:${t.testdir()}/new/deep/latchkey.db`
  const theirs = await emptyDatabaseUrl(t)
  const umask = process.umask(0)
  t.teardown(() => process.umask(umask))

  await run(theirs, 'CREATE TABLE thing (id INTEGER)')
  chmodSync(pathOf(theirs), 0o640)
  chmodSync(dirname(pathOf(theirs)), 0o750)
  for (const url of [ours, theirs]) {
    await migrate(url)
    await (await open(t, url)).user.create({ data: newUser('alice') })
  }

  for (const suffix of ['', '-wal', '-shm']) t.equal(modeOf(pathOf(ours) + suffix), '600', `file${suffix}`)
  t.equal(modeOf(dirname(pathOf(ours))), '700')
  t.equal(modeOf(dirname(dirname(pathOf(ours)))), '700')
  t.equal(modeOf(pathOf(theirs)), '640')
  t.equal(modeOf(dirname(pathOf(theirs))), '750')
})

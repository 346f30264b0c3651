/** SQLite with concurrent writes of other processes, killed processes and a full disk. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { type Database, openDatabase } from '../../src/database/open.ts'
import { type Scope, worldOf } from '../support/build.ts'
import { addUser, obtainPair, refreshWith } from '../support/journeys.ts'
import { ask, run } from './catalog.ts'
import { startChild } from './children.ts'
import { newUser } from './users.ts'

const { buildWithBlacklist, databaseUrl } = worldOf('sqlite')

async function open(scope: Scope, url: string): Promise<Database> {
  const database = await openDatabase(url)
  scope.teardown(() => database.$disconnect())
  return database
}

/** Makes another process take the write lock. @returns releases it */
async function lockedByAnother(t: Test, url: string): Promise<() => void> {
  const child = await startChild(t, 'hold', url)
  const held = child.hear()
  child.tell()
  t.equal(await held, 'held')
  return child.tell
}

/** The ways of writing, each of which creates a user with its own name. */
const WRITES: Record<string, (database: Database) => Promise<unknown>> = {
  batch: (database) => database.$transaction([database.user.count(), database.user.create({ data: newUser('batch') })]),
  interactive: (database) =>
    database.$transaction((transaction) => transaction.user.create({ data: newUser('interactive') })),
  many: (database) => database.user.createMany({ data: [newUser('many')] }),
  raw: (database) => database.$executeRawUnsafe(`${RAW_USER} '2026-01-01 00:00:00')`),
  statement: (database) => database.user.create({ data: newUser('statement') })
}
const RAW_USER = `
  INSERT INTO auth_user (password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
  VALUES ('!', FALSE, 'raw', '', '', '', FALSE, TRUE,`

/** Writes in all ways at once. @returns `done` or the error for each */
const writeAll = (database: Database) =>
  Promise.all(
    Object.values(WRITES).map((write) =>
      write(database).then(
        () => 'done',
        (error: Error) => error
      )
    )
  )

const usernames = async (url: string) =>
  (await ask(url, 'SELECT username FROM auth_user ORDER BY username')).map(({ username }) => String(username))

// The tests spend most of their time waiting.
t.jobs = 4

t.test('writes wait for the write lock of another process without blocking the event loop', async (t) => {
  const url = await databaseUrl(t)
  const database = await open(t, url)
  await database.$transaction([database.user.count(), database.group.create({ data: { name: 'before' } })])
  const letGo = await lockedByAnother(t, url)
  let ticks = 0
  const clock = setInterval(() => ticks++, 5)
  t.teardown(() => clearInterval(clock))

  const begun = performance.now()
  const written = writeAll(database)
  await sleep(1000)
  t.ok(ticks > 20, `${ticks} turns of the event loop during the wait`)
  await sleep(1200)
  letGo()

  t.strictSame(await written, ['done', 'done', 'done', 'done', 'done'])
  t.ok(performance.now() - begun > 2000)
  t.strictSame(await usernames(url), Object.keys(WRITES), 'all rows are visible to other processes')
  const again = await lockedByAnother(t, url)
  again()
})

t.test('writes that wait longer than five seconds fail with DatabaseUnavailable and write nothing', async (t) => {
  const url = await databaseUrl(t)
  const database = await open(t, url)
  const letGo = await lockedByAnother(t, url)

  const begun = performance.now()
  const refused = await writeAll(database)
  const waited = performance.now() - begun

  for (const error of refused) t.type(error, DatabaseUnavailable)
  t.ok(waited > 4500 && waited < 10_000, `all failed after ${Math.round(waited)} ms`)
  t.equal(await database.user.count(), 0, 'reading needs no lock')
  letGo()
  t.strictSame(await writeAll(database), ['done', 'done', 'done', 'done', 'done'])
  t.strictSame(await usernames(url), Object.keys(WRITES))
})

t.test('acknowledged writes of several concurrent processes survive kill -9', async (t) => {
  const url = await databaseUrl(t)
  const children = await Promise.all([1, 2, 3].map(() => startChild(t, 'write', url)))
  const letGo = await lockedByAnother(t, url)
  const database = await open(t, url)

  for (const child of children) child.tell()
  const ours = database.user.create({ data: newUser('ours') })
  await sleep(200)
  letGo()
  for (const child of children) {
    await child.hear()
    await sleep(Math.random() * 500)
    await child.kill()
  }
  await ours

  const there = new Set(await usernames(url))
  const said = ['ours', ...children.flatMap(({ heard }) => heard.map(String))]
  t.strictSame(
    said.filter((name) => !there.has(name)),
    []
  )
  t.ok(there.size <= said.length + children.length, 'at most one unacknowledged write per process')
  t.strictSame(await ask(url, 'PRAGMA integrity_check'), [{ integrity_check: 'ok' }])
  await database.user.create({ data: newUser('after') })
})

t.test('a second connection in the same process does not release the locks of the first', async (t) => {
  const url = await databaseUrl(t)
  const one = await open(t, url)
  await one.user.create({ data: newUser('one') })
  const other = await open(t, url)
  await other.user.create({ data: newUser('other') })

  // The child closes its connection, and would delete the write-ahead log if it saw no locks of other connections.
  const child = await startChild(t, 'hold', url)
  const held = child.hear()
  child.tell()
  await held
  child.tell()
  await child.ended
  await one.user.create({ data: newUser('one more') })

  const reader = await startChild(t, 'count', url)
  const found = reader.hear()
  reader.tell()
  t.equal(await found, 3, 'another process reads all rows')
})

t.test('of 64 concurrent rotations, all succeed for different tokens, and one for the same token', async (t) => {
  const app = await buildWithBlacklist(t)
  const users = await Promise.all(Array.from({ length: 64 }, (_, index) => addUser(app, { username: `user${index}` })))
  const pairs = await Promise.all(users.map((user) => obtainPair(app, user)))
  const rotated = async (tokens: string[]) =>
    (await Promise.all(tokens.map((token) => refreshWith(app, token)))).map(({ statusCode }) => statusCode)
  const [first = { refresh: '' }] = await Promise.all([obtainPair(app, users[0])])

  const different = await rotated(pairs.map(({ refresh }) => refresh))
  const same = await rotated(Array.from({ length: 64 }, () => first.refresh))

  t.strictSame(new Set(different), new Set([200]))
  t.strictSame(
    same.toSorted(),
    Array.from({ length: 64 }, (_, index) => (index === 0 ? 200 : 401))
  )
})

t.test('a full disk raises DatabaseUnavailable, and writes succeed again when there is space', async (t) => {
  const url = await databaseUrl(t)
  const database = await open(t, url)
  const limit = (pages: number) => database.$queryRawUnsafe(`PRAGMA max_page_count = ${pages}`)
  const fill = () => database.group.createMany({ data: [{ name: 'x'.repeat(200_000) }] })
  await limit(1)

  await t.rejects(fill(), DatabaseUnavailable)
  await t.rejects(database.$transaction([database.user.count(), fill() as never]), DatabaseUnavailable)
  t.equal(await database.group.count(), 0)

  await limit(10_000)
  await fill()
  t.equal(await database.group.count(), 1)
  await run(url, "INSERT INTO auth_group (name) VALUES ('nobody is locked out')")
})

t.test('a failed commit raises its cause and leaves no lock', async (t) => {
  const url = await databaseUrl(t)
  const database = await open(t, url)
  const ended = database.$transaction(async (transaction) => {
    await transaction.$executeRawUnsafe('ROLLBACK')
  })

  await t.rejects(ended, { cause: { kind: 'sqlite', message: 'cannot commit - no transaction is active' } })
  await run(url, "INSERT INTO auth_group (name) VALUES ('nobody is locked out')")
  t.equal(await database.group.count(), 1)
})

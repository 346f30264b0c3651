/** The connection to SQLite that replaces the driver's own client, which loses writes and leaks connections. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import Sqlite from 'libsql'
import t, { type Test } from 'tap'
import { Connection } from '../../src/database/libsql.ts'

interface World {
  ours: Connection
  /** Another connection to the same file, without a busy timeout. */
  theirs: InstanceType<typeof Sqlite>
}

const INSERT = 'INSERT INTO thing (name) VALUES (?)'

function worldFor(t: Test): World {
  const path = join(t.testdir(), 'things.db')
  const theirs = new Sqlite(path)
  theirs.exec(`
    PRAGMA journal_mode = WAL;
    CREATE TABLE thing (
      id INTEGER PRIMARY KEY, name TEXT UNIQUE, parent INTEGER REFERENCES thing (id) DEFERRABLE INITIALLY DEFERRED
    )`)
  const ours = new Connection(path)
  t.teardown(() => {
    ours.close()
    theirs.close()
  })
  return { ours, theirs }
}

const insert = (name: string) => ({ sql: INSERT, args: [name] })
const namesIn = ({ theirs }: World) =>
  (theirs.prepare('SELECT name FROM thing ORDER BY id').all() as { name: string }[]).map(({ name }) => name)

/** Throws if another connection holds the write lock. */
const lockAndLetGo = ({ theirs }: World) => theirs.exec('BEGIN IMMEDIATE; ROLLBACK')

t.test('results have the rows, columns and declared types that the adapter expects', async (t) => {
  const { ours } = worldFor(t)

  const written = await ours.execute({ sql: `${INSERT}, (?)`, args: ['a', 'b'] })
  const returned = await ours.execute({ sql: `${INSERT} RETURNING id, name`, args: ['c'] })
  const read = await ours.execute({ sql: 'SELECT id, name, ?, id > 1 FROM thing', args: [true] })

  t.match(written, { columns: [], rows: [], rowsAffected: 2 })
  t.match(returned, { columns: ['id', 'name'], columnTypes: ['INTEGER', 'TEXT'], rows: [[3, 'c']] })
  t.strictSame(read.columnTypes, ['INTEGER', 'TEXT', '', ''])
  t.strictSame(
    read.rows.map((row) => [...row]),
    [
      [1, 'a', 1, 0],
      [2, 'b', 1, 1],
      [3, 'c', 1, 1]
    ]
  )
})

const WRITES: Record<string, (ours: Connection) => Promise<unknown>> = {
  'a statement': (ours) => ours.execute(insert('waited')),
  'a statement that returns': (ours) => ours.execute({ sql: `${INSERT} RETURNING id`, args: ['waited'] }),
  'a transaction': async (ours) => {
    const transaction = await ours.transaction()
    await transaction.execute(insert('waited'))
    await transaction.commit()
  },
  'a transaction in SQL': async (ours) => {
    await ours.execute({ sql: 'BEGIN IMMEDIATE', args: [] })
    await ours.execute(insert('waited'))
    await ours.execute({ sql: 'COMMIT', args: [] })
  }
}

for (const [name, write] of Object.entries(WRITES)) {
  t.test(`${name} that fails with SQLITE_BUSY writes nothing, and a later attempt is committed`, async (t) => {
    const world = worldFor(t)
    world.theirs.exec('BEGIN IMMEDIATE')

    for (let tries = 0; tries < 3; tries++) await t.rejects(write(world.ours), { code: 'SQLITE_BUSY', rawCode: 5 })
    world.theirs.exec('COMMIT')
    t.strictSame(namesIn(world), [])
    await write(world.ours)

    t.strictSame(namesIn(world), ['waited'], 'visible to other connections')
    t.doesNotThrow(() => lockAndLetGo(world), 'the lock is released')
  })
}

t.test('failed statements and commits write nothing and release the lock', async (t) => {
  const world = worldFor(t)
  const { ours } = world
  const orphan = { sql: 'INSERT INTO thing (name, parent) VALUES (?, 99)', args: ['orphan'] }
  await ours.execute(insert('a'))

  await t.rejects(ours.execute(insert('a')), { code: 'SQLITE_CONSTRAINT_UNIQUE' })
  await t.rejects(ours.execute({ sql: 'INSERT INTO nowhere VALUES (1)', args: [] }), /no such table/)
  await t.rejects(ours.execute(orphan), { code: 'SQLITE_CONSTRAINT_FOREIGNKEY' })
  const transaction = await ours.transaction()
  await transaction.execute(orphan)
  await t.rejects(transaction.commit(), { code: 'SQLITE_CONSTRAINT_FOREIGNKEY' })

  t.doesNotThrow(() => lockAndLetGo(world))
  t.strictSame(namesIn(world), ['a'])
  await ours.execute(insert('b'))
  t.strictSame(namesIn(world), ['a', 'b'])
})

t.test('a full disk rolls a transaction back, and writes succeed again when there is space', async (t) => {
  const world = worldFor(t)
  const { ours } = world
  const large = { sql: 'INSERT INTO thing (name) VALUES (hex(zeroblob(40000)))', args: [] }
  await ours.execute({ sql: 'PRAGMA max_page_count = 8', args: [] })

  const transaction = await ours.transaction()
  await transaction.execute(insert('a'))
  await t.rejects(transaction.execute(large), { code: 'SQLITE_FULL' })
  await transaction.rollback()
  await t.rejects(ours.execute(large), { code: 'SQLITE_FULL' })

  t.doesNotThrow(() => lockAndLetGo(world))
  t.strictSame(namesIn(world), [])
  await ours.execute({ sql: 'PRAGMA max_page_count = 1000', args: [] })
  await ours.execute(large)
  t.equal(namesIn(world).length, 1)
})

t.test('statements after the end of a transaction are rejected (P2028) and not written', async (t) => {
  const world = worldFor(t)

  for (const end of ['commit', 'rollback'] as const) {
    const transaction = await world.ours.transaction()
    await transaction.execute(insert(end))
    await transaction[end]()

    const late = { code: 'P2028' }
    await t.rejects(transaction.execute(insert('late')), late)
    await t.rejects(transaction.commit(), late)
    await t.rejects(transaction.rollback(), late)
  }

  t.strictSame(namesIn(world), ['commit'])
})

t.test('executeMultiple runs all statements of a script', async (t) => {
  const world = worldFor(t)

  await world.ours.executeMultiple("INSERT INTO thing (name) VALUES ('a'); INSERT INTO thing (name) VALUES ('b')")

  t.strictSame(namesIn(world), ['a', 'b'])
})

t.test('a thousand transactions leave no file open', { skip: !existsSync('/proc/self/fd') }, async (t) => {
  const { ours } = worldFor(t)
  const openFiles = () => readdirSync('/proc/self/fd').length
  const before = openFiles()

  for (let count = 0; count < 1000; count++) {
    const transaction = await ours.transaction()
    await transaction.execute({ sql: 'SELECT 1', args: [] })
    await (count % 2 === 0 ? transaction.commit() : transaction.rollback())
  }

  t.ok(openFiles() <= before + 5, `${openFiles()} open files after, ${before} before`)
})

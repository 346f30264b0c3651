/** Migrations: the tables are exactly Django's, also when migrations run repeatedly, concurrently or interrupted. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { migrate, pendingMigrations } from '../../src/database/migrate.ts'
import { openDatabase } from '../../src/database/open.ts'
import { onEachDatabase } from '../support/build.ts'
import { ask, catalogOf, contentOf, run, tablesOf, withoutOurIndex, withoutOurs } from './catalog.ts'
import { startChild } from './children.ts'
import { ALL, APPLIED, facts } from './migrations.ts'
import { newUser } from './users.ts'

async function djangoMigrations(url: string): Promise<string[]> {
  const rows = await ask(url, 'SELECT app, name FROM django_migrations ORDER BY id')
  return rows.map(({ app, name }) => `${app}.${name}`)
}

/** Asserts Django's tables as Django creates them, its migrations as applied, and all of Latchkey's as finished. */
async function isWhole(t: Test, url: string, provider: 'sqlite' | 'postgresql'): Promise<void> {
  t.strictSame(withoutOurIndex(withoutOurs(await catalogOf(url))), facts[provider])
  t.strictSame(await djangoMigrations(url), facts.migrations)
  const ours = await ask(url, `SELECT migration_name, finished_at, rolled_back_at FROM ${APPLIED} ORDER BY 1`)
  t.strictSame(
    ours.map(({ migration_name }) => migration_name),
    ALL
  )
  t.ok(ours.every(({ finished_at, rolled_back_at }) => finished_at !== null && rolled_back_at === null))
  t.strictSame(await pendingMigrations(url), [])
}

// Starts about thirty processes, which is slow on a busy machine.
t.setTimeout(100_000)

const startAll = (t: Test, urls: string[]) => Promise.all(urls.map((url) => startChild(t, 'migrate', url)))

onEachDatabase(t, (t, { provider, emptyDatabaseUrl }) => {
  t.test('an empty database gets exactly the tables of Django, and a second migrate changes nothing', async (t) => {
    const url = await emptyDatabaseUrl(t)

    t.strictSame(await pendingMigrations(url), ALL)
    t.strictSame(await tablesOf(url), [], 'pendingMigrations is read-only')
    t.strictSame(await migrate(url), ALL)

    await isWhole(t, url, provider)
    const before = await contentOf(url)
    t.strictSame(await migrate(url), [])
    t.strictSame(await contentOf(url), before)
  })

  t.test('django_migrations has the current time in Django’s format', async (t) => {
    const url = await emptyDatabaseUrl(t)
    const format = provider === 'sqlite' ? /^[\d-]{10} [\d:]{8}\.\d{6}$/ : /^[\d-]{10} [\d:]{8}(\.\d{1,6})?\+00$/
    const begun = Date.now()

    await migrate(url)

    for (const { applied } of await ask(url, 'SELECT applied FROM django_migrations')) {
      t.match(applied, format)
      const time = Date.parse(
        String(applied)
          .replace(' ', 'T')
          .replace(/(\+00)?$/, 'Z')
      )
      t.ok(Math.abs(time - begun) < 60_000)
    }
  })

  t.test('rows can be created after migrate, with ids from 1', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await migrate(url)
    const database = await openDatabase(url)
    t.teardown(() => database.$disconnect())

    const { id } = await database.user.create({ data: newUser('alice') })
    const group = await database.group.create({ data: { name: 'editors' } })
    const membership = await database.userGroup.create({ data: { userId: id, groupId: group.id } })

    t.strictSame([id, group.id, membership.id], [1, 1, 1n])
  })

  t.test('a database of an older version gets the pending migrations', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await migrate(url)
    const tables = (await tablesOf(url)).filter((table) =>
      /^(token_blacklist|authtoken|latchkey|django_session)/.test(table)
    )
    // In reverse order of the foreign keys.
    for (const table of tables) await run(url, `DROP TABLE ${table}`)
    await run(url, "DELETE FROM django_migrations WHERE app IN ('authtoken', 'token_blacklist', 'sessions')")
    await run(url, `DELETE FROM ${APPLIED} WHERE migration_name > '0002'`)
    const lacking = ALL.slice(1)

    t.strictSame(await pendingMigrations(url), lacking)
    t.strictSame(await migrate(url), lacking)

    await isWhole(t, url, provider)
  })

  t.test('of six processes that migrate a database concurrently all succeed, and one does the work', async (t) => {
    const url = await emptyDatabaseUrl(t)
    const children = await startAll(
      t,
      Array.from({ length: 6 }, () => url)
    )

    const heard = children.map((child) => child.hear())
    for (const child of children) child.tell()
    const results = await Promise.all(heard)

    t.strictSame(
      results.toSorted((one, other) => String(other).length - String(one).length),
      [ALL, [], [], [], [], []]
    )
    await isWhole(t, url, provider)
  })

  t.test('after kill -9 at any time the next migrate completes the database', async (t) => {
    const KILLS = 6
    const urls = await Promise.all(Array.from({ length: KILLS + 1 }, () => emptyDatabaseUrl(t)))
    const [first, ...children] = await startAll(t, urls)
    const [undisturbed = '', ...others] = urls
    const begun = performance.now()
    const heard = first?.hear()
    first?.tell()
    t.strictSame(await heard, ALL)
    const duration = performance.now() - begun
    await isWhole(t, undisturbed, provider)

    for (const [index, url] of others.entries()) {
      const child = children[index]
      child?.tell()
      // Some kills come after the end of the migration.
      await sleep(((index + Math.random()) / KILLS) * 1.3 * duration)
      await child?.kill()

      // PostgreSQL may still be executing the COMMIT of the killed process.
      const applied = await migrate(url)
      t.ok([0, ALL.length].includes(applied.length), `killed ${applied.length === 0 ? 'after' : 'before'} the commit`)
      await isWhole(t, url, provider)
    }
  })

  t.test('tables of other applications are not changed', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await run(url, "CREATE TABLE article (id integer PRIMARY KEY, title text); INSERT INTO article VALUES (1, 'One')")
    const before = await catalogOf(url)

    t.strictSame(await migrate(url), ALL)

    t.strictSame(withoutOurIndex(withoutOurs(await catalogOf(url))), { ...facts[provider], ...before })
    t.strictSame((await contentOf(url)).article, [{ id: provider === 'sqlite' ? 1 : '1', title: 'One' }])
  })
})

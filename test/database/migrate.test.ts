/** Migrations: Django's tables to the letter, whoever starts them, how often, and however they are interrupted. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { migrate, pendingMigrations } from '../../src/database/migrate.ts'
import { openDatabase } from '../../src/database/open.ts'
import { onEachDatabase } from '../support/build.ts'
import { ask, catalogOf, contentOf, run, tablesOf, withoutOurs } from './catalog.ts'
import { startChild } from './children.ts'
import { ALL, APPLIED, facts } from './migrations.ts'
import { newUser } from './users.ts'

async function djangoMigrations(url: string): Promise<string[]> {
  const rows = await ask(url, 'SELECT app, name FROM django_migrations ORDER BY id')
  return rows.map(({ app, name }) => `${app}.${name}`)
}

/** Django's tables as Django makes them, its migrations as applied, ours finished, and all of it once. */
async function isWhole(t: Test, url: string, provider: 'sqlite' | 'postgresql'): Promise<void> {
  t.strictSame(withoutOurs(await catalogOf(url)), facts[provider])
  t.strictSame(await djangoMigrations(url), facts.migrations)
  const ours = await ask(url, `SELECT migration_name, finished_at, rolled_back_at FROM ${APPLIED} ORDER BY 1`)
  t.strictSame(
    ours.map(({ migration_name }) => migration_name),
    ALL
  )
  t.ok(ours.every(({ finished_at, rolled_back_at }) => finished_at !== null && rolled_back_at === null))
  t.strictSame(await pendingMigrations(url), [])
}

// Three dozen processes are started, which is quick only where nobody else works.
t.setTimeout(100_000)

const startAll = (t: Test, urls: string[]) => Promise.all(urls.map((url) => startChild(t, 'migrate', url)))

onEachDatabase(t, (t, { provider, emptyDatabaseUrl }) => {
  t.test('out of nothing come Django’s tables to the letter, and a second time nothing happens', async (t) => {
    const url = await emptyDatabaseUrl(t)

    t.strictSame(await pendingMigrations(url), ALL)
    t.strictSame(await tablesOf(url), [], 'asking changes nothing')
    t.strictSame(await migrate(url), ALL)

    await isWhole(t, url, provider)
    const before = await contentOf(url)
    t.strictSame(await migrate(url), [])
    t.strictSame(await contentOf(url), before)
  })

  t.test('django_migrations says when, in Django’s format', async (t) => {
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

  t.test('the tables are ready to use, and ids count from one', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await migrate(url)
    const database = await openDatabase(url)
    t.teardown(() => database.$disconnect())

    const { id } = await database.user.create({ data: newUser('alice') })
    const group = await database.group.create({ data: { name: 'editors' } })
    const membership = await database.userGroup.create({ data: { userId: id, groupId: group.id } })

    t.strictSame([id, group.id, membership.id], [1, 1, 1n])
  })

  t.test('a database of an older version gets what it lacks, and again so when another version comes', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await migrate(url)
    const tables = (await tablesOf(url)).filter((table) =>
      /^(token_blacklist|authtoken|latchkey|django_session)/.test(table)
    )
    // Whichever refers to another one comes first.
    for (const table of tables) await run(url, `DROP TABLE ${table}`)
    await run(url, "DELETE FROM django_migrations WHERE app IN ('authtoken', 'token_blacklist', 'sessions')")
    await run(url, `DELETE FROM ${APPLIED} WHERE migration_name > '0002'`)
    const lacking = ALL.slice(1)

    t.strictSame(await pendingMigrations(url), lacking)
    t.strictSame(await migrate(url), lacking)

    await isWhole(t, url, provider)
  })

  t.test('of six processes that migrate one empty database at once, all succeed and one does it', async (t) => {
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

  t.test('after a kill -9 at any moment, the next migrate makes it whole', async (t) => {
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
      // Some of them when all is done.
      await sleep(((index + Math.random()) / KILLS) * 1.3 * duration)
      await child?.kill()

      // PostgreSQL may still be at the commit that it had been told to do.
      const applied = await migrate(url)
      t.ok(
        [0, ALL.length].includes(applied.length),
        `the kill came ${applied.length === 0 ? 'after' : 'before'} the commit`
      )
      await isWhole(t, url, provider)
    }
  })

  t.test('what is there of somebody else’s stays as it is', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await run(url, "CREATE TABLE article (id integer PRIMARY KEY, title text); INSERT INTO article VALUES (1, 'One')")
    const before = await catalogOf(url)

    t.strictSame(await migrate(url), ALL)

    t.strictSame(withoutOurs(await catalogOf(url)), { ...facts[provider], ...before })
    t.strictSame((await contentOf(url)).article, [{ id: provider === 'sqlite' ? 1 : '1', title: 'One' }])
  })
})

/** Migration of existing databases: of Django, of other projects, and of a newer version. */
import t, { type Test } from 'tap'
import { migrate, pendingMigrations } from '../../src/database/migrate.ts'
import { ImproperlyConfigured } from '../../src/errors.ts'
import { onEachDatabase } from '../support/build.ts'
import { obtainPair, refreshWith } from '../support/journeys.ts'
import { mint } from '../support/tokens.ts'
import { ask, catalogOf, contentOf, run, tablesOf, withoutOurs } from './catalog.ts'
import { APPS, type App, MARIA, MARIAS_JTI, makeDjango } from './django.ts'
import { ALL, APPLIED, facts } from './migrations.ts'

const refusal = (databaseUrl: string) =>
  migrate(databaseUrl).then(
    () => undefined,
    (error: Error) => error
  )

function isOneLine(t: Test, error: unknown, line: RegExp): void {
  t.type(error, ImproperlyConfigured)
  const { faults = [] } = error as ImproperlyConfigured
  t.equal(faults.length, 1)
  t.match(faults[0], line)
  t.notMatch(faults[0], /\n|s3cr3t/)
}

t.setTimeout(100_000)

onEachDatabase(t, (t, { provider, build, databaseUrl, emptyDatabaseUrl }) => {
  const isServer = provider === 'postgresql'

  for (const ids of isServer ? (['bigint', 'integer'] as const) : (['bigint'] as const)) {
    t.test(`a Django database with ${ids} ids is adopted without changes to Django's tables and rows`, async (t) => {
      const url = await emptyDatabaseUrl(t)
      await makeDjango(url, { ids })
      const [tables, rows] = [await catalogOf(url), await contentOf(url)]
      if (ids === 'bigint') t.match(tables, facts[provider], 'the fixture has the tables of Django')

      t.strictSame(await migrate(url), ALL)

      t.strictSame(withoutOurs(await catalogOf(url)), tables)
      t.strictSame(withoutOurs(await contentOf(url)), rows)
      t.strictSame(await migrate(url), [])
    })

    t.test(`users of a Django database with ${ids} ids log in, with groups, permissions and tokens`, async (t) => {
      const url = await emptyDatabaseUrl(t)
      await makeDjango(url, { ids })
      const app = await build(t, { databaseUrl: url })
      const { users, permissions, database } = app.auth
      const refreshOf = (jti: string) => mint({ claims: { jti, user_id: '1' } })

      const { refresh } = await obtainPair(app, MARIA)
      const maria = await users.get('username', MARIA.username)
      const [live, dead, ours] = [
        await refreshWith(app, refreshOf(MARIAS_JTI.live)),
        await refreshWith(app, refreshOf(MARIAS_JTI.blacklisted)),
        await refreshWith(app, refresh)
      ]

      t.match(maria, { id: 1, firstName: 'María', lastName: 'Ünal', isStaff: true, isActive: true })
      t.strictSame(maria?.lastLogin, new Date('2024-05-17T09:30:00.123Z'))
      t.strictSame(maria?.dateJoined, new Date('2023-11-05T01:30:00.000Z'))
      t.strictSame([live.statusCode, dead.statusCode, ours.statusCode], [200, 401, 200])
      t.match(dead.json(), { detail: 'Token is blacklisted', code: 'token_not_valid' })
      if (maria === null) throw new Error('maria not found')
      t.ok(await permissions.hasPerm(maria, 'auth.add_user'), 'granted to the user')
      t.ok(await permissions.hasPerm(maria, 'auth.change_user'), 'granted to the group')
      t.notOk(await permissions.hasPerm(maria, 'auth.delete_user'))

      const { id } = await users.createUser({ username: 'nina', password: 'another-Pass-1' })
      const membership = await database.userGroup.create({ data: { userId: id, groupId: 1 } })
      t.strictSame([id, membership.id], [2, 2n], 'ids continue after those of Django')
      await users.deleteUser(id)
    })
  }

  for (const apps of [['auth'], ['auth', 'authtoken'], ['auth', 'token_blacklist']] as App[][]) {
    t.test(`a Django database with ${apps.join(' and ')} gets only the missing tables and rows`, async (t) => {
      const url = await emptyDatabaseUrl(t)
      await makeDjango(url, { apps })
      const [tables, rows] = [await catalogOf(url), await contentOf(url)]

      t.strictSame(await migrate(url), ALL)

      t.strictSame(withoutOurs(await catalogOf(url)), { ...facts[provider], ...tables })
      const { django_migrations, ...content } = withoutOurs(await contentOf(url))
      t.match(content, { ...rows, django_migrations: undefined })
      t.strictSame(django_migrations?.slice(0, rows.django_migrations?.length), rows.django_migrations)
      const added = django_migrations?.slice(rows.django_migrations?.length) ?? []
      const lacking = APPS.filter((app) => !apps.includes(app))
      t.strictSame(
        added.map(({ app, name }) => `${app}.${name}`),
        facts.migrations.filter((name) => lacking.some((app) => name.startsWith(`${app}.`)))
      )
      const app = await build(t, { databaseUrl: url })
      t.equal((await refreshWith(app, (await obtainPair(app, MARIA)).refresh)).statusCode, 200)
    })
  }

  t.test('Prisma migrations of another project in the same database are not changed', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await run(url, theirMigrations(isServer, ['20240101_init', '20240102_init_more', '20240103_taken_back']))
    const theirs = async () => {
      const rows = await ask(url, `SELECT * FROM ${APPLIED} WHERE migration_name NOT LIKE '%latchkey%' ORDER BY id`)
      return { rows, catalog: (await catalogOf(url))[APPLIED], articles: (await contentOf(url)).article }
    }
    const before = await theirs()

    t.strictSame(await pendingMigrations(url), ALL)
    t.strictSame(await migrate(url), ALL)

    t.strictSame(await theirs(), before)
    t.strictSame(await migrate(url), [])
    t.match(await catalogOf(url), facts[provider])
  })

  t.test('a failed migration of another project is reported, and nothing is written', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await run(url, theirMigrations(isServer, ['20240101_init', '20240102_failed']))
    const before = await contentOf(url)

    isOneLine(t, await refusal(url), /^database: migrate found failed migrations .*`20240102_failed`/)

    t.strictSame(await contentOf(url), before)
  })

  t.test('a database of a newer version is rejected, and nothing is written', async (t) => {
    const future = `
      INSERT INTO ${APPLIED} (id, checksum, migration_name, finished_at)
      VALUES ('f', 'f', '0099_latchkey_future', CURRENT_TIMESTAMP)`
    const url = await databaseUrl(t)
    await run(url, `DELETE FROM ${APPLIED} WHERE migration_name = '${ALL.at(-1)}'; ${future}`)
    const [tables, rows] = [await catalogOf(url), await contentOf(url)]

    isOneLine(t, await refusal(url), /^database: a newer version of Latchkey has migrated it; upgrade Latchkey$/)
    await t.rejects(pendingMigrations(url), ImproperlyConfigured)
    await t.rejects(build(t, { databaseUrl: url }), ImproperlyConfigured)

    t.strictSame(await catalogOf(url), tables)
    t.strictSame(await contentOf(url), rows)
  })

  t.test('a foreign table with the name of a Django table is reported, and nothing is written', async (t) => {
    const url = await emptyDatabaseUrl(t)
    await run(url, 'CREATE TABLE auth_group (whatever integer)')

    isOneLine(t, await refusal(url), /^database: (table|relation) "auth_group" already exists$/)
    t.strictSame(await tablesOf(url), ['auth_group'])
    await run(url, 'DROP TABLE auth_group')
    t.strictSame(await migrate(url), ALL)
  })
})

/** Creates Prisma's table of migrations, with both formats of times that its engines and adapters write to SQLite. */
function theirMigrations(isServer: boolean, names: string[]): string {
  const type = isServer ? 'TIMESTAMPTZ' : 'DATETIME'
  const times = isServer ? ["'2024-01-01 00:00:00+00'"] : ['1704067200000', "'2024-01-01T00:00:00.000+00:00'"]
  const rows = names.map((name, index) => {
    const time = times[index % times.length]
    const [finished, takenBack] = [name.includes('init') ? time : 'NULL', name.includes('taken_back') ? time : 'NULL']
    return `('${index}', 'c', '${name}', ${finished}, ${takenBack}, ${time})`
  })
  return `
    CREATE TABLE article (id integer PRIMARY KEY, title text);
    INSERT INTO article VALUES (1, 'One');
    CREATE TABLE ${APPLIED} (
      id TEXT PRIMARY KEY NOT NULL, checksum TEXT NOT NULL, finished_at ${type}, migration_name TEXT NOT NULL,
      logs TEXT, rolled_back_at ${type}, started_at ${type} NOT NULL DEFAULT CURRENT_TIMESTAMP,
      applied_steps_count INTEGER NOT NULL DEFAULT 0
    );
    INSERT INTO ${APPLIED} (id, checksum, migration_name, finished_at, rolled_back_at, started_at) VALUES ${rows}`
}

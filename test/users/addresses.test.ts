/** Users are found by email address without reading all of them. */
import t from 'tap'
import { openDatabase } from '../../src/database/open.ts'
import { onEachDatabase } from '../support/build.ts'

onEachDatabase(t, (t, { provider, databaseUrl }) => {
  t.test('the lookup of an email address in any case uses an index', async (t) => {
    const database = await openDatabase(await databaseUrl(t))
    t.teardown(() => database.$disconnect())
    const query = 'SELECT id FROM auth_user WHERE LOWER(email) = LOWER($1) ORDER BY id LIMIT 50'
    const plan =
      provider === 'sqlite'
        ? await database.$queryRawUnsafe(`EXPLAIN QUERY PLAN ${query}`, 'a@example.com')
        : (
            await database.$transaction([
              // Otherwise a small table is read whole.
              database.$executeRawUnsafe('SET LOCAL enable_seqscan = off'),
              database.$queryRawUnsafe(`EXPLAIN ${query.replace('$1', "'a@example.com'")}`)
            ])
          )[1]
    t.match(
      JSON.stringify(plan, (_key, value) => (typeof value === 'bigint' ? Number(value) : value)),
      'latchkey_user_email_lower'
    )
  })
})

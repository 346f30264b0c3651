/** Sequences of primary keys that are behind their tables, as after an import with ids. PostgreSQL only: SQLite has none. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { openDatabase } from '../../src/database/open.ts'
import { accountRoutes } from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'
import { bodyOf, refusalOf } from '../tokens/rows.ts'
import { newUser } from './users.ts'

const moveBack = ({ auth }: FastifyInstance, table: string) =>
  auth.database.$queryRawUnsafe(`SELECT setval(pg_get_serial_sequence('${table}', 'id'), 1, false)`)

onEachDatabase(t, (t, { provider, build, buildWithBlacklist }) => {
  if (provider === 'sqlite') return t.plan(0, 'SQLite has no sequences')

  t.test('a new user gets the next free id, and the repair is logged once', async (t) => {
    const app = await build(t, {}, (app) => app.register(accountRoutes, { prefix: '/auth' }))
    const warnings = t.capture(app.log, 'warn')
    for (let n = 0; n < 30; n++) await addUser(app, { username: `user${n}` })
    await moveBack(app, 'auth_user')
    for (const username of ['new', 'newer']) {
      const payload = { username, password: PASSWORD }
      const answer = await app.inject({ method: 'POST', url: '/auth/users/', payload })
      t.match([answer.statusCode, answer.json()], [201, { username }])
    }
    t.strictSame(
      warnings().map(({ args }) => args),
      [['the sequence of auth_user.id is behind its table; it was moved']]
    )
    const taken = { username: 'new', password: PASSWORD }
    const answer = await app.inject({ method: 'POST', url: '/auth/users/', payload: taken })
    t.strictSame([answer.statusCode, answer.json()], [400, { username: ['A user with that username already exists.'] }])
  })

  t.test('a token is blacklisted and refreshed, also with a successor in the same transaction', async (t) => {
    const app = await buildWithBlacklist(t)
    await addUser(app)
    const pairs = []
    for (let n = 0; n < 4; n++) pairs.push(await obtainPair(app))
    const [first, second, third] = pairs.map(({ refresh }) => refresh) as [string, string, string]
    const blacklist = (refresh: string) =>
      app.inject({ method: 'POST', url: '/api/token/blacklist/', payload: { refresh } })
    t.equal((await blacklist(first)).statusCode, 200)

    await moveBack(app, 'token_blacklist_blacklistedtoken')
    t.equal((await blacklist(second)).statusCode, 200)
    t.equal((await refreshWith(app, second)).statusCode, 401)

    for (const table of ['token_blacklist_blacklistedtoken', 'token_blacklist_outstandingtoken'])
      await moveBack(app, table)
    const next = await refreshWith(app, third)
    t.equal(next.statusCode, 200)
    t.equal((await refreshWith(app, next.json().refresh)).statusCode, 200)
    t.equal((await refreshWith(app, third)).statusCode, 401)
  })

  t.test('logouts, groups and permissions work', async (t) => {
    const app = await build(t)
    const { auth } = app
    const { id } = await addUser(app)
    const [one, two] = [await obtainPair(app), await obtainPair(app)]
    const logOut = ({ access }: { access: string }) =>
      app.inject({ method: 'POST', url: '/api/token/logout/', headers: { authorization: `Bearer ${access}` } })
    t.equal((await logOut(one)).statusCode, 204)
    await auth.groups.createGroup('editors')
    const tables = ['latchkey_revocation', 'auth_group', 'auth_permission', 'auth_user_groups', 'django_content_type']
    for (const table of tables) await moveBack(app, table)

    t.equal((await logOut(two)).statusCode, 204)
    const group = await auth.groups.createGroup('writers')
    await auth.users.updateUser(id, { groups: [group.id] })
    t.match(await auth.permissions.syncPermissions([{ appLabel: 'blog', model: 'post' }]), ['blog.add_post'])
    t.strictSame(bodyOf(await refusalOf(auth.groups.createGroup('writers'))), {
      name: ['group with this name already exists.']
    })
  })

  t.test('a role that may not move the sequence takes the next numbers, and finally gets a 503', async (t) => {
    const app = await build(t, {}, (app) => app.register(accountRoutes, { prefix: '/auth' }))
    const { database } = app.auth
    for (let n = 0; n < 9; n++) await addUser(app, { username: `user${n}` })
    await database.$executeRaw`CREATE ROLE limited`
    t.teardown(async () => {
      await database.$executeRaw`DROP OWNED BY limited`
      await database.$executeRaw`DROP ROLE limited`
    })
    await database.$executeRaw`GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO limited`
    await database.$executeRaw`GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO limited`
    const url = new URL(app.auth.settings.databaseUrl)
    url.searchParams.set('options', '-c role=limited')
    const limited = await openDatabase(url.href)
    t.teardown(() => limited.$disconnect())
    const create = (username: string) =>
      limited.user.create({ data: newUser(username) }).then(
        () => 'created',
        (error: Error) => error.constructor.name
      )

    await database.$queryRaw`SELECT setval(pg_get_serial_sequence('auth_user', 'id'), 6)`
    t.equal(await create('three-behind'), 'created')
    await moveBack(app, 'auth_user')
    t.strictSame([await create('ten-behind'), await create('ten-behind')], ['DatabaseUnavailable', 'created'])
  })
})

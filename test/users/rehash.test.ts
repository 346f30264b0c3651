import t from 'tap'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair, refreshWith } from '../support/journeys.ts'

onEachDatabase(t, (t, { buildWithBlacklist: build, build: buildWithSessions, databaseUrl }) => {
  const old = { checkRevokeToken: true, stateless: false, passwordHashers: ['md5' as const] }
  const young = { ...old, passwordHashers: ['scrypt' as const, 'md5' as const] }
  const open = (app: Awaited<ReturnType<typeof build>>, access: string) =>
    app.inject({ url: '/api/protected/', headers: bearer(access) })

  t.test(
    'rehashing an outdated password at login keeps earlier tokens valid, and setting a new password does not (401)',
    async (t) => {
      const url = await databaseUrl(t)
      const before = await build(t, { ...old, databaseUrl: url })
      const { id } = await addUser(before)
      const pair = await obtainPair(before)
      const app = await build(t, { ...young, databaseUrl: url })
      await obtainPair(app)

      const renewed = await open(app, pair.access)
      const refreshed = await refreshWith(app, pair.refresh)
      await app.auth.users.setPassword(id, 'an0ther-Pass!')
      const changed = await open(app, pair.access)

      t.match((await app.auth.users.get('id', id))?.password, /^scrypt\$/)
      t.equal(renewed.statusCode, 200)
      t.equal(refreshed.statusCode, 200)
      t.equal(changed.statusCode, 401)
      t.equal(changed.json().code, 'password_changed')
    }
  )

  t.test('concurrent logins that rehash one password all succeed, and one hash is stored', async (t) => {
    const url = await databaseUrl(t)
    const before = await build(t, { ...old, databaseUrl: url })
    const credentials = await addUser(before)
    const app = await build(t, { ...young, databaseUrl: url })

    const users = await Promise.all(
      Array.from({ length: 4 }, () => app.auth.users.authenticate(credentials.username, credentials.password))
    )

    t.notOk(users.includes(null))
    t.equal(await app.auth.database.renewedPassword.count(), 1)
    t.match((await app.auth.users.get('id', credentials.id))?.password, /^scrypt\$/)
  })

  t.test('with login sessions concurrent logins that rehash one password all get valid sessions', async (t) => {
    const url = await databaseUrl(t)
    const before = await buildWithSessions(t, { ...old, databaseUrl: url })
    const credentials = await addUser(before)
    const app = await buildWithSessions(t, { ...young, databaseUrl: url })
    const pairs = await Promise.all(Array.from({ length: 4 }, () => app.auth.tokens.obtainPair(credentials)))

    for (const { refresh } of pairs) t.match(await app.auth.tokens.refresh(refresh), { refresh: String })
    t.equal((await app.auth.sessions.list(credentials.id)).length, 4)
  })

  t.test('rehash records are deleted once no earlier token can be valid, and with their user', async (t) => {
    const app = await build(t, { refreshTokenLifetime: 60, slidingTokenRefreshLifetime: 60 })
    const { id } = await addUser(app)
    const row = (before: string, age: number) => ({
      ...{ userId: id, before, after: 'x' },
      renewedAt: new Date(Date.now() - 1000 * age)
    })
    await app.auth.database.renewedPassword.createMany({ data: [row('a', 61), row('b', 1)] })

    await app.auth.tokens.flushExpiredTokens()
    const left = await app.auth.database.renewedPassword.findMany({ select: { before: true } })
    await app.auth.users.deleteUser(id)

    t.strictSame(left, [{ before: 'b' }])
    t.equal(await app.auth.database.renewedPassword.count(), 0)
  })
})

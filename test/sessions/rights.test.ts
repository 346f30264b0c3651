/** Custom claims that carry permissions: a change of permissions revokes the access tokens, and a refresh renews them. */
import { mock } from 'node:test'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { AUTH_MODELS } from '../../src/permissions/content-types.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair } from '../support/journeys.ts'
import { watchStatements } from '../tokens/statements.ts'

const statusOf = async (app: FastifyInstance, access: string) =>
  (await app.inject({ url: '/api/protected/', headers: bearer(access) })).statusCode

onEachDatabase(t, (t, { build }) => {
  t.test(
    'with freshClaims a change of permissions, groups or is_staff revokes the access tokens of the user in all processes',
    async (t) => {
      const settings = { claims: () => ({ rights: 'x' }), freshClaims: true, revocationPoll: 60 }
      const app = await build(t, settings)
      const other = await build(t, { ...settings, databaseUrl: app.auth.settings.databaseUrl })
      const { permissions, groups, users, tokens } = app.auth
      await permissions.syncPermissions(AUTH_MODELS)
      const [alice, bob] = [await addUser(app), await addUser(app, { username: 'bob' })]
      const bobs = await obtainPair(app, bob)
      const { id } = await groups.createGroup('editors')
      const changes: [what: string, change: () => Promise<unknown>][] = [
        ['a permission is granted', () => permissions.grant(alice.id, 'auth.view_user')],
        ['a permission is revoked', () => permissions.revoke(String(alice.id), 'auth.view_user')],
        ['the user is added to a group', () => groups.addToGroup(alice.id, 'editors')],
        ['a permission is granted to a group', () => groups.grantGroup('editors', 'auth.view_user')],
        ['a permission is revoked from a group', () => groups.revokeGroup(id, 'auth.view_user')],
        ['a group is changed', () => groups.updateGroup(id, { permissions: [1] })],
        ['the user is removed from a group', () => groups.removeFromGroup(alice.id, id)],
        ['the groups of the user are set', () => users.updateUser(alice.id, { groups: [id] })],
        ['a group is deleted', () => groups.deleteGroup(id)],
        ['the user becomes staff', () => users.updateUser(alice.id, { isStaff: true })]
      ]
      mock.timers.enable({ apis: ['Date'], now: Date.now() })
      t.teardown(() => mock.timers.reset())
      let { access, refresh } = await obtainPair(app)
      for (const [what, change] of changes) {
        t.equal(await statusOf(app, access), 200, what)
        await change()
        await other.auth.revocations.sync()
        t.strictSame([await statusOf(app, access), await statusOf(other, access)], [401, 401], what)
        // iat has a resolution of one second.
        mock.timers.setTime(Date.now() + 2000)
        const next = await tokens.refresh(refresh)
        access = next.access
        refresh = next.refresh ?? ''
      }
      t.equal(await statusOf(other, access), 200)
      t.equal(await statusOf(app, bobs.access), 200)
      await groups.createGroup('writers').then(({ id }) => groups.updateGroup(id, { name: 'authors' }))
      await users.updateUser(alice.id, { firstName: 'Alice' })
      t.equal(await statusOf(app, access), 200, 'other changes revoke nothing')
    }
  )

  t.test('without freshClaims a change of permissions revokes nothing and needs no more statements', async (t) => {
    const statementsOf = watchStatements(t)
    for (const settings of [{}, { claims: () => ({ rights: 'x' }) }]) {
      const app = await build(t, { ...settings, revocationPoll: 60 })
      await addUser(app)
      await app.auth.groups.createGroup('editors')
      const { access } = await obtainPair(app)
      const statements = await statementsOf(() => app.auth.groups.addToGroup(1, 'editors'))

      t.notOk(statements.some((statement) => /latchkey/.test(statement)))
      t.equal(await statusOf(app, access), 200)
    }
  })
})

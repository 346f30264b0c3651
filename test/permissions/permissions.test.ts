/** Permission checks of a user: results, sources and number of queries. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { type Caller, TokenUser } from '../../src/users/token-user.ts'
import { withoutPassword } from '../../src/users/user.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { watchStatements } from '../tokens/statements.ts'
import { grant, grantByGroup, permissionNamed } from './rights.ts'

/** Returns the caller that guards have with stateless=false: the row of the user. */
async function rowOf({ auth }: FastifyInstance, id: number): Promise<Caller> {
  const row = await auth.users.get('id', id)
  if (!row) throw new Error(`there is no user ${id}`)
  return withoutPassword(row)
}

const tokenOf = (id: number | string, claims: Record<string, unknown> = {}) => new TokenUser(id, 'id', claims)

onEachDatabase(t, (t, { build }) => {
  t.test('a user holds exactly the permissions granted to it or its groups, case-sensitively', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const [alice, bob] = [await addUser(app), await addUser(app, { username: 'bob' })]
    await grant(app, alice.id, 'blog.add_post')
    await grantByGroup(app, alice.id, 'blog.view_post')
    await grantByGroup(app, alice.id, 'shop.add_post')
    await grant(app, bob.id, 'blog.delete_post')
    await grantByGroup(app, bob.id, 'blog.change_post')
    const held = ['blog.add_post', 'blog.view_post', 'shop.add_post']
    const not = [
      'blog.delete_post',
      'blog.change_post',
      'shop.view_post',
      'blog.none',
      'Blog.add_post',
      'add_post',
      'blog.',
      '',
      '.',
      'blog.add_post ',
      '%'
    ]

    for (const caller of [await rowOf(app, alice.id), tokenOf(alice.id), new TokenUser('alice', 'username', {})]) {
      for (const permission of held) t.equal(await permissions.hasPerm(caller, permission), true, permission)
      for (const permission of not) t.equal(await permissions.hasPerm(caller, permission), false, permission)
    }
  })

  t.test('a superuser holds every permission, and inactive or unknown users hold none', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const root = await addUser(app, { username: 'root', isSuperuser: true })
    const ina = await addUser(app, { username: 'ina', isActive: false })
    const fallen = await addUser(app, { username: 'fallen', isActive: false, isSuperuser: true })
    await grant(app, ina.id, 'blog.add_post')
    await grantByGroup(app, ina.id, 'blog.view_post')
    const asked = ['blog.add_post', 'blog.view_post', 'no.such', '']

    for (const permission of asked) {
      for (const caller of [await rowOf(app, root.id), tokenOf(root.id)])
        t.equal(await permissions.hasPerm(caller, permission), true)
      for (const { id } of [ina, fallen]) {
        for (const caller of [await rowOf(app, id), tokenOf(id)])
          t.equal(await permissions.hasPerm(caller, permission), false)
      }
      for (const id of [77, 'abc', 'null']) t.equal(await permissions.hasPerm(tokenOf(id), permission), false)
    }
  })

  t.test('claims of a token grant no permission', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    await permissionNamed(app, 'blog.add_post')
    const boastful = tokenOf(id, { is_superuser: true, is_staff: true, permissions: ['blog.add_post'] })

    t.equal(await app.auth.permissions.hasPerm(boastful, 'blog.add_post'), false)
  })

  t.test('isStaff reads the user row, whatever the claim is_staff says', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { permissions } = app.auth
    const alice = await addUser(app)
    const sam = await addUser(app, { username: 'sam', isStaff: true })
    const root = await addUser(app, { username: 'root', isSuperuser: true })
    const ina = await addUser(app, { username: 'ina', isStaff: true, isActive: false })
    const cases: [Caller, isStaff: boolean, reads: number][] = [
      [await rowOf(app, alice.id), false, 0],
      [await rowOf(app, sam.id), true, 0],
      [await rowOf(app, root.id), false, 0],
      [await rowOf(app, ina.id), false, 0],
      [tokenOf(alice.id), false, 1],
      [tokenOf(sam.id), true, 1],
      [tokenOf(root.id), false, 1],
      [tokenOf(ina.id), false, 1],
      [tokenOf(77), false, 1],
      [tokenOf('abc'), false, 0],
      [tokenOf(alice.id, { is_staff: true }), false, 1],
      [tokenOf(sam.id, { is_staff: false }), true, 1],
      [tokenOf(sam.id, { is_staff: 'true' }), true, 1],
      [tokenOf(sam.id, { is_staff: null }), true, 1]
    ]

    for (const [caller, answer, reads] of cases) {
      const statements = await statementsOf(async () => t.equal(await permissions.isStaff(caller), answer))
      t.equal(statements.length, reads, JSON.stringify(caller))
    }
  })

  t.test('concurrent and repeated checks of one caller are answered by one query', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const root = await addUser(app, { username: 'root', isSuperuser: true })
    await grant(app, id, 'blog.add_post')
    const askAll = (caller: Caller) => () =>
      Promise.all([
        permissions.hasPerm(caller, 'blog.add_post'),
        permissions.hasPerm(caller, 'blog.view_post'),
        permissions.isStaff(caller),
        permissions.hasPerm(caller, 'blog.add_post')
      ])
    const [row, token, superuser] = [await rowOf(app, id), tokenOf(id), await rowOf(app, root.id)]

    const ofRow = await statementsOf(askAll(row))
    const ofToken = await statementsOf(askAll(token))

    t.strictSame(ofRow, ['SELECT auth_permission', 'SELECT django_content_type'])
    t.strictSame(ofToken, ['SELECT auth_user', ...ofRow])
    t.strictSame(await statementsOf(askAll(row)), [])
    t.strictSame(await statementsOf(askAll(token)), [])
    t.strictSame(await statementsOf(askAll(superuser)), [], 'a superuser needs no query')
    t.strictSame(await statementsOf(askAll(tokenOf(root.id))), ['SELECT auth_user'])
  })

  t.test('a change of permissions takes effect with the next request', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const before = tokenOf(id)
    t.equal(await permissions.hasPerm(before, 'blog.add_post'), false)

    await grantByGroup(app, id, 'blog.add_post')

    t.equal(await permissions.hasPerm(before, 'blog.add_post'), false, 'results do not change within a request')
    t.equal(await permissions.hasPerm(tokenOf(id), 'blog.add_post'), true)
    await app.auth.database.userGroup.deleteMany()
    t.equal(await permissions.hasPerm(tokenOf(id), 'blog.add_post'), false)
  })

  t.test(
    'getAllPermissions, getUserPermissions and getGroupPermissions differ by source; a superuser has all permissions',
    async (t) => {
      const app = await build(t)
      const { permissions } = app.auth
      const { id } = await addUser(app)
      const root = await addUser(app, { username: 'root', isSuperuser: true })
      const ina = await addUser(app, { username: 'ina', isActive: false })
      const fallen = await addUser(app, { username: 'fallen', isActive: false, isSuperuser: true })
      await grant(app, id, 'blog.own')
      await grant(app, id, 'blog.both')
      await grantByGroup(app, id, 'blog.both')
      await grantByGroup(app, id, 'blog.group')
      for (const other of [root, ina]) {
        await grant(app, other.id, 'blog.other')
        await grantByGroup(app, other.id, 'blog.own')
      }
      const setsOf = async (caller: Caller | null) =>
        (
          await Promise.all([
            permissions.getAllPermissions(caller),
            permissions.getUserPermissions(caller),
            permissions.getGroupPermissions(caller)
          ])
        ).map((set) => [...set].sort())

      for (const caller of [await rowOf(app, id), tokenOf(id)]) {
        t.strictSame(await setsOf(caller), [
          ['blog.both', 'blog.group', 'blog.own'],
          ['blog.both', 'blog.own'],
          ['blog.both', 'blog.group']
        ])
      }
      const all = ['blog.both', 'blog.group', 'blog.other', 'blog.own']
      for (const caller of [await rowOf(app, root.id), tokenOf(root.id)]) {
        t.strictSame(await setsOf(caller), [all, all, all])
      }
      for (const caller of [tokenOf(ina.id), await rowOf(app, ina.id), tokenOf(fallen.id), tokenOf(77), null]) {
        t.strictSame(await setsOf(caller), [[], [], []])
      }
    }
  )

  t.test('adding to a returned set of permissions grants nothing', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const [alice, nobody] = [tokenOf((await addUser(app)).id), tokenOf(77)]
    for (const caller of [alice, nobody]) {
      const all = await permissions.getAllPermissions(caller)
      all.add('blog.add_post')
      t.equal(await permissions.hasPerm(caller, 'blog.add_post'), false)
      t.equal((await permissions.getAllPermissions(caller)).size, 0)
    }
  })

  t.test('one query answers all kinds of checks of a caller in any order, except group permissions', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const root = await addUser(app, { username: 'root', isSuperuser: true })
    const ina = await addUser(app, { username: 'ina', isActive: false })
    await grant(app, id, 'blog.add_post')
    await grantByGroup(app, id, 'blog.view_post')
    const questions: ((caller: Caller) => Promise<unknown>)[] = [
      (caller) => permissions.hasPerm(caller, 'blog.add_post'),
      (caller) => permissions.hasPerms(caller, ['blog.add_post', 'blog.view_post', 'blog.none']),
      (caller) => permissions.hasModulePerms(caller, 'blog'),
      (caller) => permissions.getAllPermissions(caller),
      (caller) => permissions.getUserPermissions(caller)
    ]
    const LOAD = ['SELECT auth_permission', 'SELECT django_content_type']

    for (const first of questions) {
      const [row, token, superuser] = [await rowOf(app, id), tokenOf(id), await rowOf(app, root.id)]
      t.strictSame(await statementsOf(() => first(row)), LOAD)
      t.strictSame(await statementsOf(() => first(token)), ['SELECT auth_user', ...LOAD])
      await first(superuser)
      await permissions.getAllPermissions(superuser)
      for (const caller of [row, token, superuser]) {
        t.strictSame(await statementsOf(() => Promise.all(questions.map((ask) => ask(caller)))), [], 'no further query')
      }
      t.strictSame(await statementsOf(async () => first(await rowOf(app, ina.id))), ['SELECT auth_user'])
      t.strictSame(await statementsOf(() => permissions.getGroupPermissions(row)), LOAD, 'a query for groups')
      t.strictSame(await statementsOf(() => permissions.getGroupPermissions(row)), [])
      t.strictSame(await statementsOf(() => permissions.getGroupPermissions(superuser)), [])
    }
    const other = await rowOf(app, id)
    t.strictSame(await statementsOf(() => permissions.getGroupPermissions(other)), LOAD, 'group permissions first')
    t.strictSame(await statementsOf(() => permissions.getGroupPermissions(other)), [])
    const all = (caller: Caller) => Promise.all(questions.map((ask) => ask(caller)))
    t.strictSame(await statementsOf(() => all(tokenOf(id))), ['SELECT auth_user', ...LOAD], 'concurrently')
  })
})

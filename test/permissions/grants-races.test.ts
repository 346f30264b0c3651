/** Concurrent and bulk changes of permissions and groups, and their statements. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import type { ValidationError } from '../../src/errors.ts'
import type { Groups } from '../../src/permissions/groups.ts'
import { TokenUser } from '../../src/users/token-user.ts'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { watchStatements } from '../tokens/statements.ts'
import { permissionNamed } from './rights.ts'

const RIVALS = 20
const NAMES = ['blog.add_post', 'blog.change_post', 'blog.delete_post', 'blog.view_post', 'shop.add_post']

async function withNames(app: FastifyInstance): Promise<Groups> {
  for (const name of NAMES) await permissionNamed(app, name)
  return app.auth.groups
}

/** Returns the permissions that a user has in the next request. */
const heldBy = async ({ auth }: FastifyInstance, id: number) =>
  [...(await auth.permissions.getAllPermissions(new TokenUser(id, 'id', {})))].sort()

/** Builds two apps with separate connections to one database, as two servers have them. */
async function twoApps(t: Test, { build }: TestWorld): Promise<FastifyInstance[]> {
  const one = await build(t)
  return [one, await build(t, { databaseUrl: one.auth.settings.databaseUrl })]
}

/** Runs 20 changes concurrently, alternating between the apps. @throws if any of them fails */
const atOnce = (apps: FastifyInstance[], change: (app: FastifyInstance, at: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: RIVALS }, (_, at) => change(apps[at % apps.length] as FastifyInstance, at)))

onEachDatabase(t, (t, world) => {
  const { build } = world

  t.test('thousands of permissions are granted in one transaction', async (t) => {
    const INSERT = 'INSERT auth_user_user_permissions'
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const models = Array.from({ length: 1000 }, (_, at) => ({ appLabel: `app${at % 10}`, model: `model${at}` }))
    const names = await permissions.syncPermissions(models)
    t.equal(names.length, 4000)

    const granting = await statementsOf(() => permissions.grant(id, ...names))
    const inserts = granting.slice(granting.indexOf(INSERT)).filter((statement) => statement !== INSERT)
    t.ok(inserts.length === 0 || inserts.join() === 'COMMIT', 'all INSERTs are in one transaction')
    t.equal((await heldBy(app, id)).length, 4000)
    await permissions.revoke(id, ...names.slice(1))
    t.strictSame(await heldBy(app, id), names.slice(0, 1))
  })

  t.test('concurrent grants, revocations and additions to groups all succeed', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    const all = await withNames(app)
    const { database } = app.auth
    const { id } = await addUser(app)
    const { id: editors } = await all.createGroup('editors')
    const groups = apps.map(({ auth }) => auth.groups)
    const group = (at: number) => groups[at % groups.length] as Groups

    await atOnce(apps, ({ auth }, at) =>
      at % 2 < 1 ? auth.permissions.grant(id, ...NAMES) : auth.permissions.grant(id, ...NAMES.toReversed())
    )
    t.strictSame(await heldBy(app, id), NAMES)
    await atOnce(apps, (_, at) => group(at).grantGroup(editors, ...NAMES))
    await atOnce(apps, (_, at) => group(at).addToGroup(id, 'editors'))
    t.equal(await database.userPermission.count(), NAMES.length)
    t.equal(await database.groupPermission.count(), NAMES.length)
    t.equal(await database.userGroup.count(), 1)

    await atOnce(apps, ({ auth }) => auth.permissions.revoke(id, ...NAMES))
    await atOnce(apps, (_, at) => group(at).revokeGroup('editors', ...NAMES))
    t.strictSame(await heldBy(app, id), [])
    await atOnce(apps, ({ auth }, at) => {
      const names = NAMES.slice(at % NAMES.length)
      return at % 3 === 0 ? auth.permissions.revoke(id, ...names) : auth.permissions.grant(id, ...names)
    })
    t.ok((await database.userPermission.count()) <= NAMES.length)
  })

  t.test('of 20 concurrent creations of one group name exactly one succeeds', async (t) => {
    const apps = await twoApps(t, world)
    const made = await atOnce(apps, ({ auth }) =>
      auth.groups.createGroup('editors').then(
        () => 'made',
        ({ body }: ValidationError) => JSON.stringify(body)
      )
    )
    const taken = Array.from({ length: RIVALS - 1 }, () => '{"name":["group with this name already exists."]}')
    t.strictSame(made.toSorted(), ['made', ...taken].sort())
  })

  t.test('concurrent additions to a group do not prevent its deletion', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    await withNames(app)
    const { database } = app.auth
    const users = await Promise.all(Array.from({ length: RIVALS }, (_, at) => addUser(app, { username: `user${at}` })))
    for (let round = 0; round < 5; round++) {
      const { id } = await app.auth.groups.createGroup(`round ${round}`)
      const ends = await atOnce(apps, async ({ auth }, at) => {
        const groups = auth.groups
        if (at % 5 === 4) return groups.deleteGroup(id)
        const change = at % 2 ? groups.addToGroup(users[at]?.id ?? 0, id) : groups.grantGroup(id, NAMES[at % 5] ?? '')
        return change.catch((error: ValidationError) => JSON.stringify(error.body ?? error))
      })
      const told = new Set(ends.filter((end) => end !== undefined))
      told.delete(`{"group":["Invalid pk \\"${id}\\" - object does not exist."]}`)
      t.strictSame([...told], [], 'no error but that the group does not exist')
    }
    t.equal(await database.group.count(), 0)
    t.equal(await database.userGroup.count(), 0)
    t.equal(await database.groupPermission.count(), 0)
  })

  t.test('a change takes one statement that writes, and a repeated grant none', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const groups = await withNames(app)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const { id: editors } = await groups.createGroup('editors')
    const [user, group] = [['SELECT auth_user'], ['SELECT auth_group']]
    const names = ['SELECT auth_permission', 'SELECT django_content_type']
    const costs: [change: () => Promise<unknown>, expected: string[]][] = [
      [
        () => permissions.grant(id, ...NAMES),
        [...user, ...names, 'SELECT auth_user_user_permissions', 'INSERT auth_user_user_permissions']
      ],
      [() => permissions.grant(id, ...NAMES), [...user, ...names, 'SELECT auth_user_user_permissions']],
      [() => permissions.revoke(id, ...NAMES), [...user, ...names, 'DELETE auth_user_user_permissions']],
      [
        () => groups.grantGroup(editors, ...NAMES),
        [...group, ...names, 'SELECT auth_group_permissions', 'INSERT auth_group_permissions']
      ],
      [() => groups.grantGroup('editors', ...NAMES), [...group, ...names, 'SELECT auth_group_permissions']],
      [() => groups.revokeGroup(editors, ...NAMES), [...group, ...names, 'DELETE auth_group_permissions']],
      [() => groups.addToGroup(id, editors), [...user, ...group, 'SELECT auth_user_groups', 'INSERT auth_user_groups']],
      [() => groups.addToGroup(id, 'editors'), [...user, ...group, 'SELECT auth_user_groups']],
      [() => groups.removeFromGroup(id, editors), [...user, ...group, 'DELETE auth_user_groups']],
      [() => groups.createGroup('readers'), ['INSERT auth_group']],
      [
        () => groups.deleteGroup(editors),
        ['BEGIN', 'DELETE auth_group', 'DELETE auth_group_permissions', 'DELETE auth_user_groups', 'COMMIT']
      ]
    ]

    for (const [change, expected] of costs) t.strictSame(await statementsOf(change), expected)
  })
})

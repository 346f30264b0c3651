/** Giving and taking permissions, and groups: what is asked for twice, by many at once, or in vain. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ValidationError } from '../../src/errors.ts'
import { Groups } from '../../src/permissions/groups.ts'
import { TokenUser } from '../../src/users/token-user.ts'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { watchStatements } from '../tokens/statements.ts'
import { permissionNamed } from './rights.ts'

const RIVALS = 20
const NAMES = ['blog.add_post', 'blog.change_post', 'blog.delete_post', 'blog.view_post', 'shop.add_post']

async function withNames(app: FastifyInstance): Promise<Groups> {
  for (const name of NAMES) await permissionNamed(app, name)
  return new Groups(app.auth.database)
}

/** What a user holds, as the next request finds it. */
const heldBy = async ({ auth }: FastifyInstance, id: number) =>
  [...(await auth.permissions.getAllPermissions(new TokenUser(id, 'id', {})))].sort()

async function rejectsWith(t: Test, change: Promise<unknown>, body: object): Promise<void> {
  const error = await change.then(
    () => undefined,
    (error: unknown) => error
  )
  t.type(error, ValidationError)
  t.strictSame((error as ValidationError | undefined)?.body, body)
}

/** Two apps with connections of their own, as two servers have them. */
async function twoApps(t: Test, { build }: TestWorld): Promise<FastifyInstance[]> {
  const one = await build(t)
  return [one, await build(t, { databaseUrl: one.auth.settings.databaseUrl })]
}

/** All at once, by turns with either app; none may fail. */
const atOnce = (apps: FastifyInstance[], change: (app: FastifyInstance, at: number) => Promise<unknown>) =>
  Promise.all(Array.from({ length: RIVALS }, (_, at) => change(apps[at % apps.length] as FastifyInstance, at)))

onEachDatabase(t, (t, world) => {
  const { build } = world

  t.test('permissions are given and taken, and once more without a difference', async (t) => {
    const app = await build(t)
    await withNames(app)
    const { permissions } = app.auth
    const [{ id }, bob] = [await addUser(app), await addUser(app, { username: 'bob' })]

    await permissions.grant(id, 'blog.view_post', 'blog.add_post', 'blog.view_post')
    t.strictSame(await heldBy(app, id), ['blog.add_post', 'blog.view_post'])
    await permissions.grant(id, 'blog.add_post', 'shop.add_post')
    await permissions.grant(`${id}`, 'blog.add_post')
    await permissions.grant(id)
    t.strictSame(await heldBy(app, id), ['blog.add_post', 'blog.view_post', 'shop.add_post'])
    t.strictSame(await heldBy(app, bob.id), [])

    await permissions.grant(bob.id, ...NAMES)
    await permissions.revoke(id, 'blog.add_post', 'blog.delete_post')
    await permissions.revoke(id, 'blog.add_post')
    await permissions.revoke(id)
    t.strictSame(await heldBy(app, id), ['blog.view_post', 'shop.add_post'])
    t.strictSame(await heldBy(app, bob.id), NAMES, 'what others hold stays')
  })

  t.test('who is in a group holds what it holds, as long as both last', async (t) => {
    const app = await build(t)
    const groups = await withNames(app)
    const { permissions, database } = app.auth
    const { id } = await addUser(app)
    const editors = await groups.createGroup('editors')
    const readers = await groups.createGroup('readers')
    t.strictSame(editors, { id: editors.id, name: 'editors' })

    await groups.grantGroup(editors.id, 'blog.add_post', 'blog.view_post')
    await groups.grantGroup(editors.id, 'blog.add_post')
    await groups.grantGroup('readers', 'blog.view_post')
    t.strictSame(await heldBy(app, id), [])
    await groups.addToGroup(id, 'editors')
    await groups.addToGroup(`${id}`, editors.id)
    await groups.addToGroup(id, readers.id)
    t.strictSame(await heldBy(app, id), ['blog.add_post', 'blog.view_post'])
    await permissions.revoke(id, 'blog.add_post')
    t.strictSame(await heldBy(app, id), ['blog.add_post', 'blog.view_post'], 'it was never given to the user')

    await groups.revokeGroup('editors', 'blog.add_post', 'blog.view_post')
    await groups.revokeGroup(editors.id, 'blog.add_post')
    t.strictSame(await heldBy(app, id), ['blog.view_post'], 'of the other group')
    await groups.removeFromGroup(id, 'readers')
    await groups.removeFromGroup(id, readers.id)
    t.strictSame(await heldBy(app, id), [])
    t.equal(await database.userGroup.count(), 1)
  })

  t.test('a group goes with what hangs on it, and nothing else does', async (t) => {
    const app = await build(t)
    const groups = await withNames(app)
    const { database } = app.auth
    const { id } = await addUser(app)
    for (const name of ['editors', 'readers']) {
      const group = await groups.createGroup(name)
      await groups.grantGroup(group.id, 'blog.add_post', name === 'editors' ? 'blog.view_post' : 'shop.add_post')
      await groups.addToGroup(id, group.id)
    }
    const { id: editors } = await database.group.findUniqueOrThrow({ where: { name: 'editors' } })

    await groups.deleteGroup(editors)
    await groups.deleteGroup(editors)
    await groups.deleteGroup(2_147_483_647)

    t.strictSame(await heldBy(app, id), ['blog.add_post', 'shop.add_post'])
    t.strictSame(
      (await database.group.findMany()).map(({ name }) => name),
      ['readers']
    )
    t.equal(await database.userGroup.count(), 1)
    t.equal(await database.groupPermission.count(), 2)
    t.equal(await database.permission.count(), NAMES.length)
    t.ok((await groups.createGroup('editors')).id > editors, 'the name is free again, the id is not')
  })

  t.test('a group has a name of its own, of at most 150 characters', async (t) => {
    const app = await build(t)
    const groups = await withNames(app)
    const taken = { name: ['group with this name already exists.'] }
    const refused: [unknown, string][] = [
      ['', 'This field may not be blank.'],
      ['x'.repeat(151), 'Ensure this field has no more than 150 characters.'],
      ['𝄞'.repeat(151), 'Ensure this field has no more than 150 characters.'],
      ['x'.repeat(1_000_000), 'Ensure this field has no more than 150 characters.'],
      ['edi\0tors', 'Null characters are not allowed.'],
      ...[null, undefined, 7, ['editors'], { contains: '' }, 'edi\uD800tors'].map((odd): [unknown, string] => [
        odd,
        'Not a valid string.'
      ])
    ]

    for (const [name, fault] of refused) await rejectsWith(t, groups.createGroup(name as string), { name: [fault] })
    t.equal(await app.auth.database.group.count(), 0)
    const accepted = ['x'.repeat(150), '𝄞'.repeat(150), '__proto__', ' editors ', 'editors', 'Editors', '7']
    for (const name of accepted) {
      t.equal((await groups.createGroup(name)).name, name)
      await rejectsWith(t, groups.createGroup(name), taken)
    }
  })

  t.test('a permission that does not exist is named, and of the others none is given or taken', async (t) => {
    const app = await build(t)
    const groups = await withNames(app)
    const { permissions, database } = app.auth
    const { id } = await addUser(app)
    const { id: editors } = await groups.createGroup('editors')
    await permissions.grant(id, 'blog.add_post')
    await groups.grantGroup(editors, 'blog.add_post')
    const changes = (...names: string[]) => [
      () => permissions.grant(id, ...names),
      () => permissions.revoke(id, ...names),
      () => groups.grantGroup(editors, ...names),
      () => groups.revokeGroup('editors', ...names)
    ]
    const missing = (name: string) => `Object with permission=${name} does not exist.`
    const unknown: [unknown, string][] = [
      ...[
        ...['blog.none', 'Blog.add_post', 'shop.view_post', 'add_post', '', '.', 'blog.', '.add_post', '%.%'],
        ...['__proto__', '__proto__.__proto__', 'blog.__proto__', 'constructor.name', 'blog.add_post ', 'blog.\0']
      ].map((name): [unknown, string] => [name, missing(name)]),
      ['blog.\uD800', missing('blog.\uFFFD')],
      [`blog.${'x'.repeat(1_000_000)}`, missing(`blog.${'x'.repeat(196)}…`)],
      ...[null, undefined, 7, ['blog.add_post'], { contains: '' }, { codename: { not: '' } }].map(
        (odd): [unknown, string] => [odd, 'Not a valid string.']
      )
    ]

    for (const [name, fault] of unknown) {
      for (const change of changes('blog.add_post', 'blog.view_post', name as string)) {
        await rejectsWith(t, change(), { permissions: [fault] })
      }
    }
    for (const change of changes('blog.none', 'blog.add_post', 'shop.none', 'blog.none')) {
      await rejectsWith(t, change(), { permissions: [missing('blog.none'), missing('shop.none')] })
    }
    t.strictSame(await heldBy(app, id), ['blog.add_post'])
    t.equal(await database.groupPermission.count(), 1)
  })

  t.test('users and groups that do not exist are named', async (t) => {
    const app = await build(t)
    const groups = await withNames(app)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const { id: editors } = await groups.createGroup('editors')
    const noKey = (key: unknown) => [`Invalid pk "${key}" - object does not exist.`]
    const noType = (type: string) => [`Incorrect type. Expected pk value, received ${type}.`]
    const users: [unknown, string[]][] = [
      ...[77, 0, -1, 1.5, Number.NaN, 2_147_483_648, '', 'alice', '01', '1e0', '1\0', '__proto__'].map(
        (key): [unknown, string[]] => [key, noKey(key)]
      ),
      ...[{ not: 0 }, [1], [id]].map((odd): [unknown, string[]] => [odd, noType('object')]),
      ...([
        [null, noType('null')],
        [undefined, noType('undefined')],
        [true, noType('boolean')]
      ] as [unknown, string[]][])
    ]
    const noName = (name: string) => [`Object with name=${name} does not exist.`]
    const names = ['none', 'Editors', '', '%', `${editors}`, 'edi\0tors', '__proto__', 'x'.repeat(151)]

    for (const [key, user] of users) {
      const odd = key as number
      await rejectsWith(t, permissions.grant(odd, 'blog.add_post'), { user })
      await rejectsWith(t, permissions.grant(odd), { user })
      await rejectsWith(t, permissions.revoke(odd, 'blog.add_post'), { user })
      await rejectsWith(t, groups.addToGroup(odd, editors), { user })
      await rejectsWith(t, groups.removeFromGroup(odd, 'editors'), { user })
    }
    const wrongGroups = [
      ...users.filter(([key]) => typeof key !== 'string'),
      ...names.map((name): [unknown, string[]] => [name, noName(name)])
    ]
    for (const [key, group] of wrongGroups) {
      const odd = key as number
      await rejectsWith(t, groups.grantGroup(odd, 'blog.add_post'), { group })
      await rejectsWith(t, groups.revokeGroup(odd, 'blog.add_post'), { group })
      await rejectsWith(t, groups.addToGroup(id, odd), { group })
      await rejectsWith(t, groups.removeFromGroup(id, odd), { group })
    }
    await rejectsWith(t, groups.deleteGroup({ not: 0 } as unknown as number), { group: noType('object') })
    t.equal(await app.auth.database.group.count(), 1)
  })

  t.test('a name that two models share means the permissions of both', async (t) => {
    const app = await build(t)
    const { permissions, database } = app.auth
    const { id } = await addUser(app)
    const custom = [['publish', 'Can publish']] as const
    await permissions.syncPermissions(
      ['post', 'page'].map((model) => ({ appLabel: 'blog', model, permissions: custom }))
    )

    await permissions.grant(id, 'blog.publish', 'blog.add_post')
    t.equal(await database.userPermission.count(), 3)
    await permissions.revoke(id, 'blog.publish')
    t.strictSame(await heldBy(app, id), ['blog.add_post'], 'what is taken is gone')
  })

  t.test('a codename may have dots', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const custom = [['post.publish', 'Can publish']] as const
    await permissions.syncPermissions([{ appLabel: 'blog', model: 'post', permissions: custom }])

    await permissions.grant(id, 'blog.post.publish')
    t.strictSame(await heldBy(app, id), ['blog.post.publish'])
    t.ok(await permissions.hasModulePerms(new TokenUser(id, 'id', {}), 'blog'))
  })

  t.test('of thousands of permissions all are given at once', async (t) => {
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
    t.ok(inserts.length === 0 || inserts.join() === 'COMMIT', 'in one transaction, however many statements it takes')
    t.equal((await heldBy(app, id)).length, 4000)
    await permissions.revoke(id, ...names.slice(1))
    t.strictSame(await heldBy(app, id), names.slice(0, 1))
  })

  t.test('many who give, take and admit the same at the same time are all served', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    const all = await withNames(app)
    const { database } = app.auth
    const { id } = await addUser(app)
    const { id: editors } = await all.createGroup('editors')
    const groups = apps.map(({ auth }) => new Groups(auth.database))
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

  t.test('of many who make a group of the same name one does', async (t) => {
    const apps = await twoApps(t, world)
    const made = await atOnce(apps, ({ auth }) =>
      new Groups(auth.database).createGroup('editors').then(
        () => 'made',
        ({ body }: ValidationError) => JSON.stringify(body)
      )
    )
    const taken = Array.from({ length: RIVALS - 1 }, () => '{"name":["group with this name already exists."]}')
    t.strictSame(made.toSorted(), ['made', ...taken].sort())
  })

  t.test('who is let in while the group is deleted keeps nobody from deleting it', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]
    await withNames(app)
    const { database } = app.auth
    const users = await Promise.all(Array.from({ length: RIVALS }, (_, at) => addUser(app, { username: `user${at}` })))
    for (let round = 0; round < 5; round++) {
      const { id } = await new Groups(database).createGroup(`round ${round}`)
      const ends = await atOnce(apps, async ({ auth }, at) => {
        const groups = new Groups(auth.database)
        if (at % 5 === 4) return groups.deleteGroup(id)
        const change = at % 2 ? groups.addToGroup(users[at]?.id ?? 0, id) : groups.grantGroup(id, NAMES[at % 5] ?? '')
        return change.catch((error: ValidationError) => JSON.stringify(error.body ?? error))
      })
      const told = new Set(ends.filter((end) => end !== undefined))
      told.delete(`{"group":["Invalid pk \\"${id}\\" - object does not exist."]}`)
      t.strictSame([...told], [], 'they are told that it is gone, or nothing')
    }
    t.equal(await database.group.count(), 0)
    t.equal(await database.userGroup.count(), 0)
    t.equal(await database.groupPermission.count(), 0)
  })

  t.test('a change takes one statement that writes, and none where there is nothing to change', async (t) => {
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

/** Granting and revoking permissions, and groups: effects, repeated calls and invalid arguments. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { ValidationError } from '../../src/errors.ts'
import type { Groups } from '../../src/permissions/groups.ts'
import { TokenUser } from '../../src/users/token-user.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { permissionNamed } from './rights.ts'

const NAMES = ['blog.add_post', 'blog.change_post', 'blog.delete_post', 'blog.view_post', 'shop.add_post']

async function withNames(app: FastifyInstance): Promise<Groups> {
  for (const name of NAMES) await permissionNamed(app, name)
  return app.auth.groups
}

/** Returns the permissions that a user has in the next request. */
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

onEachDatabase(t, (t, world) => {
  const { build } = world

  t.test('permissions are granted to and revoked from one user, and repeated calls change nothing', async (t) => {
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
    t.strictSame(await heldBy(app, bob.id), NAMES, 'other users keep theirs')
  })

  t.test('members of a group hold its permissions until they leave it or it loses them', async (t) => {
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
    t.strictSame(await heldBy(app, id), ['blog.add_post', 'blog.view_post'], 'the group still has it')

    await groups.revokeGroup('editors', 'blog.add_post', 'blog.view_post')
    await groups.revokeGroup(editors.id, 'blog.add_post')
    t.strictSame(await heldBy(app, id), ['blog.view_post'], 'held through the other group')
    await groups.removeFromGroup(id, 'readers')
    await groups.removeFromGroup(id, readers.id)
    t.strictSame(await heldBy(app, id), [])
    t.equal(await database.userGroup.count(), 1)
  })

  t.test('deleting a group deletes its memberships and grants and nothing else', async (t) => {
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
    t.ok((await groups.createGroup('editors')).id > editors, 'the name is free again, the id is not reused')
  })

  t.test('a group name must be a unique, non-blank string of at most 150 characters', async (t) => {
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

  t.test('unknown permissions are reported by name, and the others are neither granted nor revoked', async (t) => {
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

  t.test('unknown users and groups are reported by key or name', async (t) => {
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

  t.test('a codename of two models grants and revokes the permissions of both', async (t) => {
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
    t.strictSame(await heldBy(app, id), ['blog.add_post'], 'both are revoked')
  })

  t.test('codenames may contain dots', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const custom = [['post.publish', 'Can publish']] as const
    await permissions.syncPermissions([{ appLabel: 'blog', model: 'post', permissions: custom }])

    await permissions.grant(id, 'blog.post.publish')
    t.strictSame(await heldBy(app, id), ['blog.post.publish'])
    t.ok(await permissions.hasModulePerms(new TokenUser(id, 'id', {}), 'blog'))
  })
})

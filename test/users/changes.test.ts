/** Atomic changes to a user, and the protection of the last superuser. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import type { Database } from '../../src/database/open.ts'
import { hasAdminLog } from '../../src/users/deletion.ts'
import type { UserChanges } from '../../src/users/users.ts'
import { MARIA, makeDjango } from '../database/django.ts'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { watchStatements } from '../tokens/statements.ts'

const LAST = { name: 'PermissionDenied', message: 'The last superuser who can sign in must remain one.' }
const GONE = { name: 'NotFound', message: 'No User matches the given query.' }

const addRoot = (app: FastifyInstance, username: string, more: object = {}) =>
  addUser(app, { username, isStaff: true, isSuperuser: true, ...more })

/** Builds two apps with separate connections to one database, as two servers have them. */
async function twoApps(t: Test, { build }: TestWorld): Promise<[FastifyInstance, FastifyInstance]> {
  const one = await build(t)
  return [one, await build(t, { databaseUrl: one.auth.settings.databaseUrl })]
}

t.test('the existence of the admin log is looked up once, and again after a failure', async (t) => {
  const outcomes = [new DatabaseUnavailable(), null, new Error('not asked')]
  const $queryRaw = async () => {
    const outcome = outcomes.shift()
    if (outcome) throw outcome
  }
  const database = { $queryRaw } as unknown as Database
  await t.rejects(hasAdminLog(database), { name: 'DatabaseUnavailable' })
  t.equal(await hasAdminLog(database), true)
  t.equal(await hasAdminLog(database), true)
})

onEachDatabase(t, (t, world) => {
  const { build } = world

  t.test('fields, groups and permissions of a user are changed together or not at all', async (t) => {
    const app = await build(t)
    const { users, groups, permissions, database } = app.auth
    await permissions.syncPermissions([{ appLabel: 'blog', model: 'post' }])
    const [first, second] = (await database.permission.findMany({ orderBy: { id: 'asc' } })).map(({ id }) => id) as [
      number,
      number
    ]
    const [one, two] = [await groups.createGroup('one'), await groups.createGroup('two')]
    const { id } = await addUser(app)
    const changed = await users.updateUser(id, {
      ...{
        username: 'ａｌｉｃｅ２',
        email: 'A@EXAMPLE.COM',
        firstName: 'A',
        isStaff: true,
        password: 'another-Pass-1'
      },
      ...{ groups: [two.id, one.id], userPermissions: [first] }
    })
    t.match(changed, { id, username: 'alice2', email: 'A@example.com', firstName: 'A', isStaff: true, isActive: true })
    t.strictSame([changed.groups, changed.userPermissions], [[one.id, two.id], [first]])
    t.notOk('password' in changed)
    t.match(await users.authenticate('alice2', 'another-Pass-1'), { id })

    const kept = await database.userGroup.findFirstOrThrow({ where: { groupId: two.id } })
    const { groups: left, userPermissions } = await users.updateUser(id, {
      groups: [two.id],
      userPermissions: [second]
    })
    t.strictSame([left, userPermissions], [[two.id], [second]])
    t.strictSame(await database.userGroup.findMany(), [kept], 'the row of a kept group is not replaced')

    await addUser(app, { username: 'bob' })
    const faults: [UserChanges, object][] = [
      [{ firstName: 'B', groups: [99] }, { groups: ['Invalid pk "99" - object does not exist.'] }],
      [{ userPermissions: [first, 99] }, { user_permissions: ['Invalid pk "99" - object does not exist.'] }],
      [{ firstName: 'B', username: 'bob' }, { username: ['A user with that username already exists.'] }],
      [{ username: 'a b' }, { username: [/valid username/] }]
    ]
    for (const [changes, body] of faults)
      await t.rejects(users.updateUser(id, changes), { name: 'ValidationError', body })
    t.match(await users.updateUser(id, {}), { firstName: 'A', groups: [two.id], userPermissions: [second] })
    await t.rejects(users.updateUser(77, {}), GONE)
    await users.updateUser(id, { password: null })
    t.match(await users.get('id', id), { password: /^!/ })
    await t.rejects(users.createUser({ username: 'x', groups: [99] }), { name: 'ValidationError' })
    t.match(await database.user.count(), 2)
  })

  t.test('lists of thousands of permissions are stored and removed completely', async (t) => {
    const app = await build(t)
    const { users, database } = app.auth
    const { id: contentTypeId } = await database.contentType.create({ data: { appLabel: 'blog', model: 'post' } })
    const data = Array.from({ length: 3000 }, (_, n) => ({ codename: `c${n}`, name: 'x', contentTypeId }))
    await database.permission.createMany({ data })
    const userPermissions = (await database.permission.findMany()).map(({ id }) => id).sort((a, b) => a - b)
    const { id } = await users.createUser({ username: 'alice', userPermissions })
    t.equal(await database.userPermission.count(), 3000)
    await users.updateUser(id, { userPermissions: [] })
    t.equal(await database.userPermission.count(), 0)
    t.strictSame((await users.updateUser(id, { userPermissions })).userPermissions, userPermissions)
  })

  t.test('an error of the permit prevents the change, and a concurrent change runs the permit again', async (t) => {
    const app = await build(t)
    const { users } = app.auth
    const { id } = await addUser(app)
    const refuse = () => {
      throw new Error('no')
    }
    await t.rejects(users.updateUser(id, { isStaff: true }, refuse), { message: 'no' })
    await t.rejects(users.deleteUser(id, refuse), { message: 'no' })
    t.match(await users.get('id', id), { isStaff: false })

    const seen: object[] = []
    await users.updateUser(id, { password: 'other-Pass-1' }, async (user) => {
      seen.push(user)
      // A concurrent change, after which the permission may no longer hold.
      if (seen.length === 1) await users.updateUser(id, { isSuperuser: true })
    })
    t.match(seen, [{ isSuperuser: false, groups: [] }, { isSuperuser: true }], 'the permit runs again')
    t.notOk(seen.some((user) => 'password' in user))
    await t.rejects(
      users.deleteUser(77, () => {}),
      GONE
    )
  })

  t.test('the last active superuser with a password cannot be demoted, deactivated, locked or deleted', async (t) => {
    const app = await build(t)
    const { users } = app.auth
    const { id } = await addRoot(app, 'root')
    await addRoot(app, 'asleep', { isActive: false })
    const { id: locked } = await users.createSuperuser({ username: 'locked' })
    const losses: (() => Promise<unknown>)[] = [
      () => users.updateUser(id, { isActive: false }),
      () => users.updateUser(id, { password: null }),
      () => users.updateUser(id, { isSuperuser: false, firstName: 'x' }),
      () => users.deleteUser(id, () => {})
    ]
    for (const loss of losses) await t.rejects(loss(), LAST)
    t.match(await users.get('id', id), { isActive: true, isSuperuser: true, firstName: '' })
    await users.updateUser(id, { isStaff: false, isSuperuser: true })
    await users.deleteUser(locked, () => {})
    const { id: other } = await addRoot(app, 'other')
    await users.updateUser(id, { isSuperuser: false })
    await users.deleteUser(id, () => {})
    await t.rejects(
      users.deleteUser(other, () => {}),
      LAST
    )
    await users.deleteUser(other)
    t.equal(await users.get('id', other), null, 'without a permit there is no check')
  })

  t.test('the last active superuser cannot be deactivated, even if no superuser has a password', async (t) => {
    const { users } = (await build(t)).auth
    const [one, two] = [
      await users.createSuperuser({ username: 'one' }),
      await users.createSuperuser({ username: 'two' })
    ]
    await users.updateUser(one.id, { isActive: false })
    await t.rejects(users.updateUser(two.id, { isActive: false }), LAST)
  })

  t.test('of two superusers that demote each other concurrently one remains', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps
    const { users, database } = app.auth
    const take: ((app: FastifyInstance, id: number) => Promise<unknown>)[] = [
      ({ auth }, id) => auth.users.updateUser(id, { isSuperuser: false }),
      ({ auth }, id) => auth.users.updateUser(id, { isActive: false }),
      ({ auth }, id) => auth.users.deleteUser(id, () => {})
    ]
    for (let round = 0; round < 8; round++) {
      await database.user.updateMany({ where: { isSuperuser: true }, data: { isSuperuser: false } })
      const ids = [(await addRoot(app, `a${round}`)).id, (await addRoot(app, `b${round}`)).id]
      const ends = await Promise.allSettled(
        ids.map((id, at) => take[(round + at) % take.length]?.(apps[at] as FastifyInstance, id))
      )
      t.strictSame(ends.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
      t.match(
        ends.find(({ status }) => status === 'rejected'),
        { reason: LAST }
      )
      t.equal(await database.user.count({ where: { isSuperuser: true, isActive: true } }), 1)
    }
    t.ok(users)
  })

  t.test('concurrent changes of groups store each membership once, and none of a deleted group', async (t) => {
    const apps = await twoApps(t, world)
    const [{ auth }] = apps
    const { id } = await addUser(apps[0])
    const ids = await Promise.all(['a', 'b', 'c'].map(async (name) => (await auth.groups.createGroup(name)).id))
    await Promise.all(apps.map(({ auth }) => auth.users.updateUser(id, { groups: ids })))
    t.equal(await auth.database.userGroup.count(), 3)
    const [first = 0] = ids
    const ends = await Promise.allSettled([
      apps[0].auth.users.updateUser(id, { groups: [first] }),
      apps[1].auth.groups.deleteGroup(first)
    ])
    t.equal(ends[1].status, 'fulfilled')
    t.equal(await auth.database.userGroup.count({ where: { groupId: first } }), 0, 'no membership of the deleted group')
  })

  t.test('concurrent changes of one user each succeed or return 503', async (t) => {
    const app = await build(t)
    const { users } = app.auth
    const { id } = await addUser(app)
    const changes = Array.from({ length: 12 }, (_, n) => users.updateUser(id, { email: `${n}@x.cc` }))
    const ends = await Promise.allSettled(changes)
    t.ok(ends.some(({ status }) => status === 'fulfilled'))
    for (const end of ends) if (end.status === 'rejected') t.match(end.reason, { statusCode: 503 })
    t.match(await users.get('id', id), { email: /^\d+@x\.cc$/ })
  })

  t.test("deleting a user deletes its rows of Django's admin log", async (t) => {
    const statementsOf = watchStatements(t)
    const databaseUrl = await world.emptyDatabaseUrl(t)
    await makeDjango(databaseUrl)
    const app = await build(t, { databaseUrl })
    const { users, database } = app.auth
    const maria = (await users.getByNaturalKey(MARIA.username))?.id ?? 0
    const { id } = await addRoot(app, 'other')
    await database.$executeRaw`
      INSERT INTO django_admin_log (action_time, object_repr, action_flag, change_message, user_id)
      SELECT action_time, object_repr, action_flag, change_message, CAST(${id} AS integer) FROM django_admin_log`
    const owners = async () => {
      const rows = await database.$queryRaw<{ user_id: number }[]>`SELECT user_id FROM django_admin_log ORDER BY id`
      return rows.map(({ user_id }) => Number(user_id))
    }
    t.strictSame(await owners(), [maria, id])
    await users.deleteUser(maria, () => {})
    t.strictSame(await owners(), [id])
    t.equal(await users.get('id', maria), null)
    const selects = (await statementsOf(() => users.deleteUser(id))).filter((text) => text.startsWith('SELECT'))
    t.strictSame(selects, ['SELECT'], 'only the row of the user, to lock it')
    t.strictSame(await owners(), [])
  })
})

/** Privilege escalation: staff cannot grant permissions that they lack, nor take over accounts with more. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { User } from '../../src/users/user.ts'
import type { UserChanges } from '../../src/users/users.ts'
import { grant, permissionNamed } from '../permissions/rights.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, type NewUser } from '../support/journeys.ts'

const denied = (message: string) => ({ name: 'PermissionDenied', message })
const SUPERUSER = denied('Only a superuser can change a superuser.')
const MAKES = denied('Only a superuser can make another user a superuser.')
const STAFF = denied('Only staff can make another user staff.')
const TAKEOVER = denied('You cannot change the account of a user with permissions that you do not hold.')
const lacks = (name: string) => denied(`You cannot grant a permission that you do not hold: ${name}.`)

/** Adds sam, who is staff with `blog.add_post` only, writers with the same permission, and editors with more. */
async function world(app: FastifyInstance) {
  const { groups } = app.auth
  const [add, edit] = [await permissionNamed(app, 'blog.add_post'), await permissionNamed(app, 'blog.edit_post')]
  const writers = (await groups.createGroup('writers', [add])).id
  const editors = (await groups.createGroup('editors', [add, edit])).id
  const user = async (username: string, more: NewUser = {}, ...permissions: string[]) => {
    const { id } = await addUser(app, { username, email: `${username}@example.com`, ...more })
    for (const permission of permissions) await grant(app, id, permission)
    return (await app.auth.users.get('id', id)) as User
  }
  const sam = await user('sam', { isStaff: true }, 'blog.add_post')
  const root = await user('root', { isStaff: true, isSuperuser: true })
  return { policy: app.auth.admin, add, edit, writers, editors, user, sam, root }
}

onEachDatabase(t, (t, { build }) => {
  t.test('staff can grant only permissions that they have, to users and groups', async (t) => {
    const app = await build(t)
    const { policy, add, edit, writers, editors, user, sam, root } = await world(app)
    const bob = await user('bob')
    const more: [UserChanges, ReturnType<typeof denied>][] = [
      [{ isSuperuser: true }, MAKES],
      [{ groups: [editors] }, lacks('blog.edit_post')],
      [{ groups: [writers], userPermissions: [add, edit] }, lacks('blog.edit_post')]
    ]
    for (const [changes, refusal] of more) {
      await t.rejects(policy.updateUser(sam, bob.id, { firstName: 'x', ...changes }), refusal)
      await t.rejects(policy.updateUser(sam, sam.id, changes), refusal, 'nor to themselves')
      await t.rejects(policy.createUser(sam, { username: 'new', ...changes }), refusal)
    }
    await t.rejects(policy.createGroup(sam, 'new', [edit]), lacks('blog.edit_post'))
    await t.rejects(policy.updateGroup(sam, writers, { name: 'x', permissions: [add, edit] }), lacks('blog.edit_post'))
    t.match(await app.auth.users.get('id', bob.id), { firstName: '' }, 'nothing is changed')
    t.equal(await app.auth.users.getByNaturalKey('new'), null)

    const all = { isStaff: true, groups: [writers], userPermissions: [add] }
    t.match(await policy.updateUser(sam, bob.id, all), all)
    t.match(await policy.createUser(sam, { username: 'new', ...all }), { username: 'new', isStaff: true })
    const { id } = await policy.createGroup(sam, 'new', [add])
    await policy.updateGroup(sam, id, { name: 'newer' })
    t.match(await policy.updateUser(root, bob.id, { isSuperuser: true, userPermissions: [edit] }), {
      isSuperuser: true
    })
    await policy.updateGroup(root, id, { permissions: [edit] })
    await policy.updateGroup(sam, id, { permissions: [edit], name: 'what is there already is not given' })
    await t.rejects(policy.updateGroup(sam, id, { permissions: [] }), lacks('blog.edit_post'), 'nor taken away')
    await t.rejects(policy.deleteGroup(sam, id), lacks('blog.edit_post'))
  })

  t.test('staff cannot take over, strip, deactivate or delete an account with more permissions', async (t) => {
    const app = await build(t)
    const { policy, editors, user, sam, root } = await world(app)
    const { users, groups } = app.auth
    const eve = await user('eve')
    await groups.addToGroup(eve.id, editors)
    const peer = await user('peer', { isStaff: true }, 'blog.add_post')
    const takeovers: UserChanges[] = [{ password: 'other-Pass-1' }, { email: 'sam@example.com' }, { username: 'x' }]
    for (const changes of takeovers) {
      await t.rejects(policy.updateUser(sam, eve.id, changes), TAKEOVER)
      await policy.updateUser(root, eve.id, changes)
      await policy.updateUser(sam, peer.id, changes.username ? { username: 'y' } : changes)
    }
    const same = { email: 'sam@example.com', username: 'x', firstName: 'Eve', isActive: true }
    await policy.updateUser(sam, eve.id, same)
    await t.rejects(policy.updateUser(sam, eve.id, { isActive: false }), TAKEOVER)
    await t.rejects(policy.updateUser(sam, eve.id, { groups: [] }), TAKEOVER)
    await t.rejects(policy.deleteUser(sam, eve.id), TAKEOVER)
    await t.rejects(policy.removeFromGroup(sam, { ...eve, groups: [editors], userPermissions: [] }, editors), TAKEOVER)
    await policy.updateUser(root, eve.id, { isActive: false })
    await t.rejects(policy.updateUser(sam, eve.id, { isActive: true }), TAKEOVER, 'nor activate it')
    await t.rejects(policy.updateUser(sam, eve.id, { password: 'x' }), TAKEOVER, 'even if inactive')
    await policy.updateUser(root, eve.id, { groups: [] })
    await policy.updateUser(sam, eve.id, { isActive: true })
    await policy.deleteUser(sam, eve.id)
    t.equal(await users.get('id', eve.id), null)
  })

  t.test('only superusers can change superusers, and the last one must remain', async (t) => {
    const app = await build(t)
    const { policy, writers, sam, root } = await world(app)
    const other = { ...root, groups: [], userPermissions: [] }
    const changes: UserChanges[] = [{ firstName: 'x' }, { isActive: false }, { isSuperuser: false }, {}]
    for (const change of changes) await t.rejects(policy.updateUser(sam, root.id, change), SUPERUSER)
    await t.rejects(policy.deleteUser(sam, root.id), SUPERUSER)
    await t.rejects(policy.addToGroup(sam, other, writers), SUPERUSER)
    await t.rejects(policy.removeFromGroup(sam, other, writers), SUPERUSER)
    await t.rejects(
      policy.updateUser(root, root.id, { isSuperuser: false }),
      denied('The last superuser who can sign in must remain one.')
    )
    await policy.addToGroup(root, other, writers)
    await policy.updateUser(root, root.id, { firstName: 'Root' })
  })

  t.test('permissions of the caller are read from the database, and an inactive caller has none', async (t) => {
    const app = await build(t)
    const { policy, add, user, sam } = await world(app)
    const bob = await user('bob')
    const { id } = await user('claims', {}, 'blog.add_post')
    const notStaff = (await app.auth.users.get('id', id)) as User
    await t.rejects(policy.updateUser(notStaff, bob.id, { isStaff: true }), STAFF)
    await t.rejects(policy.updateUser(notStaff, sam.id, { password: 'x' }), TAKEOVER, 'staff has more')
    const asleep = { ...(await app.auth.users.updateUser(sam.id, { isActive: false })) }
    for (const caller of [asleep, null]) {
      await t.rejects(policy.updateUser(caller, bob.id, { userPermissions: [add] }), lacks('blog.add_post'))
    }
  })

  t.test('a user or group to which rows of the app refer cannot be deleted (ValidationError)', async (t) => {
    const app = await build(t)
    const { policy, user, root, writers } = await world(app)
    const { database } = app.auth
    const bob = await user('bob')
    await database.$executeRawUnsafe('CREATE TABLE post (author integer NOT NULL REFERENCES auth_user (id))')
    await database.$executeRaw`INSERT INTO post (author) VALUES (${bob.id})`
    const body = { non_field_errors: ['Other rows refer to this user. Deactivate the user instead.'] }
    await t.rejects(policy.deleteUser(root, bob.id), { name: 'ValidationError', body })
    t.match(await app.auth.users.get('id', bob.id), { isActive: true }, 'unchanged')
    await database.$executeRawUnsafe('CREATE TABLE club (party integer NOT NULL REFERENCES auth_group (id))')
    await database.$executeRaw`INSERT INTO club (party) VALUES (${writers})`
    const refusal = { name: 'ValidationError', body: { non_field_errors: ['Other rows refer to this group.'] } }
    await t.rejects(policy.deleteGroup(root, writers), refusal)
    t.equal((await app.auth.groups.getByNaturalKey('writers'))?.id, writers)
  })
})

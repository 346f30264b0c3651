/** Members and permissions of groups, managed by staff. */
import t from 'tap'
import { grant, permissionNamed } from '../../permissions/rights.ts'
import { onEachDatabase } from '../../support/build.ts'
import { addUser } from '../../support/journeys.ts'
import { ask, signIn, signInRoot } from './staff.ts'

onEachDatabase(t, (t, { build }) => {
  t.test('members are listed, added and removed, and invalid or unknown users return 400 or 404', async (t) => {
    const app = await build(t)
    const { as, id: root } = await signInRoot(app)
    const { id: alice } = await addUser(app)
    const { id: group } = await app.auth.groups.createGroup('editors')
    const url = `groups/${group}/users/`
    t.match(await ask(app, 'GET', url, as), [200, { count: 0, results: [] }])
    t.match(await ask(app, 'POST', url, as, { user: alice }), [201, { id: alice, username: 'alice', groups: [group] }])
    t.equal((await ask(app, 'POST', url, as, { user: `${alice}` }))[0], 201, 'adding again is no error')
    await ask(app, 'POST', url, as, { user: root })
    t.match(await ask(app, 'GET', `${url}?search=ali`, as), [200, { count: 1, results: [{ id: alice }] }])
    t.match(await ask(app, 'GET', `${url}?page_size=1&ordering=-id`, as), [200, { count: 2, results: [{ id: alice }] }])

    const faults: [user: unknown, fault: string][] = [
      [99, 'Invalid pk "99" - object does not exist.'],
      ['x', 'Incorrect type. Expected pk value, received str.'],
      [{ gt: 0 }, 'Incorrect type. Expected pk value, received dict.'],
      [[alice], 'Incorrect type. Expected pk value, received list.'],
      [true, 'Incorrect type. Expected pk value, received bool.'],
      [null, 'This field may not be null.'],
      [undefined, 'This field is required.']
    ]
    for (const [user, fault] of faults)
      t.strictSame(await ask(app, 'POST', url, as, { user }), [400, { user: [fault] }])
    t.strictSame(await ask(app, 'DELETE', `${url}${alice}/`, as), [204, null])
    const gone = [404, { detail: 'No User matches the given query.' }]
    t.strictSame(await ask(app, 'DELETE', `${url}${alice}/`, as), gone)
    t.strictSame(await ask(app, 'DELETE', `${url}99/`, as), gone)
    t.strictSame(await ask(app, 'DELETE', `${url}x/`, as), [404, { detail: 'Not found.' }])
    for (const method of ['GET', 'POST'] as const) {
      const answer = await ask(app, method, 'groups/99/users/', as, method === 'POST' ? { user: alice } : undefined)
      t.strictSame(answer, [404, { detail: 'No Group matches the given query.' }])
    }
    t.equal((await ask(app, 'DELETE', `groups/99/users/${alice}/`, as))[0], 404)
  })

  t.test('adding members requires auth.change_user, auth.view_group and the permissions of the group', async (t) => {
    const app = await build(t)
    const { as: sam, id } = await signIn(app, { username: 'sam', isStaff: true }, 'auth.change_user')
    const { id: root } = await signInRoot(app)
    const { id: alice } = await addUser(app)
    const editors = (await app.auth.groups.createGroup('editors', [await permissionNamed(app, 'blog.edit_post')])).id
    await app.auth.groups.addToGroup(root, editors)
    const url = `groups/${editors}/users/`
    t.equal((await ask(app, 'POST', url, sam, { user: alice }))[0], 403)
    await grant(app, id, 'auth.view_group')
    t.equal((await ask(app, 'GET', url, sam))[0], 403)
    const lacks = [403, { detail: 'You cannot grant a permission that you do not hold: blog.edit_post.' }]
    t.strictSame(await ask(app, 'POST', url, sam, { user: alice }), lacks)
    t.strictSame(await ask(app, 'POST', url, sam, { user: id }), lacks)
    t.match(await ask(app, 'DELETE', `${url}${root}/`, sam), [403, { detail: /superuser/ }])
    await grant(app, id, 'blog.edit_post')
    await grant(app, id, 'auth.view_user')
    t.equal((await ask(app, 'POST', url, sam, { user: alice }))[0], 201)
    t.equal((await ask(app, 'DELETE', `${url}${alice}/`, sam))[0], 204)
    t.match(await ask(app, 'GET', url, sam), [200, { count: 1 }])
  })

  t.test('groups are created and changed with permissions, of which staff can grant only their own', async (t) => {
    const app = await build(t)
    const { as } = await signInRoot(app)
    const { as: sam } = await signIn(app, { username: 'sam', isStaff: true }, 'auth.add_group', 'auth.change_group')
    const [one, two] = [await permissionNamed(app, 'blog.one'), await permissionNamed(app, 'blog.two')]
    const [, group] = await ask(app, 'POST', 'groups/', as, { name: 'editors', permissions: [two, one] })
    t.match(group, { name: 'editors', permissions: [one, two] })
    const url = `groups/${group.id}/`
    t.strictSame(await ask(app, 'GET', url, as), [200, group])
    t.match(await ask(app, 'PATCH', url, as, { permissions: [two] }), [200, { name: 'editors', permissions: [two] }])
    t.match(await ask(app, 'PUT', url, as, { name: 'writers' }), [200, { name: 'writers', permissions: [two] }])
    await ask(app, 'POST', 'groups/', as, { name: 'taken' })
    const faults = {
      name: ['group with this name already exists.'],
      permissions: ['Invalid pk "99" - object does not exist.']
    }
    t.strictSame(await ask(app, 'PATCH', url, as, { name: 'taken', permissions: [99] }), [400, faults])
    t.strictSame(await ask(app, 'POST', 'groups/', as, { name: 'taken', permissions: [99, 98] }), [400, faults])
    t.strictSame(await ask(app, 'PATCH', 'groups/99/', as, { permissions: 'x' }), [
      404,
      { detail: 'No Group matches the given query.' }
    ])
    const lacks = [403, { detail: 'You cannot grant a permission that you do not hold: blog.one.' }]
    t.strictSame(await ask(app, 'POST', 'groups/', sam, { name: 'mine', permissions: [one] }), lacks)
    t.strictSame(await ask(app, 'PATCH', url, sam, { permissions: [one, two] }), lacks)
    t.match(await ask(app, 'PATCH', url, sam, { permissions: [] }), [403, { detail: /^You cannot grant a permission/ }])
    t.match(await ask(app, 'PATCH', url, as, { permissions: [] }), [200, { permissions: [] }])
    t.match(await ask(app, 'GET', 'groups/?search=WRIT', as), [200, { count: 1, results: [{ name: 'writers' }] }])
    t.match(await ask(app, 'GET', 'groups/?ordering=-name', as), [
      200,
      { results: [{ name: 'writers' }, { name: 'taken' }] }
    ])
  })
})

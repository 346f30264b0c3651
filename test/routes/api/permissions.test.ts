/** The read-only list of permissions. */
import t from 'tap'
import { onEachDatabase } from '../../support/build.ts'
import { watchStatements } from '../../tokens/statements.ts'
import { ask, signIn, signInRoot } from './staff.ts'

onEachDatabase(t, (t, { build }) => {
  t.test('permissions are listed in the order of Django, searched and filtered, and read-only (405)', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { as } = await signInRoot(app)
    const { as: sam } = await signIn(app, { username: 'sam', isStaff: true })
    await app.auth.permissions.syncPermissions([
      { appLabel: 'shop', model: 'order', permissions: [['send_order', 'Can send 100% of an order']] },
      { appLabel: 'blog', model: 'post', defaultPermissions: ['view', 'add'] }
    ])
    const named = async (query: string) => {
      const [status, body] = await ask(app, 'GET', `permissions/?${query}`, as)
      return status === 200
        ? body.results.map((row: { permission: string }) => row.permission).join(' ')
        : [status, body]
    }
    const blog = 'blog.add_post blog.view_post'
    const shop = 'shop.add_order shop.change_order shop.delete_order shop.send_order shop.view_order'
    const answers: [query: string, answer: unknown][] = [
      ['', `${blog} ${shop}`],
      ['app_label=blog', blog],
      ['model=order', shop],
      ['codename=view_post', 'blog.view_post'],
      ['app_label=blog&model=order', ''],
      ['search=view', 'blog.view_post shop.view_order'],
      ['search=100%25', 'shop.send_order'],
      ['search=CAN+send', 'shop.send_order'],
      ['search=d_p', 'blog.add_post'],
      ['ordering=-app_label,-codename&page_size=2', 'shop.view_order shop.send_order'],
      ['ordering=-id&page_size=1', 'blog.add_post'],
      ['ordering=contentType', `${blog} ${shop}`],
      [
        `app_label=${'x'.repeat(101)}`,
        [400, { app_label: ['Ensure this value has at most 100 characters (it has 101).'] }]
      ],
      ['codename=%00', [400, { codename: ['Null characters are not allowed.'] }]],
      ['page=-1', [404, { detail: 'Invalid page.' }]]
    ]
    for (const [query, answer] of answers) t.strictSame(await named(query), answer, query)

    const row = await app.auth.permissions.getByNaturalKey('send_order', 'shop', 'order')
    const shown = {
      ...{ id: row?.id, name: 'Can send 100% of an order', codename: 'send_order' },
      ...{ content_type: { app_label: 'shop', model: 'order' }, permission: 'shop.send_order' }
    }
    t.strictSame(await ask(app, 'GET', `permissions/${row?.id}/`, as), [200, shown])
    t.strictSame(await ask(app, 'GET', 'permissions/999/', as), [
      404,
      { detail: 'No Permission matches the given query.' }
    ])
    t.strictSame(await ask(app, 'GET', 'permissions/x/', as), [404, { detail: 'Not found.' }])
    for (const method of ['POST', 'PUT', 'DELETE'] as const) {
      t.equal((await ask(app, method, 'permissions/', as, method === 'DELETE' ? undefined : {}))[0], 405)
    }
    for (const path of ['permissions/', `permissions/${row?.id}/`]) {
      t.equal((await ask(app, 'GET', path))[0], 401)
      t.equal((await ask(app, 'GET', path, sam))[0], 403)
    }
    const statements = await statementsOf(() => ask(app, 'GET', 'permissions/', as))
    t.strictSame(statements, [
      'SELECT auth_user',
      ...Array(2).fill('SELECT auth_permission'),
      'SELECT django_content_type'
    ])
  })

  t.test('users, groups, content types and permissions are found by natural key', async (t) => {
    const { users, groups, permissions } = (await build(t)).auth
    await permissions.syncPermissions([{ appLabel: 'blog', model: 'post' }])
    await users.createUser({ username: 'alice' })
    await groups.createGroup('editors')
    t.match(await users.getByNaturalKey('alice'), { username: 'alice' })
    t.match(await groups.getByNaturalKey('editors'), { name: 'editors' })
    t.match(await permissions.getContentTypeByNaturalKey('blog', 'post'), { appLabel: 'blog', model: 'post' })
    t.match(await permissions.getByNaturalKey('add_post', 'blog', 'post'), { codename: 'add_post' })
    for (const odd of ['', 'x', '\0', '\ud800', 'x'.repeat(1000), { contains: '' } as unknown as string]) {
      t.equal(await users.getByNaturalKey(odd), null)
      t.equal(await groups.getByNaturalKey(odd), null)
      t.equal(await permissions.getContentTypeByNaturalKey('blog', odd), null)
      t.equal(await permissions.getContentTypeByNaturalKey(odd, 'post'), null)
      t.equal(await permissions.getByNaturalKey(odd, 'blog', 'post'), null)
      t.equal(await permissions.getByNaturalKey('add_post', odd, 'post'), null)
    }
  })
})

/** Management of users by staff. */
import t from 'tap'
import { permissionNamed } from '../../permissions/rights.ts'
import { onEachDatabase } from '../../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../../support/journeys.ts'
import { ask, type Method, signIn, signInRoot } from './staff.ts'

onEachDatabase(t, (t, { build }) => {
  t.test('each method requires staff status and its permission (else 401 or 403)', async (t) => {
    const app = await build(t)
    const { as: sam, id } = await signIn(app, { username: 'sam', isStaff: true })
    const { as: alice, id: aliceId } = await signIn(app, { username: 'alice' }, 'auth.view_user', 'auth.change_user')
    const tries: [Method, string, string, object?][] = [
      ['GET', '', 'view'],
      ['GET', `${aliceId}/`, 'view'],
      ['HEAD', '', 'view'],
      ['POST', '', 'add', { username: 'x' }],
      ['PUT', `${aliceId}/`, 'change', { username: 'alice' }],
      ['PATCH', `${aliceId}/`, 'change', {}],
      ['DELETE', '999/', 'delete']
    ]
    for (const [method, path, , payload] of tries) {
      t.equal((await ask(app, method, `users/${path}`, {}, payload))[0], 401, `${method} anonymously`)
      t.equal((await ask(app, method, `users/${path}`, alice, payload))[0], 403, `${method} without staff status`)
      t.equal((await ask(app, method, `users/${path}`, sam, payload))[0], 403, `${method} without a permission`)
    }
    for (const [method, path, action, payload] of tries) {
      await app.auth.permissions.grant(id, ...(await known(`auth.${action}_user`)))
      t.not((await ask(app, method, `users/${path}`, sam, payload))[0], 403, `${method} with ${action}`)
      await app.auth.permissions.revoke(id, `auth.${action}_user`)
    }

    async function known(name: string) {
      await permissionNamed(app, name)
      return [name]
    }
  })

  t.test('users are created, read, changed and deleted, and no response contains the password', async (t) => {
    const app = await build(t)
    const { as } = await signInRoot(app)
    const group = await app.auth.groups.createGroup('editors')
    const permission = await permissionNamed(app, 'blog.add_post')
    const given = {
      ...{
        username: ' bob ',
        email: 'Bob@EXAMPLE.com',
        first_name: 'Bob',
        is_staff: 'yes',
        password: 'correct-horse-9'
      },
      ...{
        groups: [group.id, `${group.id}`],
        user_permissions: [permission],
        id: 77,
        date_joined: '2000-01-01T00:00:00Z'
      },
      ...{ __proto__: { is_superuser: true }, unknown: 1 }
    }

    const [made, bob] = await ask(app, 'POST', 'users/', as, given)
    t.equal(made, 201)
    const { id, date_joined, ...rest } = bob
    t.not(id, 77)
    t.match(date_joined, /^20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}000)?Z$/)
    t.strictSame(rest, {
      ...{ username: 'bob', email: 'Bob@example.com', first_name: 'Bob', last_name: '' },
      ...{ is_active: true, is_staff: true, is_superuser: false, last_login: null },
      ...{ groups: [group.id], user_permissions: [permission] }
    })
    t.strictSame(Object.keys(bob), [
      ...['id', 'username', 'email', 'first_name', 'last_name', 'is_active', 'is_staff', 'is_superuser'],
      ...['date_joined', 'last_login', 'groups', 'user_permissions']
    ])
    t.ok((await obtainPair(app, { username: 'bob', password: 'correct-horse-9' })).access)
    t.strictSame(await ask(app, 'GET', `users/${id}/`, as), [200, bob])

    const [, patched] = await ask(app, 'PATCH', `users/${id}/`, as, {
      last_name: 'B',
      groups: [],
      password: 'battery-staple-7'
    })
    t.strictSame(patched, { ...bob, last_name: 'B', groups: [] })
    t.ok((await obtainPair(app, { username: 'bob', password: 'battery-staple-7' })).access)
    const put = { username: 'robert', is_active: false, email: '' }
    const [, replaced] = await ask(app, 'PUT', `users/${id}/`, as, put)
    t.strictSame(replaced, { ...patched, ...put }, 'omitted fields are kept, as in Django')
    t.strictSame(await ask(app, 'DELETE', `users/${id}/`, as), [204, null])
    const gone = [404, { detail: 'No User matches the given query.' }]
    for (const method of ['GET', 'PATCH', 'DELETE'] as const) {
      t.strictSame(await ask(app, method, `users/${id}/`, as, method === 'PATCH' ? { email: 'x' } : undefined), gone)
    }
    t.match(await ask(app, 'PUT', 'users/none/', as, {}), [404, { detail: 'Not found.' }])
  })

  t.test('a user created without password gets an unusable one', async (t) => {
    const app = await build(t)
    const { as } = await signInRoot(app)
    const [, { id }] = await ask(app, 'POST', 'users/', as, { username: 'bob' })
    t.match(await app.auth.users.get('id', id), { password: /^!/, isActive: true, email: '' })
  })

  t.test('all errors are returned at once with the messages of Django (400)', async (t) => {
    const app = await build(t)
    const { as, id } = await signInRoot(app)
    await addUser(app)
    const USERNAME = 'Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.'
    const TAKEN = 'A user with that username already exists.'
    const refusals: [given: object, faults: object][] = [
      [{}, { username: ['This field is required.'] }],
      [
        { username: 'a b', email: 'x', is_active: 'maybe', groups: 'x', user_permissions: [99999], password: '12345' },
        {
          username: [USERNAME],
          email: ['Enter a valid email address.'],
          is_active: ['Must be a valid boolean.'],
          groups: ['Expected a list of items but got type "str".'],
          user_permissions: ['Invalid pk "99999" - object does not exist.'],
          password: [
            'This password is too short. It must contain at least 8 characters.',
            'This password is too common.',
            'This password is entirely numeric.'
          ]
        }
      ],
      [
        { username: 'alice', groups: [7, 8] },
        { username: [TAKEN], groups: ['Invalid pk "7" - object does not exist.'] }
      ],
      [{ username: 'ａｌｉｃｅ' }, { username: [TAKEN] }],
      [{ username: 'alicia99', password: 'alicia99!' }, { password: ['The password is too similar to the username.'] }],
      [{ username: 'x'.repeat(151) }, { username: ['Ensure this field has no more than 150 characters.'] }],
      [
        { username: null, email: null, is_staff: null, groups: null, password: null },
        Object.fromEntries(
          ['username', 'email', 'is_staff', 'groups', 'password'].map((name) => [name, ['This field may not be null.']])
        )
      ],
      [{ username: 'bob', password: '' }, { password: ['This field may not be blank.'] }],
      [
        { username: 'bob', password: 'x'.repeat(1025) },
        { password: ['Ensure this field has no more than 1024 bytes.'] }
      ],
      [
        { username: 'bob\0', email: 'a\0@b.cc' },
        { username: [/Null char/], email: [/valid email/, /Null char/] }
      ],
      [
        { username: { contains: '' }, email: ['a@b.cc'] },
        { username: ['Not a valid string.'], email: [/valid string/] }
      ]
    ]
    for (const [given, faults] of refusals) {
      const [status, body] = await ask(app, 'POST', 'users/', as, given)
      t.equal(status, 400)
      t.match(body, faults)
      t.strictSame(Object.keys(body), Object.keys(faults), 'no other errors')
    }
    t.strictSame(await ask(app, 'PATCH', `users/${id}/`, as, { username: 'alice' }), [400, { username: [TAKEN] }])
    t.equal((await ask(app, 'PATCH', `users/${id}/`, as, { username: 'root' }))[0], 200, 'the own username')
    t.equal(await app.auth.database.user.count(), 2)
  })

  t.test('with loginField "email" email addresses must be unique in any case', async (t) => {
    const app = await build(t, { loginField: 'email' })
    const { users, tokens } = app.auth
    const { id } = await users.createSuperuser({ username: 'root', email: 'root@x.cc', password: PASSWORD })
    const { access } = await tokens.obtainPair({ username: 'root@x.cc', password: PASSWORD })
    const taken = [400, { email: ['user with this email address already exists.'] }]
    t.strictSame(await ask(app, 'POST', 'users/', bearer(access), { username: 'x', email: 'ROOT@x.cc' }), taken)
    t.equal((await ask(app, 'PATCH', `users/${id}/`, bearer(access), { email: 'root@X.cc' }))[0], 200)
    t.equal((await ask(app, 'POST', 'users/', bearer(access), { username: 'x', email: '' }))[0], 201)
  })

  t.test('urlencoded and multipart forms are accepted, with repeated fields for lists', async (t) => {
    const app = await build(t)
    const { as } = await signInRoot(app)
    const { id: one } = await app.auth.groups.createGroup('one')
    const { id: two } = await app.auth.groups.createGroup('two')
    const form = { ...as, 'content-type': 'application/x-www-form-urlencoded' }
    const [, bob] = await ask(
      app,
      'POST',
      'users/',
      form,
      `username=bob&groups=${one}&groups=${two}&is_staff=on&email=a@b.cc`
    )
    t.match(bob, { groups: [one, two], is_staff: true, is_active: true, email: 'a@b.cc' })
    const boundary = { ...as, 'content-type': 'multipart/form-data; boundary=b' }
    const part = (name: string, value: unknown) =>
      `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
    const body = `${part('groups', two)}${part('is_staff', 'false')}${part('email', '')}--b--\r\n`
    t.match(await ask(app, 'PATCH', `users/${bob.id}/`, boundary, body), [
      200,
      { groups: [two], is_staff: false, email: '' }
    ])
    const wrong = [400, { groups: ['Incorrect type. Expected pk value, received str.'] }]
    t.strictSame(await ask(app, 'PATCH', `users/${bob.id}/`, form, 'groups='), wrong)
  })

  t.test('OPTIONS describes type, required and read_only of each field', async (t) => {
    const app = await build(t)
    const { as } = await signInRoot(app)
    const [, { actions }] = await ask(app, 'OPTIONS', 'users/', as)
    const kinds = Object.entries(
      actions.POST as Record<string, { type: string; required: boolean; read_only: boolean }>
    )
    t.strictSame(Object.fromEntries(kinds.map(([name, { type }]) => [name, type])), {
      ...{ id: 'integer', username: 'string', email: 'email', first_name: 'string', last_name: 'string' },
      ...{ is_active: 'boolean', is_staff: 'boolean', is_superuser: 'boolean' },
      ...{
        date_joined: 'datetime',
        last_login: 'datetime',
        groups: 'field',
        user_permissions: 'field',
        password: 'string'
      }
    })
    t.strictSame(
      kinds.filter(([, { required }]) => required).map(([name]) => name),
      ['username']
    )
    t.strictSame(
      kinds.filter(([, { read_only }]) => read_only).map(([name]) => name),
      ['id', 'date_joined', 'last_login']
    )
  })

  t.test('too large and malformed requests are rejected (413, 400 or 404)', async (t) => {
    const app = await build(t)
    const { as } = await signInRoot(app)
    const huge = JSON.stringify({ username: 'x'.repeat(10_000_000) })
    t.equal((await ask(app, 'POST', 'users/', as, huge))[0], 413)
    const many = { username: 'bob', groups: Array.from({ length: 5001 }, (_, key) => key) }
    const faults = { groups: ['Ensure this field has no more than 5000 elements.'] }
    t.strictSame(await ask(app, 'POST', 'users/', as, many), [400, faults])
    for (const body of ['[]', '"x"', '1', '{"username":', '{"__proto__":{"username":"x"}}']) {
      t.equal((await ask(app, 'POST', 'users/', as, body))[0], 400, body)
    }
    for (const id of ['x', '0', '-1', '1e0', '%00', '__proto__', '1 OR 1=1', '9'.repeat(30)]) {
      t.strictSame(await ask(app, 'GET', `users/${encodeURIComponent(id)}/`, as), [404, { detail: 'Not found.' }], id)
    }
  })

  t.test('of two superusers that remove each other concurrently one remains', async (t) => {
    const app = await build(t)
    const other = await build(t, { databaseUrl: app.auth.settings.databaseUrl })
    const [one, two] = [await signInRoot(app, 'one'), await signInRoot(app, 'two')]
    const answers = await Promise.all([
      ask(app, 'PATCH', `users/${two.id}/`, one.as, { is_superuser: false }),
      ask(other, 'DELETE', `users/${one.id}/`, two.as)
    ])
    const [loss] = answers.filter(([status]) => status >= 400)
    // The later caller is the last superuser, or already demoted or deleted.
    t.equal(answers.filter(([status]) => status < 300).length, 1)
    t.match(loss, [403, { detail: /superuser|permission/ }])
    t.equal(await app.auth.database.user.count({ where: { isSuperuser: true, isActive: true } }), 1)
  })

  t.test(
    'a new password or a deactivation ends the logins of the user, also the login that makes the change',
    async (t) => {
      const app = await build(t)
      const { as: root, id: rootId } = await signInRoot(app)
      const { as: alice, id } = await signIn(app, { username: 'alice' })
      const { as: elsewhere } = await signIn(app, { username: 'bob' })
      const isIn = async (as: typeof root) =>
        (await app.inject({ url: '/api/protected/', headers: as })).statusCode === 200
      const change = async (of: number, payload: object) => (await ask(app, 'PATCH', `users/${of}/`, root, payload))[0]

      t.equal(await change(id, { first_name: 'Alice', is_active: true }), 200)
      t.ok(await isIn(alice), 'other changes do not')
      t.equal(await change(id, { password: 'an0ther-Pass!' }), 200)
      t.notOk(await isIn(alice))
      const again = bearer((await obtainPair(app, { username: 'alice', password: 'an0ther-Pass!' })).access)
      t.equal(await change(id, { is_active: false, groups: [] }), 200)
      t.notOk(await isIn(again))
      t.equal(await change(rootId, { password: 'an0ther-Pass!', current_password: PASSWORD }), 200)
      t.notOk(await isIn(root))
      const next = bearer((await obtainPair(app, { username: 'root', password: 'an0ther-Pass!' })).access)
      t.equal((await ask(app, 'DELETE', `users/${id + 1}/`, next))[0], 204)
      t.notOk(await isIn(elsewhere))
    }
  )

  t.test('a demoted caller has no permissions, with earlier and with new tokens (403)', async (t) => {
    const app = await build(t)
    await signInRoot(app, 'other')
    const { as, id } = await signInRoot(app)
    await app.auth.users.updateUser(id, { isSuperuser: false })
    t.equal((await ask(app, 'GET', 'users/', as))[0], 403)
    const access = bearer((await obtainPair(app, { username: 'root', password: PASSWORD })).access)
    t.equal((await ask(app, 'POST', 'users/', access, { username: 'x' }))[0], 403)
  })
})

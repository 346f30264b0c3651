/** Management of groups by staff. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { grant } from '../../permissions/rights.ts'
import { onEachDatabase } from '../../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../../support/journeys.ts'

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS'

onEachDatabase(t, (t, { build }) => {
  const ask = async (app: FastifyInstance, method: Method, path: string, headers = {}, payload?: object) => {
    const answer = await app.inject({ method, url: `/api/groups/${path}`, headers, ...(payload && { payload }) })
    return [answer.statusCode, answer.body === '' ? null : answer.json()]
  }
  const signIn = async (app: FastifyInstance, username: string, rights: object = {}) => {
    const { id } = await addUser(app, { username, ...rights })
    return { id, as: bearer((await obtainPair(app, { username, password: PASSWORD })).access) }
  }

  t.test('each method requires staff status and its permission (else 401 or 403)', async (t) => {
    const app = await build(t)
    const { as: root } = await signIn(app, 'root', { isStaff: true, isSuperuser: true })
    const { as: sam, id } = await signIn(app, 'sam', { isStaff: true })
    const { as: alice } = await signIn(app, 'alice')
    const [, { id: group }] = await ask(app, 'POST', '', root, { name: 'editors' })

    const tries: [Method, string, object?][] = [
      ['GET', ''],
      ['GET', `${group}/`],
      ['POST', '', { name: 'x' }],
      ['PATCH', `${group}/`, { name: 'x' }],
      ['DELETE', '999/']
    ]
    for (const [method, path, payload] of tries) {
      t.equal((await ask(app, method, path, {}, payload))[0], 401)
      t.equal((await ask(app, method, path, alice, payload))[0], 403)
      t.equal((await ask(app, method, path, sam, payload))[0], 403, `${method} without a permission`)
    }
    await grant(app, id, 'auth.view_group')
    t.match(await ask(app, 'GET', '', sam), [200, { count: 1, results: [{ id: group, name: 'editors' }] }])
    t.equal((await ask(app, 'POST', '', sam, { name: 'x' }))[0], 403)
  })

  t.test('groups are created, read, renamed, listed and deleted', async (t) => {
    const app = await build(t)
    const { as, id } = await signIn(app, 'root', { isStaff: true, isSuperuser: true })
    const [made, { id: group }] = await ask(app, 'POST', '', as, { name: ' editors ' })
    await ask(app, 'POST', '', as, { name: 'authors' })
    await app.auth.groups.addToGroup(id, group)

    t.equal(made, 201)
    t.strictSame(await ask(app, 'GET', `${group}/`, as), [200, { id: group, name: 'editors', permissions: [] }])
    t.strictSame(await ask(app, 'PATCH', `${group}/`, as, {}), [200, { id: group, name: 'editors', permissions: [] }])
    t.strictSame(await ask(app, 'PUT', `${group}/`, as, { name: 'readers' }), [
      200,
      { id: group, name: 'readers', permissions: [] }
    ])
    t.strictSame(await ask(app, 'PUT', `${group}/`, as, {}), [400, { name: ['This field is required.'] }])
    const taken = [400, { name: ['group with this name already exists.'] }]
    t.strictSame(await ask(app, 'PATCH', `${group}/`, as, { name: 'authors' }), taken)
    t.strictSame(await ask(app, 'POST', '', as, { name: 'authors' }), taken)
    t.match(await ask(app, 'POST', '', as, { name: 'x'.repeat(151) }), [400, { name: [/no more than 150/] }])
    t.strictSame(await ask(app, 'DELETE', `${group}/`, as), [204, null])
    t.strictSame(await ask(app, 'GET', `${group}/`, as), [404, { detail: 'No Group matches the given query.' }])
    t.equal((await ask(app, 'PATCH', `${group}/`, as, { name: 'x' }))[0], 404)
    t.equal((await ask(app, 'DELETE', `${group}/`, as))[0], 404)
    t.match(await ask(app, 'GET', '?page=1&page_size=1', as), [
      200,
      { count: 1, next: null, results: [{ name: 'authors' }] }
    ])
    t.equal((await ask(app, 'GET', '?page=-1', as))[0], 404)
  })

  t.test('malformed ids return 404, and names that are not strings 400', async (t) => {
    const app = await build(t)
    const { as } = await signIn(app, 'root', { isStaff: true, isSuperuser: true })
    for (const id of ['x', '0', '-1', '1e0', '%00', '__proto__', '1 OR 1=1', '9'.repeat(30)]) {
      t.strictSame(await ask(app, 'GET', `${encodeURIComponent(id)}/`, as), [404, { detail: 'Not found.' }], id)
    }
    for (const name of [{ contains: '' }, ['x'], null, true]) {
      t.equal((await ask(app, 'POST', '', as, { name }))[0], 400, JSON.stringify(name))
    }
  })
})

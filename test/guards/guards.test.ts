import type { FastifyInstance } from 'fastify'
import t from 'tap'
import {
  allowAny,
  and,
  hasPermission,
  isAdminUser,
  isAuthenticated,
  isAuthenticatedOrReadOnly,
  not
} from '../../src/index.ts'
import { grant, grantByGroup } from '../permissions/rights.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { watchStatements } from '../tokens/statements.ts'
import { accessOf, ask, DENIED, type Guards, guarded, NOBODY } from './guarded.ts'

const STANDARD: Guards = {
  any: allowAny,
  authenticated: isAuthenticated,
  admin: isAdminUser,
  readonly: isAuthenticatedOrReadOnly,
  permission: hasPermission('blog.add_post')
}

/** Expected status of a POST to each route, by caller. */
type Verdicts = Record<string, Record<keyof typeof STANDARD, number>>

const STATELESS: Verdicts = {
  anonymous: { any: 200, authenticated: 401, admin: 401, readonly: 401, permission: 401 },
  user: { any: 200, authenticated: 200, admin: 403, readonly: 200, permission: 403 },
  author: { any: 200, authenticated: 200, admin: 403, readonly: 200, permission: 200 },
  member: { any: 200, authenticated: 200, admin: 403, readonly: 200, permission: 200 },
  staff: { any: 200, authenticated: 200, admin: 200, readonly: 200, permission: 403 },
  superuser: { any: 200, authenticated: 200, admin: 403, readonly: 200, permission: 200 },
  // Accepted until the token expires; permissions are always read from the database.
  inactive: { any: 200, authenticated: 200, admin: 403, readonly: 200, permission: 403 },
  gone: { any: 200, authenticated: 200, admin: 403, readonly: 200, permission: 403 },
  invalid: { any: 401, authenticated: 401, admin: 401, readonly: 401, permission: 401 }
}

const REFUSED = { any: 401, authenticated: 401, admin: 401, readonly: 401, permission: 401 }
const STATEFUL: Verdicts = { ...STATELESS, inactive: REFUSED, gone: REFUSED }

async function everybody(app: FastifyInstance): Promise<Record<string, string | undefined>> {
  const add = async (username: string, more = {}) => (await addUser(app, { username, ...more })).id
  const [author, member] = [await add('author'), await add('member')]
  const inactive = await add('inactive', { isActive: false, isStaff: true, isSuperuser: true })
  await grant(app, author, 'blog.add_post')
  await grantByGroup(app, member, 'blog.add_post')
  await grant(app, inactive, 'blog.add_post')
  return {
    anonymous: undefined,
    user: accessOf(await add('user')),
    author: accessOf(author),
    member: accessOf(member),
    staff: accessOf(await add('staff', { isStaff: true })),
    superuser: accessOf(await add('superuser', { isSuperuser: true })),
    inactive: accessOf(inactive),
    gone: accessOf(77),
    invalid: 'x'
  }
}

onEachDatabase(t, (t, world) => {
  for (const [stateless, verdicts] of [
    [true, STATELESS],
    [false, STATEFUL]
  ] as const) {
    t.test(`each guard accepts or rejects each caller by ${stateless ? 'its token' : 'its user row'}`, async (t) => {
      const app = await guarded(world, t, STANDARD, { stateless })
      const tokens = await everybody(app)

      for (const [who, expected] of Object.entries(verdicts)) {
        for (const [url, status] of Object.entries(expected)) {
          const answer = await ask(app, url, tokens[who], 'POST')

          t.equal(answer.statusCode, status, `${who} at ${url}`)
          t.equal(answer.headers['www-authenticate'], status === 401 ? 'Bearer realm="api"' : undefined)
          if (status === 403) t.strictSame(answer.json(), DENIED)
          if (status === 401 && who === 'anonymous') t.strictSame(answer.json(), NOBODY)
        }
      }
    })
  }

  t.test('isAuthenticatedOrReadOnly accepts anonymous reads, but rejects invalid tokens (401)', async (t) => {
    const app = await guarded(world, t, STANDARD)
    const good = accessOf((await addUser(app)).id)

    for (const method of ['GET', 'HEAD', 'OPTIONS'] as const) {
      t.equal((await ask(app, 'readonly', undefined, method)).statusCode, 200, method)
      t.equal((await ask(app, 'readonly', good, method)).statusCode, 200, method)
      t.equal((await ask(app, 'readonly', 'x', method)).statusCode, 401, method)
    }
    t.equal((await ask(app, 'readonly', undefined, 'DELETE')).statusCode, 401)
  })

  t.test('an inactive user accepted without checkUserIsActive has no permissions', async (t) => {
    const app = await guarded(world, t, STANDARD, { stateless: false, checkUserIsActive: false })
    const { inactive } = await everybody(app)

    const statuses = await Promise.all(
      Object.keys(STANDARD).map(async (url) => (await ask(app, url, inactive)).statusCode)
    )

    t.strictSame(statuses, [200, 200, 403, 200, 403])
  })

  t.test('hasPermission requires all its permissions, with no more queries than for one', async (t) => {
    const statementsOf = watchStatements(t)
    const all = hasPermission('blog.add_post', 'blog.view_post', 'shop.add_post')
    const app = await guarded(world, t, { all, twice: and(all, not(hasPermission('x.y')), all), ...STANDARD })
    const [alice, bob] = [await addUser(app), await addUser(app, { username: 'bob' })]
    for (const name of ['blog.add_post', 'blog.view_post']) await grant(app, bob.id, name)
    for (const name of ['blog.add_post', 'blog.view_post', 'shop.add_post']) await grantByGroup(app, alice.id, name)
    const costOf = (url: string, token?: string) => statementsOf(() => ask(app, url, token))

    t.equal((await ask(app, 'all', accessOf(alice.id))).statusCode, 200)
    t.equal((await ask(app, 'twice', accessOf(alice.id))).statusCode, 200)
    t.equal((await ask(app, 'all', accessOf(bob.id))).statusCode, 403)
    const lookUp = ['SELECT auth_user', 'SELECT auth_permission', 'SELECT django_content_type']
    for (const url of ['permission', 'all', 'twice']) t.strictSame(await costOf(url, accessOf(alice.id)), lookUp, url)
    t.strictSame(await costOf('admin', accessOf(alice.id)), ['SELECT auth_user'])
    t.strictSame(
      await costOf('admin', accessOf(alice.id, { is_staff: true })),
      ['SELECT auth_user'],
      'a claim does not count'
    )
    for (const url of ['any', 'authenticated', 'readonly']) t.strictSame(await costOf(url, accessOf(alice.id)), [], url)
    for (const url of Object.keys(STANDARD)) t.strictSame(await costOf(url), [], `${url}, anonymously`)
  })
})

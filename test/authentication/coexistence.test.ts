/** Latchkey next to another Latchkey, and to tokens and error handlers of the host. */
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import latchkey, { errorHandler, guard, isAdminUser, isAuthenticated } from '../../src/index.ts'
import { worldOf } from '../support/build.ts'
import { addUser, bearer, obtainPair } from '../support/journeys.ts'
import { CHEAP } from '../support/settings.ts'
import { mint } from '../support/tokens.ts'

const { build, databaseUrl } = worldOf('sqlite')
const access = mint({ claims: { token_type: 'access', username: 'alice' } })
const deny = guard(() => false, { message: 'No.' })

t.test('instances with different keys reject tokens of each other (401)', async (t) => {
  const [one, other] = [
    await build(t),
    await build(t, { signingKey: 'another-key-0123456789-abcdefghijklmnopqrstuvwxyz' })
  ]
  const apps = [one, other]
  const pairs = await Promise.all(apps.map(async (app) => obtainPair(app, await addUser(app))))

  for (const [index, app] of apps.entries()) {
    for (const [owner, pair] of pairs.entries()) {
      const shown = await app.inject({ url: '/api/protected/', headers: bearer(pair.access) })
      const verified = await app.inject({ method: 'POST', url: '/api/token/verify/', payload: { token: pair.refresh } })

      t.equal(shown.statusCode, owner === index ? 200 : 401)
      t.equal(verified.statusCode, owner === index ? 200 : 401)
    }
  }
})

t.test('two instances work in separate scopes of one app', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  const keys = {
    a: 'the-key-of-a-0123456789-abcdefghijklmnopqrstuvwxyz',
    b: 'the-key-of-b-0123456789-abcdefghijklmnopqrstuvwxyz'
  }
  for (const [name, signingKey] of Object.entries(keys)) {
    app.register(async (scope) => {
      await scope.register(latchkey, { ...CHEAP, signingKey, databaseUrl: await databaseUrl(t) })
      scope.get(`/${name}`, { preHandler: isAuthenticated }, async ({ user }) => ({ username: user?.username }))
    })
  }
  const tokenOf = (key: string) => mint({ key, claims: { token_type: 'access', username: 'alice' } })
  const statusOf = async (url: string, key: string) =>
    (await app.inject({ url, headers: bearer(tokenOf(key)) })).statusCode

  t.strictSame([await statusOf('/a', keys.a), await statusOf('/b', keys.b)], [200, 200])
  t.strictSame([await statusOf('/a', keys.b), await statusOf('/b', keys.a)], [401, 401])
})

/** Builds an app of a host that has its own tokens with @fastify/jwt. */
async function hostWith(t: Test, order: 'before' | 'after'): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  const own = () => app.register(fastifyJwt, { secret: 'the secret of the host itself', decoratorName: 'member' })
  if (order === 'before') await own()
  await app.register(latchkey, { ...CHEAP, databaseUrl: await databaseUrl(t) })
  if (order === 'after') await own()
  app.get('/theirs', async (request) => {
    await request.jwtVerify()
    return { member: (request as unknown as { member: object }).member, user: request.user }
  })
  app.get('/ours', { preHandler: isAuthenticated }, async ({ user }) => ({ username: user?.username }))
  app.get('/both', { preHandler: isAuthenticated }, async (request) => {
    const member = app.jwt.verify(String(request.headers['x-member']))
    return { username: request.user?.username, member }
  })
  return app
}

for (const order of ['before', 'after'] as const) {
  t.test(`@fastify/jwt of the host, registered ${order} Latchkey, works independently of it`, async (t) => {
    const app = await hostWith(t, order)
    const theirs = app.jwt.sign({ sub: 'm1' })
    const get = (url: string, token: string, more = {}) => app.inject({ url, headers: { ...bearer(token), ...more } })

    t.match((await get('/theirs', theirs)).json(), { member: { sub: 'm1' }, user: null })
    t.strictSame((await get('/ours', access)).json(), { username: 'alice' })
    t.match((await get('/both', access, { 'x-member': theirs })).json(), { username: 'alice', member: { sub: 'm1' } })
    t.equal((await get('/ours', theirs)).statusCode, 401)
    t.equal((await get('/theirs', access)).statusCode, 401)
  })
}

t.test('guards work if @fastify/jwt of the host has already decorated request.user', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: 'the secret of the host itself' })
  await app.register(latchkey, { ...CHEAP, databaseUrl: await databaseUrl(t) })
  app.get('/ours', { preHandler: isAuthenticated }, async ({ user }) => ({ username: user?.username }))

  t.strictSame((await app.inject({ url: '/ours', headers: bearer(access) })).json(), { username: 'alice' })
  t.equal((await app.inject({ url: '/ours', headers: bearer(app.jwt.sign({ sub: 'm1' })) })).statusCode, 401)
})

t.test('a user that another plugin has put into request.user is not authenticated for guards (401)', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  await app.register(fastifyJwt, { secret: 'the secret of the host itself' })
  await app.register(latchkey, { ...CHEAP, databaseUrl: await databaseUrl(t), authHeaderName: 'HTTP_X_TOKEN' })
  app.addHook('onRequest', async (request) => request.jwtVerify())
  app.get('/theirs', async ({ user }) => user)
  app.get('/ours', { preHandler: isAuthenticated }, async ({ user }) => ({ username: user?.username }))
  app.get('/admin', { preHandler: isAdminUser }, async () => ({}))
  const headers = bearer(app.jwt.sign({ sub: 'm1', id: 1, isStaff: true, isActive: true }))

  t.match((await app.inject({ url: '/theirs', headers })).json(), { sub: 'm1' })
  for (const url of ['/ours', '/admin']) t.equal((await app.inject({ url, headers })).statusCode, 401, url)
  const both = { ...headers, 'x-token': `Bearer ${access}` }
  t.strictSame((await app.inject({ url: '/ours', headers: both })).json(), { username: 'alice' })
})

/** Builds an app of a host with guarded routes, whose rejections the host may handle. */
async function refusing(t: Test, setUp: (app: FastifyInstance) => unknown = () => undefined): Promise<FastifyInstance> {
  return build(t, {}, async (app) => {
    await setUp(app)
    app.get('/signed-in', { preHandler: isAuthenticated }, async () => ({}))
    app.get('/denied', { preHandler: deny }, async () => ({}))
  })
}

const REFUSALS: [url: string, headers: Record<string, string>, statusCode: number, code: string, challenge?: string][] =
  [
    ['/signed-in', {}, 401, 'not_authenticated', 'Bearer realm="api"'],
    ['/signed-in', bearer('x'), 401, 'token_not_valid', 'Bearer realm="api"'],
    ['/denied', bearer(access), 403, 'permission_denied']
  ]

t.test('without an error handler Fastify returns status, code and challenge of a rejection', async (t) => {
  const app = await refusing(t)

  for (const [url, headers, statusCode, code, challenge] of REFUSALS) {
    const answer = await app.inject({ url, headers })

    t.equal(answer.statusCode, statusCode)
    t.match(answer.json(), { statusCode, code, message: String })
    t.equal(answer.headers['www-authenticate'], challenge)
  }
})

t.test('an error handler of the host receives status, code, headers and body of a rejection', async (t) => {
  const app = await refusing(t, (app) =>
    app.setErrorHandler(({ statusCode, code, headers, body }: Record<string, unknown>, _request, reply) =>
      reply.code(418).send({ seen: { statusCode, code, headers, body } })
    )
  )

  for (const [url, headers, statusCode, code, challenge] of REFUSALS) {
    const answer = await app.inject({ url, headers })

    t.equal(answer.statusCode, 418)
    const seen = {
      statusCode,
      code,
      headers: challenge ? { 'www-authenticate': challenge } : {},
      body: { detail: String }
    }
    t.match(answer.json(), { seen })
  }
})

t.test("with Latchkey's error handler routes of the host return the error responses of DRF", async (t) => {
  const app = await refusing(t, (app) => app.setErrorHandler(errorHandler))
  const bodies: object[] = [
    { detail: 'Authentication credentials were not provided.' },
    {
      detail: 'Given token not valid for any token type',
      code: 'token_not_valid',
      messages: [{ token_class: 'AccessToken', token_type: 'access', message: 'Token is invalid' }]
    },
    { detail: 'No.' }
  ]

  for (const [index, [url, headers, statusCode, , challenge]] of REFUSALS.entries()) {
    const answer = await app.inject({ url, headers })

    t.equal(answer.statusCode, statusCode)
    t.strictSame(answer.json(), bodies[index])
    t.equal(answer.headers['www-authenticate'], challenge)
    t.equal(answer.headers['content-type'], 'application/json')
  }
})

/** The token endpoints as a client uses them, in addition to the recorded cases in parity/. */
import Fastify, { type FastifyInstance } from 'fastify'
import t from 'tap'
import latchkey, { authRoutes } from '../../src/index.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'
import { CHEAP } from '../support/settings.ts'
import { claimsOf } from '../support/tokens.ts'

const VIEWS = ['/token/', '/token/refresh/', '/token/verify/', '/token/blacklist/', '/protected/']
const post = (app: FastifyInstance, url: string, payload: object) => app.inject({ method: 'POST', url, payload })

onEachDatabase(t, (t, { build }) => {
  t.test('a user logs in, calls a protected route, refreshes, verifies and logs out (then 401)', async (t) => {
    const app = await build(t)
    const alice = await addUser(app)
    const { access, refresh } = await obtainPair(app, alice)

    const protectedAnswer = await app.inject({ url: '/api/protected/', headers: bearer(access) })
    t.equal(protectedAnswer.statusCode, 200)
    t.equal(protectedAnswer.body, '{"message":"This is a protected view."}')
    const refreshed = await refreshWith(app, refresh)
    t.equal(refreshed.statusCode, 200)
    const next = refreshed.json()
    t.strictSame(Object.keys(next), ['access', 'refresh'])
    t.equal((await app.inject({ url: '/api/protected/', headers: bearer(next.access) })).statusCode, 200)
    const retried = await refreshWith(app, refresh)
    t.equal(retried.statusCode, 200)
    t.equal(retried.json().refresh, next.refresh, 'a retry returns the same successor')
    for (const token of [next.access, next.refresh]) {
      const verified = await post(app, '/api/token/verify/', { token })
      t.equal(verified.statusCode, 200)
      t.equal(verified.body, '{}')
    }

    const out = await post(app, '/api/token/blacklist/', { refresh: next.refresh })

    t.equal(out.statusCode, 200)
    t.equal(out.body, '{}')
    t.equal((await refreshWith(app, next.refresh)).statusCode, 401)
    t.equal((await post(app, '/api/token/verify/', { token: next.refresh })).statusCode, 400)
    t.equal((await post(app, '/api/token/blacklist/', { refresh: next.refresh })).statusCode, 401)
    const late = await app.inject({ url: '/api/protected/', headers: bearer(next.access) })
    t.equal(late.statusCode, 401)
    t.equal(late.json().messages[0].message, 'Token is blacklisted')
  })

  t.test('each endpoint is available with and without trailing slash', async (t) => {
    const app = await build(t)
    await addUser(app)
    for (const spell of [(url: string) => url, (url: string) => url.slice(0, -1)]) {
      const pair = await post(app, spell('/api/token/'), { username: 'alice', password: PASSWORD })
      t.equal(pair.statusCode, 200)
      t.match(claimsOf(pair.json().access), { token_type: 'access', user_id: '1' })
      const { access, refresh } = (
        await post(app, spell('/api/token/refresh/'), { refresh: pair.json().refresh })
      ).json()
      t.equal((await post(app, spell('/api/token/verify/'), { token: access })).body, '{}')
      t.equal((await app.inject({ url: spell('/api/protected/'), headers: bearer(access) })).statusCode, 200)
      t.equal((await post(app, spell('/api/token/blacklist/'), { refresh })).body, '{}')
    }
  })
})

const { build, databaseUrl } = worldOf('sqlite')

t.test('successful and failed responses all have Cache-Control: no-store', async (t) => {
  const app = await build(t)
  await addUser(app)
  const answers = [
    await post(app, '/api/token/', { username: 'alice', password: PASSWORD }),
    await post(app, '/api/token/', { username: 'alice', password: 'wrong' }),
    await post(app, '/api/token/', {}),
    await post(app, '/api/token/refresh/', { refresh: (await obtainPair(app)).refresh }),
    await post(app, '/api/token/verify/', { token: 'junk' }),
    await app.inject('/api/protected/')
  ]
  t.strictSame(
    answers.map(({ statusCode }) => statusCode),
    [200, 401, 400, 200, 401, 401]
  )
  for (const { headers } of answers) {
    t.equal(headers['cache-control'], 'no-store')
    t.equal(headers.vary, 'Accept')
  }
})

t.test('the endpoints are available under the prefix of the host only', async (t) => {
  for (const prefix of ['', '/auth/v1', '/:tenant/auth']) {
    const app = Fastify()
    t.teardown(() => app.close())
    await app.register(latchkey, { ...CHEAP, databaseUrl: await databaseUrl(t) })
    await app.register(authRoutes, { prefix })
    await addUser(app)
    const at = prefix.replace(':tenant', 'acme')
    t.equal((await post(app, `${at}/token/`, { username: 'alice', password: PASSWORD })).statusCode, 200)
    t.equal((await app.inject(`${at}/protected/`)).statusCode, 401)
    t.equal((await app.inject('/api/protected/')).statusCode, 404)
  }
})

t.test('OPTIONS describes each view and its fields', async (t) => {
  const app = await build(t)
  const field = (label: string, required = true) => ({ type: 'string', required, read_only: !required, label })
  const told: [url: string, name: string, actions: object | undefined][] = [
    ['/token/', 'Token Obtain Pair', { POST: { username: field('Username'), password: field('Password') } }],
    ['/token/refresh/', 'Token Refresh', { POST: { refresh: field('Refresh'), access: field('Access', false) } }],
    ['/token/verify/', 'Token Verify', { POST: { token: field('Token') } }],
    ['/token/blacklist/', 'Token Blacklist', { POST: { refresh: field('Refresh') } }]
  ]
  for (const [url, name, actions] of told) {
    const answer = await app.inject({ method: 'OPTIONS', url: `/api${url}` })
    t.equal(answer.statusCode, 200)
    t.equal(answer.headers.allow, 'POST, OPTIONS')
    const { description, ...others } = answer.json()
    t.strictSame(others, {
      name,
      renders: ['application/json', 'text/html'],
      parses: ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data'],
      actions
    })
    t.type(description, 'string')
  }
  t.equal((await app.inject({ method: 'OPTIONS', url: '/api/protected/' })).statusCode, 401, 'guards come first')
})

t.test('unsupported methods return 405 with Allow', async (t) => {
  const app = await build(t)
  for (const url of VIEWS.slice(0, 4)) {
    for (const method of ['GET', 'PUT', 'PATCH', 'DELETE'] as const) {
      const answer = await app.inject({ method, url: `/api${url}` })
      t.equal(answer.statusCode, 405)
      t.strictSame(answer.json(), { detail: `Method "${method}" not allowed.` })
      t.equal(answer.headers.allow, 'POST, OPTIONS')
    }
  }
})

t.test('error handlers and body parsers of the host do not affect the endpoints', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setErrorHandler((_error, _request, reply) => void reply.code(418).send('mine'))
  app.removeAllContentTypeParsers()
  await app.register(latchkey, { ...CHEAP, databaseUrl: await databaseUrl(t) })
  await app.register(authRoutes, { prefix: '/api' })
  await addUser(app)

  t.equal((await post(app, '/api/token/', { username: 'alice', password: PASSWORD })).statusCode, 200)
  t.strictSame((await post(app, '/api/token/', { username: 'alice' })).json(), {
    password: ['This field is required.']
  })
  t.equal((await app.inject('/api/protected/')).statusCode, 401)
})

/** The plugin in a host's Fastify app: decorators, guards, databases and encapsulation. */
import { existsSync, readdirSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance } from 'fastify'
import { Client } from 'pg'
import t, { type Test } from 'tap'
import { ValidationError } from '../src/errors.ts'
import latchkey, { authRoutes, isAdminUser, isAuthenticated } from '../src/index.ts'
import { onEachDatabase, SIGNING_KEY } from './support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from './support/journeys.ts'
import { CHEAP } from './support/settings.ts'

const OPEN_FILES = '/proc/self/fd'
setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** Creates the app of a host, which is closed after the test. */
function hostApp(t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

onEachDatabase(t, (t, { provider, build, databaseUrl, emptyDatabaseUrl }) => {
  t.test('the plugin decorates app.auth, and requests, which are authenticated only on demand', async (t) => {
    const app = await build(t, {}, (app) => {
      app.get('/open/', async ({ user, auth }) => ({ user, auth }))
      app.get('/asked/', async (request) => {
        await request.authenticate()
        return { user: request.user, authenticators: request.authenticators.length }
      })
    })
    const { access } = await obtainPair(app, await addUser(app))

    t.strictSame(Object.keys(app.auth).toSorted(), [
      'accounts',
      'admin',
      'authTokens',
      'authenticators',
      'browserSessions',
      'database',
      'groups',
      'keys',
      'loginThrottle',
      'passwords',
      'permissions',
      'refreshStore',
      'revocations',
      'sessions',
      'settings',
      'tokenCookies',
      'tokens',
      'users',
      'verifier'
    ])
    const headers = bearer(access)
    t.strictSame((await app.inject({ url: '/open/', headers })).json(), { user: null, auth: null })
    t.strictSame((await app.inject({ url: '/open/', headers: bearer('junk') })).json(), { user: null, auth: null })
    t.match((await app.inject({ url: '/asked/', headers })).json(), { user: { id: '1' }, authenticators: 1 })
    t.match((await app.inject({ url: '/asked/' })).json(), { user: null })
  })

  t.test('app.auth provides users, tokens and permissions without HTTP', async (t) => {
    const { auth } = await build(t)
    const { users, tokens, verifier, permissions } = auth

    const alice = await users.createSuperuser({ username: 'alice', email: 'a@EXAMPLE.com', password: PASSWORD })
    t.match(alice, { username: 'alice', email: 'a@example.com', isSuperuser: true })
    t.notOk('password' in alice)
    t.equal((await users.authenticate('alice', PASSWORD))?.id, alice.id)
    t.ok(await permissions.hasPerm(alice, 'blog.add_post'))
    const pair = await tokens.obtainPair({ username: 'alice', password: PASSWORD })
    t.match(await verifier.authenticate(pair.access), { user_id: String(alice.id) })
    const { refresh = '' } = await tokens.refresh(pair.refresh)
    await tokens.blacklist(refresh)
    await t.rejects(verifier.verify(refresh), ValidationError)
    t.equal(await tokens.flushExpiredTokens(), 0)
  })

  t.test("guards protect routes of the host, and errors have the host's format", async (t) => {
    const app = await build(t, {}, (app) => {
      app.get('/hello/', { preHandler: isAuthenticated }, async ({ user }) => ({ hello: user?.id }))
      app.get('/admin/', { preHandler: isAdminUser }, async () => ({ welcome: true }))
    })
    const alice = bearer((await obtainPair(app, await addUser(app))).access)
    const root = bearer((await obtainPair(app, await addUser(app, { username: 'root', isStaff: true }))).access)

    const anonymous = await app.inject('/hello/')
    t.equal(anonymous.statusCode, 401)
    t.equal(anonymous.headers['www-authenticate'], 'Bearer realm="api"')
    t.strictSame(anonymous.json(), {
      ...{ statusCode: 401, code: 'not_authenticated', error: 'Unauthorized' },
      message: 'Authentication credentials were not provided.'
    })
    t.strictSame((await app.inject({ url: '/hello/', headers: alice })).json(), { hello: '1' })
    t.equal((await app.inject({ url: '/admin/', headers: alice })).statusCode, 403)
    t.equal((await app.inject({ url: '/admin/', headers: root })).statusCode, 200)
    t.equal((await app.inject({ url: '/admin/', headers: bearer('junk') })).statusCode, 401)
  })

  const blind = provider === 'sqlite' && !existsSync(OPEN_FILES) && 'open files cannot be listed on this system'
  t.test('an empty database is migrated, and its connections are closed with the app', { skip: blind }, async (t) => {
    const url = await emptyDatabaseUrl(t)
    const app = hostApp(t)
    await app.register(latchkey, { ...CHEAP, databaseUrl: url })
    await app.ready()
    await Promise.all(Array.from({ length: 5 }, () => app.auth.database.user.count()))
    t.ok(await connectionsTo(url), 'open before app.close')

    await app.close()

    // SQLite's driver closes a file when its last statement is garbage-collected, and PostgreSQL asynchronously.
    for (let tries = 0; tries < 50 && (await connectionsTo(url)) > 0; tries++) {
      collectGarbage()
      await sleep(20)
    }
    t.equal(await connectionsTo(url), 0)
  })

  t.test('instances in two apps or in two scopes of one app are independent', async (t) => {
    const key = 'another-secret-key-0123456789-zyxwvutsrqponmlkjihgfedcba'
    const [one, other] = await Promise.all([build(t), build(t, { signingKey: key, accessTokenLifetime: 60 })])
    const { access } = await obtainPair(one, await addUser(one))
    const { access: otherAccess } = await obtainPair(other, await addUser(other, { username: 'olga' }))

    t.equal((await one.inject({ url: '/api/protected/', headers: bearer(access) })).statusCode, 200)
    t.equal((await one.inject({ url: '/api/protected/', headers: bearer(otherAccess) })).statusCode, 401)
    t.equal((await other.inject({ url: '/api/protected/', headers: bearer(access) })).statusCode, 401)

    const app = hostApp(t)
    for (const [name, signingKey] of Object.entries({ a: SIGNING_KEY, b: key })) {
      const url = await databaseUrl(t)
      app.register(async (scope) => {
        await scope.register(latchkey, { ...CHEAP, databaseUrl: url, signingKey })
        await scope.register(authRoutes, { prefix: `/${name}` })
        await addUser(scope, { username: name })
      })
    }
    await app.ready()
    t.notOk(app.hasDecorator('auth'), 'the root app has no auth')
    const payload = { username: 'a', password: PASSWORD }
    const answer = await app.inject({ method: 'POST', url: '/a/token/', payload })
    t.equal(answer.statusCode, 200)
    t.equal((await app.inject({ method: 'POST', url: '/b/token/', payload })).statusCode, 401)
    const headers = bearer(answer.json().access)
    t.equal((await app.inject({ url: '/a/protected/', headers })).statusCode, 200)
    t.equal((await app.inject({ url: '/b/protected/', headers })).statusCode, 401)
  })

  t.test("the host's own @fastify/jwt works beside Latchkey", async (t) => {
    const app = hostApp(t)
    await app.register(fastifyJwt, { secret: 'the host has a secret of its own' })
    await app.register(latchkey, { ...CHEAP, databaseUrl: await databaseUrl(t) })
    await app.register(authRoutes, { prefix: '/api' })
    app.get('/theirs/', async (request) => ({ claims: await request.jwtVerify() }))
    app.get('/ours/', { preHandler: isAuthenticated }, async ({ user }) => ({ id: user?.id }))
    const { access } = await obtainPair(app, await addUser(app))
    const theirs = app.jwt.sign({ sub: 'host' })

    t.match((await app.inject({ url: '/theirs/', headers: bearer(theirs) })).json(), { claims: { sub: 'host' } })
    t.strictSame((await app.inject({ url: '/ours/', headers: bearer(access) })).json(), { id: '1' })
    t.equal((await app.inject({ url: '/theirs/', headers: bearer(access) })).statusCode, 401)
    t.equal((await app.inject({ url: '/ours/', headers: bearer(theirs) })).statusCode, 401)
    t.equal((await app.inject({ url: '/ours/' })).statusCode, 401, 'anonymous request')
  })
})

/** The number of connections to a database: of this process to a file, or of all processes to PostgreSQL. */
async function connectionsTo(url: string): Promise<number> {
  if (url.startsWith('file:')) return filesOpen().filter((path) => path.startsWith(url.slice('file:'.length))).length
  const client = new Client({ connectionString: url })
  await client.connect()
  const others = 'datname = current_database() AND pid <> pg_backend_pid()'
  const { rows } = await client.query(`SELECT count(*)::int FROM pg_stat_activity WHERE ${others}`)
  await client.end()
  return rows[0].count
}

function filesOpen(): string[] {
  return readdirSync(OPEN_FILES).map((fd) => {
    try {
      return readlinkSync(join(OPEN_FILES, fd))
    } catch {
      return 'closed meanwhile'
    }
  })
}

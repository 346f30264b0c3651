/** Latchkey does not change a host's hooks, routes, responses, parsers, options or environment. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { AuthError, ImproperlyConfigured } from '../src/errors.ts'
import latchkey, {
  accountRoutes,
  authenticateWith,
  authRoutes,
  isAuthenticated,
  type LatchkeyOptions,
  wellKnownRoutes
} from '../src/index.ts'
import { loadSettings } from '../src/settings/load.ts'
import { SETTING_NAMES } from '../src/settings/schema.ts'
import { worldOf } from './support/build.ts'
import { addUser, bearer, obtainPair } from './support/journeys.ts'
import { CHEAP } from './support/settings.ts'

const { databaseUrl } = worldOf('sqlite')

/** Creates the app of a host, which is closed after the test. */
function hostApp(t: Test): FastifyInstance {
  const app = Fastify()
  t.teardown(() => app.close())
  return app
}

const optionsFor = async (t: Test, options: LatchkeyOptions = {}): Promise<LatchkeyOptions> => ({
  ...CHEAP,
  ...options,
  databaseUrl: await databaseUrl(t)
})

t.test('the plugin adds no routes, request hooks or error handler', async (t) => {
  async function shapeOf(options?: LatchkeyOptions) {
    const app = hostApp(t)
    const { errorHandler } = app
    if (options) await app.register(latchkey, options)
    app.get('/mine/', async () => ({ mine: true }))
    await app.ready()
    return { routes: app.printRoutes({ includeHooks: true }), isOwnHandler: app.errorHandler === errorHandler }
  }
  t.strictSame(await shapeOf(await optionsFor(t)), await shapeOf())
})

t.test('routes, hooks, errors and parsers of the host work unchanged beside authRoutes', async (t) => {
  async function answersOf(t: Test, withLatchkey: boolean) {
    const app = hostApp(t)
    const passed: string[] = []
    app.addHook('onRequest', async ({ url }) => void passed.push(url))
    app.addContentTypeParser('application/x-mine', { parseAs: 'string' }, async (_request: unknown, body: unknown) => ({
      mine: body
    }))
    if (withLatchkey) {
      await app.register(latchkey, await optionsFor(t))
      await app.register(authRoutes, { prefix: '/api' })
    }
    app.post('/echo', async ({ body }) => ({ body }))
    app.get('/broken', async () => Promise.reject(Object.assign(new Error('mine'), { statusCode: 409, code: 'MINE' })))
    const requests: [method: 'GET' | 'POST' | 'PUT', url: string, type?: string, payload?: string][] = [
      ['POST', '/echo', 'text/plain', 'plain'],
      ['POST', '/echo', 'application/json', '{"a":1}'],
      ['POST', '/echo', 'application/json', '{"a":'],
      ['POST', '/echo', 'application/json', '{"__proto__":1}'],
      ['POST', '/echo', 'application/x-mine', 'x'],
      ['POST', '/echo', 'application/x-www-form-urlencoded', 'a=1'],
      ['POST', '/echo', 'application/json', `"${'x'.repeat(100_000)}"`],
      ['GET', '/broken'],
      ['GET', '/none'],
      ['PUT', '/echo']
    ]
    const answers = []
    for (const [method, url, type, payload] of requests) {
      const headers = type === undefined ? {} : { 'content-type': type }
      const answer = await app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) })
      const { date, ...others } = answer.headers
      answers.push([answer.statusCode, answer.body, others])
    }
    return { answers, passed }
  }

  t.strictSame(await answersOf(t, true), await answersOf(t, false))
})

t.test("errors of guards are passed to the host's error handler", async (t) => {
  const app = hostApp(t)
  await app.register(latchkey, await optionsFor(t))
  app.setErrorHandler((error, _request, reply) => {
    const known = error instanceof AuthError
    reply.code(known ? error.statusCode : 500).send({ oops: known ? error.code : 'unknown' })
  })
  app.get('/mine/', { preHandler: isAuthenticated }, async () => ({}))

  const answer = await app.inject('/mine/')

  t.equal(answer.statusCode, 401)
  t.strictSame(answer.json(), { oops: 'not_authenticated' })
})

t.test("register's own options, such as prefix, are not settings", async (t) => {
  const app = hostApp(t)
  const own = { prefix: '/unused', logLevel: 'warn', logSerializers: { user: String } } as object
  await app.register(latchkey, { ...(await optionsFor(t)), ...own })
  await app.register(authRoutes, { prefix: '/api', logLevel: 'silent' })
  app.get('/mine/', { preHandler: isAuthenticated }, async () => ({ mine: true }))
  const { access } = await obtainPair(app, await addUser(app))

  t.strictSame((await app.inject({ url: '/mine/', headers: bearer(access) })).json(), { mine: true })
  t.strictSame(Object.keys(app.auth.settings).toSorted(), SETTING_NAMES.toSorted())
})

t.test("the host's options are neither changed nor frozen", async (t) => {
  const options = await optionsFor(t, { passwordHashers: ['md5'], audience: ['web'] })
  const before = structuredClone(options)
  await hostApp(t).register(latchkey, options)

  t.strictSame(options, before)
  t.notOk(Object.isFrozen(options) || Object.isFrozen(options.passwordHashers) || Object.isFrozen(options.audience))
})

t.test('the plugin does not read the environment or .env', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-host-'))
  const [home, before] = [process.cwd(), { ...process.env }]
  t.teardown(() => {
    process.chdir(home)
    process.env = before
    rmSync(folder, { recursive: true })
  })
  const options = await optionsFor(t)
  process.chdir(folder)
  writeFileSync('.env', 'JWT_ALGORITHM=HS512\nDATABASE_URL=file:other.db\n')
  Object.assign(process.env, {
    ...{ JWT_ALGORITHM: 'HS384', JWT_ACCESS_TOKEN_LIFETIME: 'wrong', JWT_NO_SUCH_THING: 'x', PORT: '-1' },
    ...{ DATABASE_URL: 'file:another.db', LOGIN_RATE: '1/day', PASSWORD_TRIM: 'off' }
  })
  const app = hostApp(t)
  await app.register(latchkey, options)

  t.strictSame(app.auth.settings, loadSettings(options))
  t.equal(app.auth.settings.algorithm, 'HS256')
  t.strictSame(readdirSync(folder), ['.env'], 'no file is created')
})

t.test('invalid settings reject the registration, all at once and before any file is created', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-host-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const wrong = { databaseUrl: `file:${folder}/data/x.db`, signingKey: 'hunter2', port: 99_999, typo: 1 } as object

  const error = await hostApp(t)
    .register(latchkey, wrong)
    .then(
      () => undefined,
      (error: unknown) => error
    )

  t.ok(error instanceof ImproperlyConfigured)
  t.match((error as ImproperlyConfigured).faults, [/^typo: /, /^port: /, /^signingKey: /])
  t.notMatch((error as Error).message, 'hunter2')
  t.strictSame(readdirSync(folder), [])
})

t.test('a key is generated once beside an embedded database and reused, and a weak one is rejected', async (t) => {
  const { signingKey, ...options } = await optionsFor(t)
  const path = `${(options.databaseUrl as string).slice('file:'.length)}.key`
  async function start() {
    const app = hostApp(t)
    await app.register(latchkey, options)
    await app.register(authRoutes, { prefix: '/api' })
    return app
  }
  t.notOk(existsSync(path))
  const one = await start()
  const { access } = await obtainPair(one, await addUser(one))
  const key = readFileSync(path, 'utf8')
  const other = await start()

  t.equal((await other.inject({ url: '/api/protected/', headers: bearer(access) })).statusCode, 200)
  t.equal(readFileSync(path, 'utf8'), key)
  writeFileSync(path, 'hunter2')
  await t.rejects(Promise.resolve(start()), ImproperlyConfigured, 'weak key')
})

t.test('a second registration in the same app is rejected', async (t) => {
  const app = hostApp(t)
  const options = await optionsFor(t)
  await app.register(latchkey, options)
  await t.rejects(Promise.resolve(app.register(latchkey, options)), /'auth' has already been added/)
})

t.test("if registered after Latchkey, a host's @fastify/jwt needs another decoratorName", async (t) => {
  const app = hostApp(t)
  await app.register(latchkey, await optionsFor(t))
  await app.register(fastifyJwt, { secret: 'the host has a secret of its own', decoratorName: 'claims' })
  app.get('/theirs/', async (request) => request.jwtVerify())

  const answer = await app.inject({ url: '/theirs/', headers: bearer(app.jwt.sign({ sub: 'host' })) })

  t.match(answer.json(), { sub: 'host' })
})

t.test('misuse is reported in one sentence: routes before the plugin, and guards in a scope without it', async (t) => {
  for (const [name, routes] of Object.entries({ authRoutes, accountRoutes, wellKnownRoutes })) {
    const app = hostApp(t)
    const message = `${name}: register the plugin before, on the same app: await app.register(latchkey, …)`
    await t.rejects(async () => app.register(routes), { message })
  }
  const app = hostApp(t)
  await app.register(async (scope) => {
    await scope.register(latchkey, await optionsFor(t))
  })
  app.get('/guarded/', { preHandler: isAuthenticated }, async () => 'in')
  app.get('/restricted/', { preHandler: authenticateWith(['jwt'], isAuthenticated) }, async () => 'in')
  for (const url of ['/guarded/', '/restricted/']) {
    const answer = await app.inject(url)
    t.equal(answer.statusCode, 500)
    t.match(answer.json().message, /^Latchkey is not registered in the scope of this route; register it before/)
  }
})

t.test('guards work for simulated requests without raw headers, as those of app.injectWS', async (t) => {
  const app = hostApp(t)
  await app.register(latchkey, await optionsFor(t))
  await app.register(authRoutes, { prefix: '/api' })
  app.get('/guarded/', { preHandler: isAuthenticated, onRequest: withoutRawHeaders }, async () => 'in')
  await addUser(app)
  const { access } = await obtainPair(app)
  t.equal((await app.inject({ url: '/guarded/', headers: bearer(access) })).statusCode, 200)
  t.equal((await app.inject('/guarded/')).statusCode, 401)
})

async function withoutRawHeaders({ raw }: FastifyRequest): Promise<void> {
  Object.defineProperty(raw, 'rawHeaders', { value: undefined })
}

t.test('a host with compilers for other schemas can register all routes', async (t) => {
  const app = hostApp(t)
  app.setValidatorCompiler(() => {
    throw new Error('not a schema of the host')
  })
  app.setSerializerCompiler(() => {
    throw new Error('not a schema of the host')
  })
  await app.register(latchkey, await optionsFor(t))
  await app.register(authRoutes, { prefix: '/api' })
  await app.register(accountRoutes, { prefix: '/auth' })
  await app.register(wellKnownRoutes, { prefix: '/.well-known' })
  t.strictSame((await app.inject('/.well-known/jwks.json')).json(), { keys: [] })
})

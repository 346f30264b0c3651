/** The test environment: runs tests on each database, with an app and a database for each test. */
import Fastify, { type FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import latchkey, { authRoutes, type LatchkeyOptions } from '../../src/index.ts'
import { newDatabase, PROVIDERS, type Provider, type Scope } from './databases.ts'
import { CHEAP } from './settings.ts'
import { theWorld } from './world.ts'

export type { Provider, Scope } from './databases.ts'
export { SIGNING_KEY } from './settings.ts'

export interface TestWorld {
  provider: Provider
  /** Creates a migrated database, which is deleted after the test. */
  databaseUrl(scope: Scope): Promise<string>
  /** Creates a database without tables, for tests of migrations. */
  emptyDatabaseUrl(scope: Scope): Promise<string>
  /** Copies a database of the same provider, which must have no connections. */
  copyOf(scope: Scope, databaseUrl: string): Promise<string>
  /**
   * Creates an app with Latchkey and its routes under `/api`, on a new database unless `settings` name one. It is
   * closed after the test.
   *
   * @param setUp adds routes before the app is ready
   */
  build(scope: Scope, settings?: LatchkeyOptions, setUp?: (app: FastifyInstance) => unknown): Promise<FastifyInstance>
  /** Like `build`, with SimpleJWT's blacklist instead of login sessions. */
  buildWithBlacklist: TestWorld['build']
}

/** Runs the same tests on each database: `onEachDatabase(t, (t, { build }) => { t.test('…', async (t) => { … }) })`. */
export function onEachDatabase(t: Test, define: (t: Test, world: TestWorld) => unknown): void {
  for (const provider of PROVIDERS) {
    t.test(`on ${provider}`, async (t) => {
      const { postgres } = await theWorld()
      if (provider === 'postgresql' && 'missing' in postgres) t.plan(0, postgres.missing.replace(/\n.*/s, ''))
      else await define(t, worldOf(provider))
    })
  }
}

export function worldOf(provider: Provider): TestWorld {
  const databaseUrl = (scope: Scope) => newDatabase(scope, provider, 'migrated')
  const world: TestWorld = {
    provider,
    databaseUrl,
    emptyDatabaseUrl: (scope) => newDatabase(scope, provider, 'empty'),
    copyOf: (scope, url) => newDatabase(scope, provider, { url }),
    build: async (scope, settings = {}, setUp = () => undefined) => {
      const app = Fastify()
      const url = settings.databaseUrl ?? (await databaseUrl(scope))
      // Registered after the database's teardown, and therefore run before it.
      scope.teardown(() => app.close())
      await app.register(latchkey, { ...CHEAP, ...settings, databaseUrl: url })
      await app.register(authRoutes, { prefix: '/api' })
      await setUp(app)
      await app.ready()
      return app
    },
    buildWithBlacklist: (scope, settings, setUp) =>
      world.build(scope, { refreshStore: 'blacklist', ...settings }, setUp)
  }
  return world
}

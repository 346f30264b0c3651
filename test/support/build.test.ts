/** The test environment: isolated apps and databases, and correct helpers. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openDatabase } from '../../src/database/open.ts'
import { onEachDatabase, type Scope, SIGNING_KEY } from './build.ts'
import { addUser, bearer, obtainPair, refreshWith } from './journeys.ts'
import { claimsOf, headerOf, jtiOf, mint, signatureOf } from './tokens.ts'

const providers: string[] = []

onEachDatabase(t, (t, { provider, build, databaseUrl, emptyDatabaseUrl, copyOf }) => {
  providers.push(provider)

  async function countOf(url: string, table: string): Promise<number> {
    const database = await openDatabase(url)
    try {
      const [row] = await database.$queryRawUnsafe<{ count: bigint }[]>(`SELECT count(*) AS count FROM ${table}`)
      return Number(row?.count)
    } finally {
      await database.$disconnect()
    }
  }

  t.test('apps have separate databases', async (t) => {
    const [one, other] = await Promise.all([build(t), build(t)])

    t.equal((await addUser(one)).id, 1)
    t.equal((await addUser(other)).id, 1, 'ids start at 1 in each')
    t.not(one.auth.settings.databaseUrl, other.auth.settings.databaseUrl)
  })

  t.test('a new database has the tables, an empty one has none, and a copy has the rows', async (t) => {
    const url = await databaseUrl(t)
    t.equal(await countOf(url, 'auth_user'), 0)
    await t.rejects(countOf(await emptyDatabaseUrl(t), 'auth_user'))

    const app = await build(t, { databaseUrl: url })
    await addUser(app)
    await app.close()
    t.equal(await countOf(await copyOf(t, url), 'auth_user'), 1)
  })

  t.test('a database is deleted after its test', async (t) => {
    const work: (() => unknown)[] = []
    const scope: Scope = { teardown: (ending) => work.push(ending) }
    const url = await databaseUrl(scope)
    t.equal(await countOf(url, 'auth_user'), 0)

    for (const ending of work) await ending()

    // PostgreSQL databases are dropped in the background.
    const isThere = () =>
      countOf(url, 'auth_user').then(
        () => true,
        () => false
      )
    for (let tries = 0; tries < 100 && (await isThere()); tries++) await sleep(100)
    t.notOk(await isThere())
  })

  t.test('a test can add settings and routes', async (t) => {
    const app = await build(t, { accessTokenLifetime: 60 }, (app) => app.get('/mine/', async () => ({ mine: true })))
    const { access } = await obtainPair(app, await addUser(app))

    t.equal(Number(claimsOf(access).exp) - Number(claimsOf(access).iat), 60)
    t.strictSame((await app.inject({ url: '/mine/' })).json(), { mine: true })
  })

  t.test('tokens can be obtained, refreshed and sent, and invalid credentials throw', async (t) => {
    const app = await build(t)
    const carol = await addUser(app, { username: 'carol', password: 'another-Pass-1' })
    const { access, refresh } = await obtainPair(app, carol)

    const answer = await refreshWith(app, refresh)

    t.equal(answer.statusCode, 200)
    t.not(jtiOf(answer.json().access), jtiOf(access))
    t.equal((await app.inject({ url: '/api/protected/', headers: bearer(access) })).statusCode, 200)
    await t.rejects(obtainPair(app, { ...carol, password: 'x' }), /no pair but 401/)
  })
})

t.test('onEachDatabase runs once for each provider', async (t) => {
  t.ok(providers.includes('sqlite'))
  t.equal(new Set(providers).size, providers.length)
})

t.test('mint signs tokens with the given claims, header and algorithm', async (t) => {
  const token = mint({ claims: { token_type: 'access', foo: 1 }, omit: ['jti'], header: { kid: 'k' } })
  const [header = '', payload = '', signature] = token.split('.')

  t.strictSame(headerOf(token), { alg: 'HS256', typ: 'JWT', kid: 'k' })
  t.strictSame(Object.keys(claimsOf(token)), ['token_type', 'exp', 'iat', 'user_id', 'foo'])
  t.equal(signature, signatureOf(`${header}.${payload}`, 'HS256', SIGNING_KEY))
  t.ok(mint({ alg: 'none' }).endsWith('.'))
  t.throws(() => mint({ alg: 'RS256' }), /cannot sign/)
})

/** What does a request cost, beside the same request without Latchkey, and on which database? */
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import latchkey, { authRoutes, isAuthenticated, type LatchkeyOptions } from '../src/index.ts'
import { type Contestants, compare } from './measure.ts'

const name = `latchkey_bench_${randomBytes(4).toString('hex')}`
const folder = join(tmpdir(), name)
const server = process.env.TEST_POSTGRES_URL ?? 'postgresql://postgres@127.0.0.1:5432/postgres'

export async function requests(): Promise<void> {
  const databases: Record<string, string> = { SQLite: `file:${folder}/bench.db` }
  if (await onServer(`CREATE DATABASE ${name}`))
    databases.PostgreSQL = Object.assign(new URL(server), { pathname: name }).href
  const apps: FastifyInstance[] = []
  const guarded: Contestants = {}
  const refreshes: Contestants = {}
  for (const [database, databaseUrl] of Object.entries(databases)) {
    const stateless = await build({ databaseUrl })
    const stateful = await build({ databaseUrl, stateless: false })
    apps.push(stateless, stateful)
    const { access } = await pairOf(stateless)
    const headers = { authorization: `Bearer ${access}` }
    guarded['no guard'] ??= () => stateless.inject({ url: '/open', headers })
    guarded['isAuthenticated, stateless: no query'] ??= () => stateless.inject({ url: '/guarded', headers })
    guarded[`isAuthenticated with the user's row on ${database}`] = () => stateful.inject({ url: '/guarded', headers })
    let { refresh } = await pairOf(stateless)
    refreshes[`on ${database}`] = async () => {
      const answer = await stateless.inject({ method: 'POST', url: '/api/token/refresh/', payload: { refresh } })
      refresh = answer.json().refresh
    }
  }
  await compare('A request to a route, injected', guarded, { calls: 200 })
  await compare('A refresh that rotates and blacklists, injected', refreshes, { calls: 50 })
  for (const app of apps) await app.close()
  await onServer(`DROP DATABASE IF EXISTS ${name}`)
  rmSync(folder, { recursive: true })
}

async function build(options: LatchkeyOptions): Promise<FastifyInstance> {
  const app = Fastify()
  await app.register(latchkey, {
    signingKey: 'a-secret-for-measuring-0123456789-abcdefghijklmnop',
    passwordHashers: ['md5'],
    loginRate: 'off',
    ...options
  })
  await app.register(authRoutes, { prefix: '/api' })
  app.get('/open', async () => ({ ok: true }))
  app.get('/guarded', { preHandler: isAuthenticated }, async () => ({ ok: true }))
  await app.auth.users.createUser({ username: 'alice', password: 'secret' }).catch(() => {})
  return app
}

const pairOf = (app: FastifyInstance) => app.auth.tokens.obtainPair({ username: 'alice', password: 'secret' })

/** False where there is no PostgreSQL. */
async function onServer(statement: string): Promise<boolean> {
  const client = new pg.Client(server)
  try {
    await client.connect()
    await client.query(statement)
    return true
  } catch {
    console.log('No PostgreSQL here: SQLite alone.')
    return false
  } finally {
    await client.end()
  }
}

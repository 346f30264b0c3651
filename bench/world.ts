/** Creates databases on both providers, and apps with one user and a cheap password hash. */
import { randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Fastify, { type FastifyInstance } from 'fastify'
import pg from 'pg'
import latchkey, { authRoutes, isAuthenticated, type LatchkeyOptions } from '../src/index.ts'

const name = `latchkey_bench_${randomBytes(4).toString('hex')}`
export const folder = join(tmpdir(), name)
const server = process.env.TEST_POSTGRES_URL ?? 'postgresql://postgres@127.0.0.1:5432/postgres'
const made: string[] = []

/** Creates a database for each name. @returns their URLs by provider; without PostgreSQL only those of SQLite */
export async function databases(wanted: readonly string[]): Promise<Record<string, string[]>> {
  const urls: Record<string, string[]> = { SQLite: wanted.map((one) => `file:${folder}/${one}.db`) }
  for (const one of wanted) {
    const database = `${name}_${one}`
    if (!(await onServer(`CREATE DATABASE ${database}`))) return urls
    made.push(database)
    urls.PostgreSQL = [...(urls.PostgreSQL ?? []), Object.assign(new URL(server), { pathname: database }).href]
  }
  return urls
}

export async function dropDatabases(): Promise<void> {
  for (const database of made.splice(0)) await onServer(`DROP DATABASE IF EXISTS ${database}`)
}

export async function build(options: LatchkeyOptions): Promise<FastifyInstance> {
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

export const pairOf = (app: FastifyInstance) => app.auth.tokens.obtainPair({ username: 'alice', password: 'secret' })

/** Runs a statement. @returns false if there is no PostgreSQL */
async function onServer(statement: string): Promise<boolean> {
  const client = new pg.Client(server)
  try {
    await client.connect()
    await client.query(statement)
    return true
  } catch {
    console.log('PostgreSQL is not available; measuring SQLite only.')
    return false
  } finally {
    await client.end()
  }
}

/** Finds a PostgreSQL server for the tests, and creates and drops databases. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, DatabaseError, Pool } from 'pg'
import { startEmbedded } from './embedded.ts'

const LOCAL = 'postgresql://postgres@127.0.0.1:5432/postgres'
/** The SQLSTATE while a database is being copied, or while its connections are being closed. */
const OBJECT_IN_USE = '55006'

/**
 * Finds a server of PostgreSQL 15 or newer: `TEST_POSTGRES_URL`, one on this machine, or an embedded one from npm.
 * `TEST_POSTGRES=embedded` selects the last.
 *
 * @param folder of the files of an embedded server
 * @param owner id of the process with which an embedded server exits
 */
export async function findPostgres(folder: string, owner: number): Promise<string> {
  const { TEST_POSTGRES_URL: given, TEST_POSTGRES: kind } = process.env
  if (kind === 'embedded') return startEmbedded(folder, owner)
  if (given) {
    await connectTo(given)
    return given
  }
  const local = await connectTo(LOCAL).then(
    () => true,
    () => false
  )
  return local ? LOCAL : startEmbedded(folder, owner)
}

async function connectTo(url: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 3000 })
  await client.connect()
  await client.end()
}

const pools = new Map<string, Pool>()

/** Runs a statement in the server's maintenance database, as for creating and dropping databases. */
async function onServer(url: string, statement: string, values: string[] = []) {
  let pool = pools.get(url)
  if (!pool) {
    pool = new Pool({ connectionString: url, max: 4, allowExitOnIdle: true })
    // Errors of idle connections, such as when the server stops, must not fail a test.
    pool.on('error', () => undefined)
    pools.set(url, pool)
  }
  return pool.query<{ datname: string }>(statement, values)
}

/** Creates a database as a copy of `template`, which must have no connections. @returns its URL */
export async function createDatabase(url: string, name: string, template = 'template0'): Promise<string> {
  // FILE_COPY halves the time of creating and dropping; the default writes every page to the write-ahead log.
  await onceFree(url, `CREATE DATABASE "${name}" TEMPLATE "${template}" STRATEGY FILE_COPY`)
  return urlOf(url, name)
}

export async function dropDatabase(url: string, name: string): Promise<void> {
  await onceFree(url, `DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`)
}

async function onceFree(url: string, statement: string): Promise<void> {
  const deadline = performance.now() + 20_000
  for (;;) {
    try {
      await onServer(url, statement)
      return
    } catch (error) {
      const busy = error instanceof DatabaseError && error.code === OBJECT_IN_USE
      if (!busy || performance.now() > deadline) throw error
      await sleep(20 + Math.random() * 50)
    }
  }
}

/** The names of the databases that start with `prefix`. */
export async function databasesLike(url: string, prefix: string): Promise<string[]> {
  const { rows } = await onServer(url, 'SELECT datname FROM pg_database WHERE starts_with(datname, $1)', [prefix])
  return rows.map(({ datname }) => datname)
}

/** The name in `postgresql://…/name`. */
export const nameOf = (url: string) => new URL(url).pathname.slice(1)

function urlOf(server: string, name: string): string {
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}

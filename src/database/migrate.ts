/**
 * Brings a database up to date with Prisma's own engine, in WebAssembly, so that no engine has to be downloaded.
 *
 * All of it happens in one transaction on one connection: several processes may start at once, and one that is killed
 * leaves nothing half done. A table of Django's that is there already is adopted as it is.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bindMigrationAwareSqlAdapterFactory, type SqlDriverAdapter } from '@prisma/driver-adapter-utils'
import type { MigrationList } from '@prisma/schema-engine-wasm'
import type * as Engine from '@prisma/schema-engine-wasm/schema_engine_bg'
import { ImproperlyConfigured } from '../errors.ts'
import { adapterOf, isEmbedded } from './open.ts'
import { createFile, pathOfUrl } from './sqlite.ts'

/** What Node's types leave out without those of a browser. */
declare const WebAssembly: {
  instantiate(
    bytes: Uint8Array,
    imports: object
  ): Promise<{ instance: { exports: Record<'__wbindgen_start', () => void> } }>
}

/** The table that tells that a migration's work is there already, though another hand has done it. */
const MADE_BY_DJANGO: Record<string, string> = {
  '0001_latchkey_auth': 'auth_user',
  '0002_latchkey_authtoken': 'authtoken_token',
  '0003_latchkey_token_blacklist': 'token_blacklist_outstandingtoken',
  '0006_latchkey_django_session': 'django_session'
}
/** Any number will do, as long as it is always the same. */
const ADVISORY_LOCK = 5_284_230_611

/**
 * Applies the migrations that the database does not have yet.
 *
 * @returns their names; an adopted one counts as applied
 * @throws {ImproperlyConfigured} if the database is of a newer version, or cannot be reached
 */
export async function migrate(databaseUrl: string): Promise<string[]> {
  return connected(databaseUrl, async (connection) => {
    if (isEmbedded(databaseUrl)) await ask(connection, 'PRAGMA journal_mode = WAL')
    if ((await pendingOf(connection)).length === 0) return []
    // Before the lock is taken, for which others wait five seconds and no longer.
    await theEngine()
    await run(connection, isEmbedded(databaseUrl) ? 'BEGIN IMMEDIATE' : 'BEGIN')
    try {
      if (!isEmbedded(databaseUrl)) await ask(connection, `SELECT pg_advisory_xact_lock(${ADVISORY_LOCK})::text`)
      const pending = await pendingOf(connection)
      if (pending.length > 0) await apply(connection, pending)
      await run(connection, 'COMMIT')
      return pending
    } catch (error) {
      await run(connection, 'ROLLBACK').catch(() => {})
      throw error
    }
  })
}

/**
 * The names of the migrations that the database does not have yet.
 *
 * @throws {ImproperlyConfigured} if the database is of a newer version, or cannot be reached
 */
export function pendingMigrations(databaseUrl: string): Promise<string[]> {
  return connected(databaseUrl, pendingOf)
}

async function connected<Result>(databaseUrl: string, work: (connection: SqlDriverAdapter) => Promise<Result>) {
  const adapter = await adapterOf(databaseUrl, { max: 1, idleTimeoutMillis: 0 })
  try {
    if (isEmbedded(databaseUrl)) createFile(pathOfUrl(databaseUrl))
    const connection = await adapter.connect()
    try {
      return await work(connection)
    } finally {
      await connection.dispose()
    }
  } catch (error) {
    if (error instanceof ImproperlyConfigured) throw error
    throw new ImproperlyConfigured([`database: ${explain(error)}`], { cause: error })
  }
}

async function pendingOf(connection: SqlDriverAdapter): Promise<string[]> {
  const known = migrationNames(connection.provider)
  const applied = await appliedTo(connection)
  if ([...applied].some((name) => /^\d{4}_latchkey_/.test(name) && !known.includes(name))) {
    throw new ImproperlyConfigured(['database: it was made by a newer version of Latchkey; update this one'])
  }
  return known.filter((name) => !applied.has(name))
}

async function appliedTo(connection: SqlDriverAdapter): Promise<Set<string>> {
  const tables = await tablesOf(connection)
  if (!tables.has('_prisma_migrations')) return new Set()
  return ask(connection, 'SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL')
}

const tablesOf = (connection: SqlDriverAdapter) =>
  ask(
    connection,
    connection.provider === 'sqlite'
      ? "SELECT name FROM sqlite_master WHERE type = 'table'"
      : 'SELECT tablename FROM pg_tables WHERE schemaname = current_schema()'
  )

async function apply(connection: SqlDriverAdapter, pending: string[]): Promise<void> {
  const tables = await tablesOf(connection)
  if (!tables.has('_prisma_migrations')) await run(connection, migrationsTable(connection.provider))
  const failures: unknown[] = []
  const engine = await startEngine(connection, failures)
  const migrationsList = migrationList(connection.provider)
  for (const migrationName of pending) {
    if (tables.has(MADE_BY_DJANGO[migrationName] ?? '')) {
      await engine.markMigrationApplied({ migrationName, migrationsList })
    }
  }
  try {
    await engine.applyMigrations({ migrationsList, filters: { externalTables: [], externalEnums: [] } })
  } catch (error) {
    // After a statement that failed, PostgreSQL refuses what the engine tries next, and that is what the engine tells.
    throw failures[0] ?? error
  }
}

/**
 * Prisma's own, made beforehand: its engine refuses a database that has tables but not this one.
 *
 * On SQLite the adapter goes by a column's declared type, and knows times by this one.
 */
const migrationsTable = (provider: string) => `CREATE TABLE _prisma_migrations (
  id VARCHAR(36) PRIMARY KEY NOT NULL,
  checksum VARCHAR(64) NOT NULL,
  finished_at ${timeType(provider)},
  migration_name VARCHAR(255) NOT NULL,
  logs TEXT,
  rolled_back_at ${timeType(provider)},
  started_at ${timeType(provider)} NOT NULL DEFAULT CURRENT_TIMESTAMP,
  applied_steps_count INTEGER NOT NULL DEFAULT 0
)`

const timeType = (provider: string) => (provider === 'sqlite' ? 'DATETIME' : 'TIMESTAMP WITH TIME ZONE')

let loading: Promise<typeof Engine> | undefined

/** Once a process: the glue of the engine keeps a view of one instance's memory. */
function theEngine(): Promise<typeof Engine> {
  loading ??= loadEngine()
  return loading
}

async function loadEngine(): Promise<typeof Engine> {
  const engine = await import('@prisma/schema-engine-wasm/schema_engine_bg')
  const entry = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm')
  const wasm = readFileSync(join(dirname(entry), 'schema_engine_bg.wasm'))
  const glue = Object.entries(engine).map(([name, part]) => [name, name.startsWith('__wbg_setTimeout_') ? later : part])
  const { instance } = await WebAssembly.instantiate(wasm, { './schema_engine_bg.js': Object.fromEntries(glue) })
  engine.__wbg_set_wasm(instance.exports)
  instance.exports.__wbindgen_start()
  return engine
}

/** The engine forgets a timer of ten seconds after it has had its lock, which is to keep no process from ending. */
const later = (act: () => void, milliseconds: number) => setTimeout(act, milliseconds).unref()

/** @param failures where errors of statements are put, the first of which is what went wrong */
async function startEngine(connection: SqlDriverAdapter, failures: unknown[]): Promise<Engine.SchemaEngine> {
  const { SchemaEngine } = await theEngine()
  const shared = bound(connection, failures)
  const factory = bindMigrationAwareSqlAdapterFactory({
    provider: connection.provider,
    adapterName: connection.adapterName,
    connect: async () => shared,
    connectToShadowDb: () => Promise.reject(new Error('no shadow database'))
  })
  const schema = `datasource db {\n  provider = "${folderName(connection.provider)}"\n}\n`
  return SchemaEngine.new({ datamodels: [['schema.prisma', schema]] }, () => {}, factory)
}

/** The engine connects and disconnects as it likes; with this it stays on one connection, in its transaction. */
function bound(connection: SqlDriverAdapter, failures: unknown[]): SqlDriverAdapter {
  const queryRaw = connection.queryRaw.bind(connection)
  const executeRaw = connection.executeRaw.bind(connection)
  return {
    provider: connection.provider,
    adapterName: connection.adapterName,
    queryRaw,
    executeRaw,
    executeScript: (script) =>
      runAll(connection, script).catch((error) => {
        failures.push(error)
        throw error
      }),
    startTransaction: () => Promise.reject(new Error('a transaction is under way')),
    ...(connection.getConnectionInfo && { getConnectionInfo: connection.getConnectionInfo.bind(connection) }),
    dispose: async () => {}
  }
}

async function runAll(connection: SqlDriverAdapter, script: string): Promise<void> {
  for (const statement of script.split(/;\s*$/m)) if (statement.trim()) await run(connection, statement)
}

/** Adapters say `postgres` where schemas say `postgresql`. */
const folderName = (provider: string) => (provider === 'sqlite' ? 'sqlite' : 'postgresql')

const folderOf = (provider: string) =>
  fileURLToPath(new URL(`../../prisma/${folderName(provider)}/migrations`, import.meta.url))

const migrationNames = (provider: string) =>
  readdirSync(folderOf(provider))
    .filter((name) => /^\d{4}_/.test(name))
    .sort()

function migrationList(provider: string): MigrationList {
  const baseDir = folderOf(provider)
  return {
    baseDir,
    lockfile: { path: 'migration_lock.toml', content: readFileSync(`${baseDir}/migration_lock.toml`, 'utf8') },
    shadowDbInitScript: '',
    migrationDirectories: migrationNames(provider).map((path) => ({
      path,
      migrationFile: {
        path: 'migration.sql',
        content: { tag: 'ok', value: readFileSync(`${baseDir}/${path}/migration.sql`, 'utf8') }
      }
    }))
  }
}

const run = (connection: SqlDriverAdapter, sql: string) => connection.executeRaw({ sql, args: [], argTypes: [] })

/** The first column of an answer. */
async function ask(connection: SqlDriverAdapter, sql: string): Promise<Set<string>> {
  const { rows } = await connection.queryRaw({ sql, args: [], argTypes: [] })
  return new Set(rows.map(([value]) => String(value)))
}

/** One line, without the address, which may hold a password. */
function explain(error: unknown): string {
  const { cause, message } = error as Error & { cause?: { kind?: string; originalMessage?: string; reason?: string } }
  const text = cause?.kind === 'DatabaseNotReachable' ? 'cannot be reached' : (cause?.originalMessage ?? cause?.reason)
  // What the engine says ends with where in its own code it was.
  return (text ?? message)
    .replace(/\n\s*\d+: .*/s, '')
    .replace(/\s+/g, ' ')
    .trim()
}

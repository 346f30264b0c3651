/**
 * Applies migrations with Prisma's schema engine in WebAssembly, so that no native engine has to be downloaded.
 *
 * All migrations run in one transaction on one connection, under a lock: several processes may start at the same time, and a
 * process that is killed leaves no partial migration. A migration whose tables Django has created is marked as applied.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bindMigrationAwareSqlAdapterFactory, type SqlDriverAdapter } from '@prisma/driver-adapter-utils'
import type { MigrationList } from '@prisma/schema-engine-wasm'
import type * as Engine from '@prisma/schema-engine-wasm/schema_engine_bg'
import { ImproperlyConfigured } from '../errors.ts'
import { createAdapter } from './open.ts'

/** A global of Node that @types/node does not declare without TypeScript's DOM library. */
declare const WebAssembly: {
  instantiate(
    bytes: Uint8Array,
    imports: object
  ): Promise<{ instance: { exports: Record<'__wbindgen_start', () => void> } }>
}

/** For each migration that repeats one of Django's: the table whose existence shows that Django has applied it. */
const DJANGO_TABLES: Record<string, string> = {
  '0001_latchkey_auth': 'auth_user',
  '0002_latchkey_authtoken': 'authtoken_token',
  '0003_latchkey_token_blacklist': 'token_blacklist_outstandingtoken',
  '0006_latchkey_django_session': 'django_session'
}
/** Migrations that change a table of another one. Where Django has created that table, they are not applied: it is not ours. */
const CHANGES_OF: Record<string, string> = { '0013_latchkey_email_index': '0001_latchkey_auth' }
/** An arbitrary constant, shared by all versions of Latchkey. */
const ADVISORY_LOCK_ID = 5_284_230_611

/**
 * Applies the pending migrations.
 *
 * @returns the names of the migrations that were applied, or marked as applied because Django has created their tables
 * @throws {ImproperlyConfigured} if a newer version of Latchkey has migrated the database, or it cannot be reached
 */
export async function migrate(databaseUrl: string): Promise<string[]> {
  return withConnection(databaseUrl, async (connection) => {
    const isSqlite = connection.provider === 'sqlite'
    if (isSqlite) await queryColumn(connection, 'PRAGMA journal_mode = WAL')
    if ((await findPending(connection)).length === 0) return []
    // Before taking the lock: other processes give up waiting for it after five seconds.
    await loadEngine()
    await execute(connection, isSqlite ? 'BEGIN IMMEDIATE' : 'BEGIN')
    try {
      if (!isSqlite) await queryColumn(connection, `SELECT pg_advisory_xact_lock(${ADVISORY_LOCK_ID})::text`)
      const pending = await findPending(connection)
      if (pending.length > 0) await apply(connection, pending)
      await execute(connection, 'COMMIT')
      return pending
    } catch (error) {
      await execute(connection, 'ROLLBACK').catch(() => {})
      throw error
    }
  })
}

/**
 * Returns the names of the migrations that the database does not have yet.
 *
 * @throws {ImproperlyConfigured} if a newer version of Latchkey has migrated the database, or it cannot be reached
 */
export function pendingMigrations(databaseUrl: string): Promise<string[]> {
  return withConnection(databaseUrl, findPending)
}

async function withConnection<Result>(databaseUrl: string, work: (connection: SqlDriverAdapter) => Promise<Result>) {
  try {
    const adapter = await createAdapter(databaseUrl, { max: 1, idleTimeoutMillis: 0 })
    const connection = await adapter.connect()
    try {
      return await work(connection)
    } finally {
      await connection.dispose()
    }
  } catch (error) {
    if (error instanceof ImproperlyConfigured) throw error
    throw new ImproperlyConfigured([`database: ${reasonOf(error)}`], { cause: error })
  }
}

async function findPending(connection: SqlDriverAdapter): Promise<string[]> {
  const known = readMigrationNames(connection.provider)
  const applied = await findApplied(connection)
  if ([...applied].some((name) => /^\d{4}_latchkey_/.test(name) && !known.includes(name))) {
    throw new ImproperlyConfigured(['database: a newer version of Latchkey has migrated it; upgrade Latchkey'])
  }
  return known.filter((name) => !applied.has(name))
}

async function findApplied(connection: SqlDriverAdapter): Promise<Set<string>> {
  const tables = await findTables(connection)
  if (!tables.has('_prisma_migrations')) return new Set()
  return queryColumn(connection, 'SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL')
}

const findTables = (connection: SqlDriverAdapter) =>
  queryColumn(
    connection,
    connection.provider === 'sqlite'
      ? "SELECT name FROM sqlite_master WHERE type = 'table'"
      : 'SELECT tablename FROM pg_tables WHERE schemaname = current_schema()'
  )

async function apply(connection: SqlDriverAdapter, pending: string[]): Promise<void> {
  const tables = await findTables(connection)
  if (!tables.has('_prisma_migrations')) await execute(connection, createMigrationsTable(connection.provider))
  const failures: unknown[] = []
  const engine = await startEngine(connection, failures)
  const migrationsList = readMigrationList(connection.provider)
  const adopted = await findAdopted(connection)
  for (const migrationName of pending) {
    if (!tables.has(DJANGO_TABLES[migrationName] ?? '') && !adopted.has(CHANGES_OF[migrationName] ?? '')) continue
    await engine.markMigrationApplied({ migrationName, migrationsList })
    adopted.add(migrationName)
  }
  try {
    await engine.applyMigrations({ migrationsList, filters: { externalTables: [], externalEnums: [] } })
  } catch (error) {
    // After a failed statement PostgreSQL rejects all others of the transaction, and the engine throws the last error.
    throw failures[0] ?? error
  }
}

/** Returns the migrations that were marked as applied, because Django had created their tables. */
const findAdopted = (connection: SqlDriverAdapter) =>
  queryColumn(connection, 'SELECT migration_name FROM _prisma_migrations WHERE applied_steps_count = 0')

/**
 * Returns the statement that creates Prisma's table of migrations. It is created beforehand, because the engine rejects a
 * database that has tables but not this one (P3005).
 *
 * On SQLite the adapter recognizes timestamps by the declared type DATETIME.
 */
const createMigrationsTable = (provider: string) => `CREATE TABLE _prisma_migrations (
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

let engine: Promise<typeof Engine> | undefined

/** Loads the engine once per process: its JavaScript bindings keep a view of one instance's memory. */
function loadEngine(): Promise<typeof Engine> {
  engine ??= instantiateEngine()
  return engine
}

async function instantiateEngine(): Promise<typeof Engine> {
  const bindings = await import('@prisma/schema-engine-wasm/schema_engine_bg')
  const entry = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm')
  const wasm = readFileSync(join(dirname(entry), 'schema_engine_bg.wasm'))
  const imports = Object.entries(bindings).map(([name, binding]) => [
    name,
    name.startsWith('__wbg_setTimeout_') ? setUnrefTimeout : binding
  ])
  const { instance } = await WebAssembly.instantiate(wasm, { './schema_engine_bg.js': Object.fromEntries(imports) })
  bindings.__wbg_set_wasm(instance.exports)
  instance.exports.__wbindgen_start()
  return bindings
}

/** The engine does not clear the ten-second timer of its lock, which must not keep the process from exiting. */
const setUnrefTimeout = (callback: () => void, milliseconds: number) => setTimeout(callback, milliseconds).unref()

/** @param failures collects the errors of statements; the first of them is the cause of a failed migration */
async function startEngine(connection: SqlDriverAdapter, failures: unknown[]): Promise<Engine.SchemaEngine> {
  const { SchemaEngine } = await loadEngine()
  const shared = shareConnection(connection, failures)
  const factory = bindMigrationAwareSqlAdapterFactory({
    provider: connection.provider,
    adapterName: connection.adapterName,
    connect: async () => shared,
    connectToShadowDb: () => Promise.reject(new Error('no shadow database'))
  })
  const schema = `datasource db {\n  provider = "${folderName(connection.provider)}"\n}\n`
  return SchemaEngine.new({ datamodels: [['schema.prisma', schema]] }, () => {}, factory)
}

/** Wraps the connection so that the engine, which connects and disconnects by itself, stays within its transaction. */
function shareConnection(connection: SqlDriverAdapter, failures: unknown[]): SqlDriverAdapter {
  const queryRaw = connection.queryRaw.bind(connection)
  const executeRaw = connection.executeRaw.bind(connection)
  return {
    provider: connection.provider,
    adapterName: connection.adapterName,
    queryRaw,
    executeRaw,
    executeScript: (script) =>
      executeScript(connection, script).catch((error) => {
        failures.push(error)
        throw error
      }),
    startTransaction: () => Promise.reject(new Error('a transaction is already open')),
    ...(connection.getConnectionInfo && { getConnectionInfo: connection.getConnectionInfo.bind(connection) }),
    dispose: async () => {}
  }
}

async function executeScript(connection: SqlDriverAdapter, script: string): Promise<void> {
  for (const statement of script.split(/;\s*$/m)) if (statement.trim()) await execute(connection, statement)
}

/** Driver adapters are named `postgres`, where Prisma schemas and our folders are named `postgresql`. */
const folderName = (provider: string) => (provider === 'sqlite' ? 'sqlite' : 'postgresql')

const folderOf = (provider: string) =>
  fileURLToPath(new URL(`../../prisma/${folderName(provider)}/migrations`, import.meta.url))

const readMigrationNames = (provider: string) =>
  readdirSync(folderOf(provider))
    .filter((name) => /^\d{4}_/.test(name))
    .sort()

function readMigrationList(provider: string): MigrationList {
  const baseDir = folderOf(provider)
  return {
    baseDir,
    lockfile: { path: 'migration_lock.toml', content: readFileSync(`${baseDir}/migration_lock.toml`, 'utf8') },
    shadowDbInitScript: '',
    migrationDirectories: readMigrationNames(provider).map((path) => ({
      path,
      migrationFile: {
        path: 'migration.sql',
        content: { tag: 'ok', value: readFileSync(`${baseDir}/${path}/migration.sql`, 'utf8') }
      }
    }))
  }
}

const execute = (connection: SqlDriverAdapter, sql: string) => connection.executeRaw({ sql, args: [], argTypes: [] })

/** Returns the first column of the result. */
async function queryColumn(connection: SqlDriverAdapter, sql: string): Promise<Set<string>> {
  const { rows } = await connection.queryRaw({ sql, args: [], argTypes: [] })
  return new Set(rows.map(([value]) => String(value)))
}

/** Returns the error's reason in one line, without the database URL, which may contain a password. */
function reasonOf(error: unknown): string {
  const { cause, message } = error as Error & { cause?: { kind?: string; originalMessage?: string; reason?: string } }
  const text = cause?.kind === 'DatabaseNotReachable' ? 'cannot be reached' : (cause?.originalMessage ?? cause?.reason)
  // The engine's messages end with a trace of its own source.
  return (text ?? message)
    .replace(/\n\s*\d+: .*/s, '')
    .replace(/\s+/g, ' ')
    .trim()
}

/**
 * SQLite through libSQL, with Prisma's adapter changed in five ways: it uses our connection class (see libsql.ts); timestamps
 * are stored in Django's format; a backslash escapes LIKE's wildcards, as in PostgreSQL; a lock held by another process is
 * waited for without blocking the event loop, which SQLite's own busy timeout does; errors of a commit are classified.
 */
import { accessSync, closeSync, constants, mkdirSync, openSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import {
  DriverAdapterError,
  type MappedError,
  type SqlDriverAdapter,
  type SqlDriverAdapterFactory,
  type SqlQuery,
  type Transaction
} from '@prisma/driver-adapter-utils'
import { isBusy } from './errors.ts'
import { Connection } from './libsql.ts'

/** How long a statement waits for another process to release the write lock. */
const BUSY_TIMEOUT_MS = 5000
const MIN_BUSY_DELAY_MS = 5
const MAX_BUSY_DELAY_MS = 50
/** SQLite's (extended) result codes. */
const SQLITE_CANTOPEN = 14
const SQLITE_CONSTRAINT_FOREIGNKEY = 787

class LibSqlFactory extends PrismaLibSql {
  override createClient({ url }: Parameters<PrismaLibSql['createClient']>[0]) {
    return new Connection(url) as unknown as ReturnType<PrismaLibSql['createClient']>
  }
}

/** Creates the file and its folder if they do not exist, readable by the owner only: the database has password hashes. */
export function createFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  try {
    // 'wx' never opens an existing file. Closing it would release the POSIX locks of this process's connections to it.
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    accessSync(path, constants.R_OK | constants.W_OK)
  }
}

export function createSqliteAdapter(path: string): SqlDriverAdapterFactory {
  // An absolute path, since libSQL gives some names a meaning, such as `:memory:`.
  const factory = new LibSqlFactory({ url: resolve(path) })
  return {
    provider: factory.provider,
    adapterName: factory.adapterName,
    connect: async () => {
      try {
        return adapt(await factory.connect())
      } catch {
        // The driver's own error has no code.
        const message = 'the file cannot be opened'
        const extendedCode = SQLITE_CANTOPEN
        throw new DriverAdapterError({ kind: 'sqlite', extendedCode, message, originalMessage: message })
      }
    }
  }
}

function adapt(adapter: SqlDriverAdapter): SqlDriverAdapter {
  const begin = adapter.startTransaction.bind(adapter)
  adapter.startTransaction = async (level) =>
    classifyCommitErrors(adaptStatements(await retryWhileBusy(() => begin(level))))
  return adaptStatements(adapter)
}

/** Prisma's adapter maps the errors of statements, but not those of a commit. */
function classifyCommitErrors(transaction: Transaction): Transaction {
  const commit = transaction.commit.bind(transaction)
  transaction.commit = () =>
    commit().catch((error) => {
      throw new DriverAdapterError(mappedErrorOf(error))
    })
  return transaction
}

function mappedErrorOf({ rawCode: extendedCode, message }: Error & { rawCode: number }): MappedError {
  return extendedCode === SQLITE_CONSTRAINT_FOREIGNKEY
    ? { kind: 'ForeignKeyConstraintViolation', constraint: { foreignKey: {} } }
    : { kind: 'sqlite', extendedCode, message }
}

function adaptStatements<Queryable extends SqlDriverAdapter | Transaction>(queryable: Queryable): Queryable {
  const query = queryable.queryRaw.bind(queryable)
  const execute = queryable.executeRaw.bind(queryable)
  queryable.queryRaw = (statement) => retryWhileBusy(() => query(escapeLike(formatTimes(statement))))
  queryable.executeRaw = (statement) => retryWhileBusy(() => execute(escapeLike(formatTimes(statement))))
  return queryable
}

async function retryWhileBusy<Result>(attempt: () => Promise<Result>): Promise<Result> {
  const deadline = performance.now() + BUSY_TIMEOUT_MS
  for (let delayMs = MIN_BUSY_DELAY_MS; ; delayMs = Math.min(2 * delayMs, MAX_BUSY_DELAY_MS)) {
    try {
      return await attempt()
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error
      await sleep(delayMs)
    }
  }
}

function formatTimes(statement: SqlQuery): SqlQuery {
  if (!statement.argTypes.some(({ scalarType }) => scalarType === 'datetime')) return statement
  const args = statement.args.map((value, index) =>
    statement.argTypes[index]?.scalarType === 'datetime' && value !== null ? djangoTime(value) : value
  )
  const argTypes = statement.argTypes.map((type) =>
    type.scalarType === 'datetime' ? { ...type, scalarType: 'string' as const } : type
  )
  return { ...statement, args, argTypes }
}

/** Prisma's `contains`, `startsWith` and `endsWith`: `LIKE ('%' || ? || '%')` and the like. */
const LIKE = /( LIKE \((?:'%' \|\| )?\?(?: \|\| '%')?\))/g

/** SQLite's LIKE has no escape character unless the statement names one; PostgreSQL's default is the backslash. */
function escapeLike(statement: SqlQuery): SqlQuery {
  const sql = statement.sql.replace(LIKE, "$1 ESCAPE '\\'")
  return sql === statement.sql ? statement : { ...statement, sql }
}

/** Formats a time as Django's SQLite backend does: `2026-11-22 17:08:43.026000`, in UTC, without a fraction that is zero. */
export function djangoTime(value: unknown): string {
  const [date = '', time = ''] = new Date(value as string | Date).toISOString().slice(0, -1).split('T')
  return `${date} ${time.endsWith('.000') ? time.slice(0, -4) : `${time}000`}`
}

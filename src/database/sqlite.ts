/**
 * SQLite as Django writes it, through libSQL.
 *
 * Prisma's adapter is kept and mended in four ways: its connection is ours (see libsql.ts); times are stored in Django's
 * format; LIKE takes a backslash as PostgreSQL's does; and waiting for another process's lock is done here, without
 * holding up the event loop as SQLite's own busy timeout does.
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

/** How long a statement waits for another process to finish writing, in milliseconds. */
const BUSY_TIMEOUT = 5000
const CANTOPEN = 14

class OwnLibSql extends PrismaLibSql {
  override createClient({ url }: Parameters<PrismaLibSql['createClient']>[0]) {
    return new Connection(url) as unknown as ReturnType<PrismaLibSql['createClient']>
  }
}

/** The path of `file:./data/latchkey.db`, relative to the working directory. */
export function pathOfUrl(databaseUrl: string): string {
  return databaseUrl.replace(/^file:(\/\/(?=\/))?/, '').replace(/\?.*$/, '')
}

/** Makes the file and its folder if they are not there, for the owner's eyes only: it holds password hashes. */
export function createFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  try {
    // Never opens one that is there: closing it again would take away the locks of all this process's connections to it.
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    accessSync(path, constants.R_OK | constants.W_OK)
  }
}

export function sqliteAdapter(databaseUrl: string): SqlDriverAdapterFactory {
  // A path and nothing else: libSQL takes some names, such as `:memory:`, for something special.
  const factory = new OwnLibSql({ url: resolve(pathOfUrl(databaseUrl)) })
  return {
    provider: factory.provider,
    adapterName: factory.adapterName,
    connect: async () => {
      try {
        return patient(await factory.connect())
      } catch {
        // The driver says no more than a number, in a sentence.
        const message = 'the file cannot be opened'
        throw new DriverAdapterError({ kind: 'sqlite', extendedCode: CANTOPEN, message, originalMessage: message })
      }
    }
  }
}

function patient(adapter: SqlDriverAdapter): SqlDriverAdapter {
  const begin = adapter.startTransaction.bind(adapter)
  adapter.startTransaction = async (level) => thatExplains(asDjango(await waiting(() => begin(level))))
  return asDjango(adapter)
}

/** The adapter says of a statement's failure what it was, but passes a commit's on as it comes. */
function thatExplains(transaction: Transaction): Transaction {
  const commit = transaction.commit.bind(transaction)
  transaction.commit = () =>
    commit().catch((error) => {
      throw new DriverAdapterError(failureOf(error))
    })
  return transaction
}

function failureOf({ rawCode: extendedCode, message }: Error & { rawCode: number }): MappedError {
  return extendedCode === 787
    ? { kind: 'ForeignKeyConstraintViolation', constraint: { foreignKey: {} } }
    : { kind: 'sqlite', extendedCode, message }
}

function asDjango<Queryable extends SqlDriverAdapter | Transaction>(queryable: Queryable): Queryable {
  const query = queryable.queryRaw.bind(queryable)
  const execute = queryable.executeRaw.bind(queryable)
  queryable.queryRaw = (statement) => waiting(() => query(withEscapes(djangoTimes(statement))))
  queryable.executeRaw = (statement) => waiting(() => execute(withEscapes(djangoTimes(statement))))
  return queryable
}

async function waiting<Result>(attempt: () => Promise<Result>): Promise<Result> {
  const deadline = performance.now() + BUSY_TIMEOUT
  for (let pause = 5; ; pause = Math.min(2 * pause, 50)) {
    try {
      return await attempt()
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error
      await sleep(pause)
    }
  }
}

function djangoTimes(statement: SqlQuery): SqlQuery {
  if (!statement.argTypes.some(({ scalarType }) => scalarType === 'datetime')) return statement
  const args = statement.args.map((value, index) =>
    statement.argTypes[index]?.scalarType === 'datetime' && value !== null ? djangoTime(value) : value
  )
  const argTypes = statement.argTypes.map((type) =>
    type.scalarType === 'datetime' ? { ...type, scalarType: 'string' as const } : type
  )
  return { ...statement, args, argTypes }
}

/** As Prisma writes it, `LIKE ('%' || ? || '%')`. */
const LIKE = /( LIKE \((?:'%' \|\| )?\?(?: \|\| '%')?\))/g

/** SQLite's LIKE has no escape character but one that is named. */
function withEscapes(statement: SqlQuery): SqlQuery {
  const sql = statement.sql.replace(LIKE, "$1 ESCAPE '\\'")
  return sql === statement.sql ? statement : { ...statement, sql }
}

/** `2026-11-22 17:08:43.026000`: UTC without saying so, and no fraction where it is zero. */
export function djangoTime(value: unknown): string {
  const [date = '', time = ''] = new Date(value as string | Date).toISOString().slice(0, -1).split('T')
  return `${date} ${time.endsWith('.000') ? time.slice(0, -4) : `${time}000`}`
}

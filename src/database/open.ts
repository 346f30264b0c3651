/** Opens the database. What lies right of here knows one Prisma client and not which of the two providers it talks to. */
import type { SqlDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import { DatabaseUnavailable, isUnavailable } from './errors.ts'
import type { PrismaClient } from './generated/sqlite/client.ts'
import { createFile, pathOfUrl, sqliteAdapter } from './sqlite.ts'

export type {
  AuthToken,
  ContentType,
  Group,
  OutstandingToken,
  Permission,
  Prisma,
  Session as SessionRow,
  SigningKey as SigningKeyRow,
  User
} from './generated/sqlite/client.ts'
export type Database = PrismaClient

/** Longest wait for a connection and for a statement, in milliseconds: a slow database is a 503, not a hanging request. */
const PATIENCE = 5000
/** How much longer to wait for PostgreSQL to say itself that it has given up, in milliseconds. */
const GRACE = 500

export const isEmbedded = (databaseUrl: string) => databaseUrl.startsWith('file:')

/**
 * Connects to a migrated database.
 *
 * Every query that fails because the database is down, full or busy throws DatabaseUnavailable, a 503.
 *
 * @param databaseUrl `file:…` for SQLite, which is made if it is not there, or `postgresql://…`
 */
export async function openDatabase(databaseUrl: string): Promise<Database> {
  if (isEmbedded(databaseUrl)) createFile(pathOfUrl(databaseUrl))
  const { PrismaClient } = isEmbedded(databaseUrl)
    ? await import('./generated/sqlite/client.ts')
    : await import('./generated/postgresql/client.ts')
  // The two clients differ in nothing that the common subset of both providers can say.
  const client = new (PrismaClient as new (options: object) => Database)({
    adapter: await adapterOf(databaseUrl, { statement_timeout: PATIENCE, query_timeout: PATIENCE + GRACE }),
    transactionOptions: { maxWait: PATIENCE, timeout: PATIENCE },
    // Its other formats put the values of a query into messages, and so into logs.
    errorFormat: 'minimal'
  })
  const extended = client.$extends({
    query: { $allOperations: ({ args, query }) => translated(query(args)) }
  }) as unknown as Database
  // What fails at its beginning or at its end is no operation's error.
  const transact = extended.$transaction.bind(extended) as (...given: unknown[]) => Promise<unknown>
  return Object.assign(extended, { $transaction: (...given: unknown[]) => translated(transact(...given)) })
}

async function translated<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    throw isUnavailable(error) ? new DatabaseUnavailable(undefined, { cause: error }) : error
  }
}

/** @param options pg's own, such as `max` connections; SQLite has none */
export async function adapterOf(databaseUrl: string, options: object = {}): Promise<SqlDriverAdapterFactory> {
  if (isEmbedded(databaseUrl)) return sqliteAdapter(databaseUrl)
  const { PrismaPg } = await import('@prisma/adapter-pg')
  return new PrismaPg({
    connectionString: databaseUrl,
    connectionTimeoutMillis: PATIENCE,
    // Prisma's adapter writes and reads times without their offset.
    onConnect: async (client) => {
      await client.query("SET DateStyle = 'ISO'; SET TimeZone = 'UTC'")
    },
    ...options
  })
}

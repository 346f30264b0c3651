/** Opens the database: one Prisma client for both providers. Code outside this folder does not know which one is in use. */
import type { SqlDriverAdapterFactory } from '@prisma/driver-adapter-utils'
import { DatabaseUnavailable, isUnavailable } from './errors.ts'
import type { PrismaClient } from './generated/sqlite/client.ts'
import { listen } from './notifications.ts'
import { containsText } from './search.ts'
import { retryOnKeyCollision } from './sequences.ts'
import { forShareOf, forUpdateOf, type Sql } from './sql.ts'
import { createFile, createSqliteAdapter } from './sqlite.ts'
import { filePathOf, type Provider, providerOf } from './url.ts'

export type {
  ContentType,
  Group,
  Permission,
  Prisma,
  Session as SessionRow,
  SigningKey as SigningKeyRow,
  User
} from './generated/sqlite/client.ts'

/** Where the two providers differ. */
interface ProviderFeatures {
  readonly provider: Provider
  /** For the end of a SELECT: a shared lock on its rows until the transaction ends. Empty on SQLite, which has one writer. */
  readonly forShare: Sql
  /** As `forShare`, but exclusive: meanwhile no row of another table that refers to these can be inserted either. */
  readonly forUpdate: Sql
  /** Returns the condition that a column contains the text in any case; see `containsText`. */
  containing(text: string): { contains: string }
  /**
   * Calls `onNotice` for each notification on a PostgreSQL channel, and whenever some may have been missed. SQLite has no
   * notifications, and a pooler may drop them: callers must also poll.
   *
   * @returns a function that stops listening
   */
  listen(channel: string, onNotice: () => void): Promise<() => Promise<void>>
}

/** The Prisma client, and what differs between the providers. */
export type Database = PrismaClient & ProviderFeatures

/** Limits of one connection attempt, one statement and one transaction: a slow database is a 503, not a hanging request. */
const CONNECT_TIMEOUT_MS = 5000
const STATEMENT_TIMEOUT_MS = 5000
const TRANSACTION_TIMEOUT_MS = 5000
/** Longer than `statement_timeout`, so that PostgreSQL normally reports the timeout and the connection stays usable. */
const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 500

/**
 * Connects to a migrated database.
 *
 * A query that fails because the database is down, full or busy throws DatabaseUnavailable (503).
 *
 * @param databaseUrl `file:…` for SQLite, whose file is created if it does not exist, or `postgresql://…`
 * @param log called with warnings for the operator
 */
export async function openDatabase(databaseUrl: string, log: (message: string) => void = () => {}): Promise<Database> {
  const provider = providerOf(databaseUrl)
  const { PrismaClient } =
    provider === 'sqlite'
      ? await import('./generated/sqlite/client.ts')
      : await import('./generated/postgresql/client.ts')
  // Both clients are generated from the same models, which use what both providers support.
  const client = new (PrismaClient as new (options: object) => PrismaClient)({
    adapter: await createAdapter(databaseUrl, {
      statement_timeout: STATEMENT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS
    }),
    transactionOptions: { maxWait: CONNECT_TIMEOUT_MS, timeout: TRANSACTION_TIMEOUT_MS },
    // The other formats put the values of a query into error messages, and so into logs.
    errorFormat: 'minimal'
  })
  const run = <Result>(work: () => Promise<Result>) => translateErrors(retryOnKeyCollision(client, log, work))
  const extended = client.$extends({
    query: {
      $allOperations: ({ args, query, ...others }) => {
        const work = (): Promise<unknown> => query(args)
        // After an error, an operation cannot be repeated inside its transaction, but the whole transaction can.
        return isInTransaction(others) ? translateErrors(work()) : run(work)
      }
    }
  }) as unknown as PrismaClient
  // Errors of BEGIN and COMMIT belong to no operation, so that the extension does not see them.
  const transact = extended.$transaction.bind(extended) as (...args: unknown[]) => Promise<unknown>
  return Object.assign(extended, featuresOf(provider, databaseUrl), {
    $transaction: (...args: unknown[]) => run(() => transact(...args))
  }) as Database
}

/** True for an operation inside a transaction. Prisma's extension for read replicas reads the same parameter. */
const isInTransaction = (operation: object): boolean =>
  (operation as { __internalParams?: { transaction?: unknown } }).__internalParams?.transaction !== undefined

function featuresOf(provider: Provider, databaseUrl: string): ProviderFeatures {
  return {
    provider,
    forShare: forShareOf(provider),
    forUpdate: forUpdateOf(provider),
    containing: (text) => containsText(provider, text),
    listen: async (channel, onNotice) =>
      provider === 'sqlite' ? async () => {} : listen(databaseUrl, channel, onNotice)
  }
}

async function translateErrors<Result>(work: Promise<Result>): Promise<Result> {
  try {
    return await work
  } catch (error) {
    throw isUnavailable(error) ? new DatabaseUnavailable(undefined, { cause: error }) : error
  }
}

/**
 * Creates Prisma's driver adapter for the provider, and the SQLite file if it does not exist.
 *
 * @param options of pg, such as `max` connections; not used for SQLite
 */
export async function createAdapter(databaseUrl: string, options: object = {}): Promise<SqlDriverAdapterFactory> {
  const path = filePathOf(databaseUrl)
  if (path !== null) {
    createFile(path)
    return createSqliteAdapter(path)
  }
  const { PrismaPg } = await import('@prisma/adapter-pg')
  return new PrismaPg({
    connectionString: databaseUrl,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    // Prisma's adapter writes and parses timestamps in ISO format and without an offset.
    onConnect: async (client) => {
      await client.query("SET DateStyle = 'ISO'; SET TimeZone = 'UTC'")
    },
    ...options
  })
}

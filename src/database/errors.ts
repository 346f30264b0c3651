/** Classification of database errors: Prisma's, those of its driver adapters, pg's and SQLite's. */
import { ServiceUnavailable } from '../errors.ts'

/** 503: the database is unreachable, overloaded, full, or busy with conflicting transactions. */
export class DatabaseUnavailable extends ServiceUnavailable {
  static override code = 'database_unavailable'
}

/** The `cause` of a DriverAdapterError. */
interface DriverError {
  kind?: string
  originalCode?: string
  extendedCode?: number
  table?: string
  constraint?: { index?: string; fields?: string[] }
}

const UNIQUE_VIOLATION = 'UniqueConstraintViolation'

/** Prisma's codes: P1xxx connection, P2024 pool exhausted, P2028 transaction API, P2034 write conflict, P2037 too many connections. */
const UNAVAILABLE = /^(P1\d{3}|P2024|P2028|P2034|P2037)$/
/** The driver adapters' kinds for the same. Raw statements and commits have one Prisma code for all errors, or none. */
const UNAVAILABLE_KINDS = new Set([
  'AuthenticationFailed',
  'ConnectionClosed',
  'DatabaseAccessDenied',
  'DatabaseDoesNotExist',
  'DatabaseNotReachable',
  'SocketTimeout',
  'TlsConnectionError',
  'TooManyConnections',
  'TransactionAlreadyClosed',
  'TransactionWriteConflict'
])
/**
 * SQLSTATE classes 08 (connection), 53 (resources), 57 (operator intervention), 58 (system error), and single codes: 25006
 * read-only server, 25P03 and 25P04 transaction timeouts, 55P03 lock not available.
 */
const UNAVAILABLE_SQLSTATE = /^(08|53|57|58)...$|^(25006|25P03|25P04|55P03)$/
/** SQLite's primary result codes BUSY, LOCKED, READONLY, IOERR, CORRUPT, FULL, CANTOPEN. */
const UNAVAILABLE_SQLITE_CODES = new Set([5, 6, 8, 10, 11, 13, 14])
/** Errors of the connection itself, for which pg has no code. */
const UNAVAILABLE_PG_MESSAGE =
  /^(timeout exceeded when trying to connect|Connection terminated|Client has encountered a connection|Query read timeout)/
/** Errors of Node.js for name resolution and sockets, such as EAI_AGAIN, ENETUNREACH or ECONNREFUSED. */
const SYSTEM_ERROR = /^E(?!RR_)[A-Z][A-Z_0-9]*$/

/** True if the statement is correct and may succeed later: the database is down, full, busy, or reported a conflict. */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as { code?: unknown }
  if (typeof code === 'string' && (UNAVAILABLE.test(code) || SYSTEM_ERROR.test(code))) return true
  const { kind = '', originalCode = '', extendedCode = 0 } = driverErrorOf(error)
  return (
    UNAVAILABLE_KINDS.has(kind) ||
    UNAVAILABLE_SQLSTATE.test(originalCode) ||
    UNAVAILABLE_SQLITE_CODES.has(extendedCode & 255) ||
    UNAVAILABLE_PG_MESSAGE.test(error.message)
  )
}

/**
 * True for a unique violation: a row with this value already exists. A generated primary key that already exists is none,
 * see sequences.ts.
 *
 * @param name of the table or of the index that is violated; by default any
 */
export function isUniqueViolation(error: unknown, name?: string): boolean {
  if (!(error instanceof Error)) return false
  const { kind, table, constraint } = driverErrorOf(error)
  if (name === undefined) return hasCode(error, 'P2002') || kind === UNIQUE_VIOLATION
  if (kind !== UNIQUE_VIOLATION) return false
  // SQLite names the index of an expression in place of a column.
  return table === name || constraint?.index === name || constraint?.fields?.[0] === `index '${name}'`
}

/** Returns the table of PostgreSQL whose primary key exists already, or null for any other error. */
export function collidedTableOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null
  const { kind, table, constraint } = driverErrorOf(error)
  return kind === UNIQUE_VIOLATION && table && constraint?.index === `${table}_pkey` ? table : null
}

/** True if the row to change or to find does not exist, or no longer matches the condition. */
export const isMissingRow = (error: unknown): boolean => hasCode(error, 'P2025')

/**
 * True if a row references a row that does not exist. Django's foreign keys are deferred, so that the commit may raise this
 * and not the statement.
 */
export function isForeignKeyViolation(error: unknown): boolean {
  return hasCode(error, 'P2003') || kindOf(error) === 'ForeignKeyConstraintViolation'
}

/** True if a raw statement names a table that does not exist. */
export const isMissingTable = (error: unknown): boolean => kindOf(error) === 'TableDoesNotExist'

/** True if the database aborted the transaction because of a deadlock or a serialization failure. It can be retried. */
export function isDeadlock(error: unknown): boolean {
  if (!(error instanceof DatabaseUnavailable)) return false
  return hasCode(error.cause, 'P2034') || kindOf(error.cause) === 'TransactionWriteConflict'
}

/** True if another process holds SQLite's write lock. The statement had no effect and can be retried. */
export function isBusy(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { kind, originalCode } = driverErrorOf(error)
  // 517 is BUSY_SNAPSHOT: the transaction's snapshot is outdated, and a retry within it would fail again.
  return kind === 'SocketTimeout' && originalCode !== '517'
}

const hasCode = (error: unknown, code: string): boolean =>
  error instanceof Error && (error as { code?: unknown }).code === code

const kindOf = (error: unknown): string | undefined => (error instanceof Error ? driverErrorOf(error).kind : undefined)

/** The adapter's error inside a Prisma error, or of a DriverAdapterError itself, which a failed commit throws. */
function driverErrorOf(error: Error): DriverError {
  const { meta, cause } = error as { meta?: { driverAdapterError?: { cause?: DriverError } }; cause?: DriverError }
  return meta?.driverAdapterError?.cause ?? cause ?? {}
}

/** The one place that knows how a database says that it is down, full, busy or in conflict. */
import { ServiceUnavailable } from '../errors.ts'

export class DatabaseUnavailable extends ServiceUnavailable {
  static override code = 'database_unavailable'
}

interface DriverError {
  kind?: string
  originalCode?: string
  extendedCode?: number
}

/** Prisma: unreachable, timed out, closed, pool exhausted, transaction could not start, write conflict, connections used up. */
const UNAVAILABLE = /^(P1\d{3}|P2024|P2028|P2034|P2037)$/
/** The same as its adapters say it, where Prisma has one code for all: of raw statements, and of a commit. */
const UNAVAILABLE_KINDS = new Set([
  ...['AuthenticationFailed', 'DatabaseNotReachable', 'DatabaseDoesNotExist', 'SocketTimeout', 'DatabaseAccessDenied'],
  ...['TlsConnectionError', 'ConnectionClosed', 'TransactionAlreadyClosed', 'TransactionWriteConflict'],
  'TooManyConnections'
])
/**
 * PostgreSQL's classes of connection, resources, operator intervention and system trouble; read-only server, a
 * transaction that took too long, a lock that was not to be had.
 */
const POSTGRESQL_TROUBLE = /^(08|53|57|58)...$|^(25006|25P03|25P04|55P03)$/
/** SQLite: BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN. */
const SQLITE_TROUBLE = new Set([5, 6, 8, 10, 13, 14])
/** Of the connection itself, which pg reports without a code. */
const CONNECTION_TROUBLE =
  /^(timeout exceeded when trying to connect|Connection terminated|Client has encountered a connection|Query read timeout)/
const SOCKET_TROUBLE = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EHOSTUNREACH'])

/** True if trying again later may work, because nothing is wrong with the statement. */
export function isUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { code } = error as { code?: unknown }
  if (typeof code === 'string' && (UNAVAILABLE.test(code) || SOCKET_TROUBLE.has(code))) return true
  const { kind = '', originalCode = '', extendedCode = 0 } = driverErrorOf(error)
  return (
    UNAVAILABLE_KINDS.has(kind) ||
    POSTGRESQL_TROUBLE.test(originalCode) ||
    SQLITE_TROUBLE.has(extendedCode & 255) ||
    CONNECTION_TROUBLE.test(error.message)
  )
}

/** True if a row with the same unique value is there already. */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === 'P2002'
}

/** True if the row to change is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === 'P2025'
}

/** True if a row that this one points to is gone; found out at once or, Django's keys being deferred, at the commit. */
export function isForeignKeyViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return (error as { code?: unknown }).code === 'P2003' || driverErrorOf(error).kind === 'ForeignKeyConstraintViolation'
}

/** True if the one row that was to be changed or found is not there, or is no longer as it was asked for. */
export function isMissingRow(error: unknown): boolean {
  return error instanceof Error && (error as { code?: unknown }).code === 'P2025'
}

/** True if a statement names a table that there is not. */
export function isMissingTable(error: unknown): boolean {
  return error instanceof Error && driverErrorOf(error).kind === 'TableDoesNotExist'
}

/**
 * True if transactions have waited for each other, or have read what others have changed, and this one had to give way;
 * it can be tried again.
 */
export function isDeadlock(error: unknown): boolean {
  if (!(error instanceof DatabaseUnavailable && error.cause instanceof Error)) return false
  const { code } = error.cause as { code?: unknown }
  return code === 'P2034' || driverErrorOf(error.cause).kind === 'TransactionWriteConflict'
}

/** True if SQLite's one writer is another process; the statement has done nothing and can be tried again. */
export function isBusy(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const { kind, originalCode } = driverErrorOf(error)
  // 517, BUSY_SNAPSHOT: what this transaction has read is outdated, and stays so however often it tries.
  return kind === 'SocketTimeout' && originalCode !== '517'
}

/** In an error of Prisma's, or in one of its adapter's, which is what a failed commit throws. */
function driverErrorOf(error: Error): DriverError {
  const { meta, cause } = error as { meta?: { driverAdapterError?: { cause?: DriverError } }; cause?: DriverError }
  return meta?.driverAdapterError?.cause ?? cause ?? {}
}

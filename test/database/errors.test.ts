/** Classification of errors of Prisma, its adapters and their drivers. All shapes were observed in practice. */
import { DriverAdapterError, type MappedError } from '@prisma/driver-adapter-utils'
import t from 'tap'
import {
  DatabaseUnavailable,
  isBusy,
  isDeadlock,
  isForeignKeyViolation,
  isMissingRow,
  isMissingTable,
  isUnavailable,
  isUniqueViolation
} from '../../src/database/errors.ts'
import { ServiceUnavailable } from '../../src/errors.ts'

type Cause = Partial<MappedError> & { originalCode?: string; extendedCode?: number }

/** An error of Prisma with its own code. */
const known = (code: string, meta: object = {}) => Object.assign(new Error('Invalid invocation'), { code, meta })
/** Prisma's error around that of its adapter: P2010 for a raw statement, P2039 for any other without its own code. */
const wrapped = (code: string, cause: Cause) =>
  known(code, { driverAdapterError: new DriverAdapterError(cause as MappedError) })
/** The adapter's error alone, as thrown by a commit. */
const bare = (cause: Cause) => new DriverAdapterError(cause as MappedError)
/** An error of the operating system or of the driver. */
const system = (message: string, code?: string) => Object.assign(new Error(message), code === undefined ? {} : { code })

const postgres = (originalCode: string): Cause => ({ kind: 'postgres', originalCode })
const sqlite = (extendedCode: number): Cause => ({ kind: 'sqlite', extendedCode, originalCode: String(extendedCode) })

const UNAVAILABLE: Record<string, unknown> = {
  'credentials are wrong': known('P1000'),
  'the server cannot be reached': known('P1001'),
  'the server does not answer in time': known('P1002'),
  'an operation has timed out': known('P1008'),
  'the server has closed the connection': known('P1017'),
  'the pool is exhausted': known('P2024'),
  'a transaction could not start in time': known('P2028'),
  'a write conflict of two transactions': known('P2034'),
  'there are too many connections': known('P2037'),

  'the name of the server cannot be looked up for a moment': system('getaddrinfo EAI_AGAIN db', 'EAI_AGAIN'),
  'the network is unreachable': system('connect ENETUNREACH', 'ENETUNREACH'),
  'SQLite: the file is corrupt': wrapped('P2010', sqlite(11)),
  'raw: the server cannot be reached': wrapped('P2010', { kind: 'DatabaseNotReachable' }),
  'raw: the connection is closed': wrapped('P2010', { kind: 'ConnectionClosed' }),
  'raw: credentials are wrong': wrapped('P2010', { kind: 'AuthenticationFailed', originalCode: '28P01' }),
  'raw: the database does not exist': wrapped('P2010', { kind: 'DatabaseDoesNotExist', originalCode: '3D000' }),
  'raw: access to the database is denied': wrapped('P2010', { kind: 'DatabaseAccessDenied', originalCode: '28000' }),
  'raw: no TLS': wrapped('P2010', { kind: 'TlsConnectionError' }),
  'raw: SQLite is busy': wrapped('P2010', { kind: 'SocketTimeout', originalCode: '5' }),
  'raw: a deadlock': wrapped('P2010', { kind: 'TransactionWriteConflict', originalCode: '40P01' }),
  'raw: too many clients': wrapped('P2010', { kind: 'TooManyConnections', originalCode: '53300' }),
  'commit: the transaction is closed': bare({ kind: 'TransactionAlreadyClosed' }),

  'PostgreSQL: connection failure': wrapped('P2039', postgres('08006')),
  'PostgreSQL: disk full': wrapped('P2039', postgres('53100')),
  'PostgreSQL: out of memory': wrapped('P2039', postgres('53200')),
  'PostgreSQL: statement timeout': wrapped('P2039', postgres('57014')),
  'PostgreSQL: terminated by an administrator': wrapped('P2010', postgres('57P01')),
  'PostgreSQL: crash': wrapped('P2039', postgres('57P02')),
  'PostgreSQL: starting up': wrapped('P2039', postgres('57P03')),
  'PostgreSQL: input/output error': wrapped('P2039', postgres('58030')),
  'PostgreSQL: read-only transaction': wrapped('P2039', postgres('25006')),
  'PostgreSQL: idle-in-transaction timeout': wrapped('P2039', postgres('25P03')),
  'PostgreSQL: lock not available': wrapped('P2039', postgres('55P03')),
  'PostgreSQL: commit': bare(postgres('57P01')),

  'SQLite: busy': wrapped('P2039', sqlite(5)),
  'SQLite: busy, extended': bare(sqlite(5 + 256)),
  'SQLite: locked': wrapped('P2039', sqlite(6)),
  'SQLite: read-only': wrapped('P2039', sqlite(8)),
  'SQLite: read-only, extended': wrapped('P2039', sqlite(1544)),
  'SQLite: input/output error': wrapped('P2010', sqlite(10)),
  'SQLite: input/output error, extended': wrapped('P2039', sqlite(778)),
  'SQLite: full': bare(sqlite(13)),
  'SQLite: cannot be opened': bare(sqlite(14)),

  'pg: no connection in time': system('timeout exceeded when trying to connect'),
  'pg: connection lost': system('Connection terminated unexpectedly'),
  'pg: connection not made in time': system('Connection terminated due to connection timeout'),
  'pg: connection broken': system('Client has encountered a connection error and is not queryable'),
  'pg: query timeout': system('Query read timeout'),
  'system: refused': system('connect', 'ECONNREFUSED'),
  'system: reset': system('read', 'ECONNRESET'),
  'system: pipe': system('write', 'EPIPE'),
  'system: timeout': system('connect', 'ETIMEDOUT'),
  'system: name': system('getaddrinfo', 'ENOTFOUND'),
  'system: route': system('connect', 'EHOSTUNREACH')
}

const OTHERWISE: Record<string, unknown> = {
  'a unique violation': known('P2002'),
  'a foreign key violation': known('P2003'),
  'a missing row': known('P2025'),
  'a missing table': known('P2021'),
  'P10 without its digits': known('P10'),
  'a syntax error in a raw statement': wrapped('P2010', postgres('42601')),
  'a value too long': wrapped('P2039', postgres('22001')),
  'an unknown code that ends like a known one': wrapped('P2039', postgres('XX08006')),
  'SQLite: a constraint': wrapped('P2039', sqlite(19)),
  'SQLite: not a database': wrapped('P2039', sqlite(26)),
  'commit: a foreign key violation': bare({ kind: 'ForeignKeyConstraintViolation' }),
  'a programming error': new TypeError('x is not a function'),
  'a message that quotes a known one': system('it said: Connection terminated'),
  'a numeric code': Object.assign(new Error('x'), { code: 1001 }),
  'a cause that is not an adapter error': new Error('x', { cause: new Error('y') }),
  'a null cause': new Error('x', { cause: null }),
  'a string': 'ECONNREFUSED',
  'an undefined value': undefined,
  'an object that is not an Error': { code: 'P1001' }
}

t.test('isUnavailable distinguishes temporary from permanent errors', async (t) => {
  for (const [name, error] of Object.entries(UNAVAILABLE)) t.equal(isUnavailable(error), true, name)
  for (const [name, error] of Object.entries(OTHERWISE)) t.equal(isUnavailable(error), false, name)
})

t.test('unique and foreign key violations are recognized, at the statement and at the commit', async (t) => {
  const faults = [...Object.values(UNAVAILABLE), ...Object.values(OTHERWISE)]
  const [unique, foreign, atCommit] = [
    known('P2002'),
    known('P2003'),
    bare({ kind: 'ForeignKeyConstraintViolation' } as Cause)
  ]

  t.ok(isUniqueViolation(unique))
  t.ok(isForeignKeyViolation(foreign))
  t.ok(isForeignKeyViolation(atCommit))
  t.equal(faults.filter((fault) => isUniqueViolation(fault)).length, 1)
  const kind = 'UniqueConstraintViolation'
  const violations: [cause: object, name: string, isOf: boolean][] = [
    [{ table: 'auth_user', constraint: { index: 'auth_user_username_key' } }, 'auth_user', true],
    [{ table: 'auth_user', constraint: { fields: ['username'] } }, 'auth_user', true],
    [{ table: 'auth_user_groups', constraint: { index: 'x' } }, 'auth_user', false],
    [{ table: 'auth_user', constraint: { index: 'by_email' } }, 'by_email', true],
    [{ constraint: { fields: ["index 'by_email'"] } }, 'by_email', true],
    [{}, 'auth_user', false]
  ]
  for (const [cause, name, isOf] of violations) {
    t.equal(isUniqueViolation(wrapped('P2002', { kind, ...cause } as Cause), name), isOf, JSON.stringify(cause))
  }
  t.equal(faults.filter(isForeignKeyViolation).length, 2)
})

t.test('missing rows and missing tables of raw statements are recognized', async (t) => {
  const faults = [...Object.values(UNAVAILABLE), ...Object.values(OTHERWISE)]
  t.equal(faults.filter(isMissingRow).length, 1)
  t.ok(isMissingRow(known('P2025')))
  t.equal(faults.filter(isMissingTable).length, 0, 'P2021 of models does not count')
  t.ok(isMissingTable(wrapped('P2010', { kind: 'TableDoesNotExist' } as Cause)))
})

t.test('isDeadlock recognizes write conflicts at the statement and at the commit', async (t) => {
  const unavailable = (cause: unknown) => new DatabaseUnavailable(undefined, { cause })
  const cases: [string, unknown, boolean][] = [
    ['at a statement', unavailable(known('P2034')), true],
    ['at the commit', unavailable(bare({ kind: 'TransactionWriteConflict' } as Cause)), true],
    ['the server is unreachable', unavailable(known('P1001')), false],
    ['no cause', unavailable(undefined), false],
    ['not yet converted', known('P2034'), false]
  ]

  for (const [name, error, expected] of cases) t.equal(isDeadlock(error), expected, name)
})

t.test('isBusy is true for a locked database, and false for an outdated snapshot', async (t) => {
  const cases: [string, unknown, boolean][] = [
    ['busy', bare({ kind: 'SocketTimeout', originalCode: '5' }), true],
    ['busy, recovering', bare({ kind: 'SocketTimeout', originalCode: '261' }), true],
    ['outdated snapshot', bare({ kind: 'SocketTimeout', originalCode: '517' }), false],
    ['full', bare(sqlite(13)), false],
    ['a programming error', new TypeError('x'), false],
    ['an undefined value', undefined, false]
  ]

  for (const [name, error, expected] of cases) t.equal(isBusy(error), expected, name)
})

t.test('DatabaseUnavailable is a 503 with Retry-After that does not reveal the cause', async (t) => {
  const error = new DatabaseUnavailable(undefined, { cause: known('P1001') })

  t.ok(error instanceof ServiceUnavailable)
  t.equal(error.statusCode, 503)
  t.equal(error.code, 'database_unavailable')
  t.strictSame(error.headers, { 'retry-after': '5' })
  t.notMatch(error.message, /P1001|invocation/, 'the cause is only for the log')
})

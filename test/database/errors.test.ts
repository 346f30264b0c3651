/** The shapes in which Prisma, its adapters and their drivers say what went wrong; each was met in the wild. */
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

/** Prisma's, of a code of its own. */
const known = (code: string, meta: object = {}) => Object.assign(new Error('Invalid invocation'), { code, meta })
/** Prisma's around its adapter's: P2010 of a raw statement, P2039 of any other that it has no code for. */
const wrapped = (code: string, cause: Cause) =>
  known(code, { driverAdapterError: new DriverAdapterError(cause as MappedError) })
/** The adapter's alone, as a commit throws it. */
const bare = (cause: Cause) => new DriverAdapterError(cause as MappedError)
/** Of the system, or of the driver. */
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
  'two transactions were in each other’s way': known('P2034'),
  'connections are used up': known('P2037'),

  'the name of the server cannot be looked up for a moment': system('getaddrinfo EAI_AGAIN db', 'EAI_AGAIN'),
  'the network is unreachable': system('connect ENETUNREACH', 'ENETUNREACH'),
  'SQLite: the file is corrupt': wrapped('P2010', sqlite(11)),
  'raw: the server cannot be reached': wrapped('P2010', { kind: 'DatabaseNotReachable' }),
  'raw: the connection is closed': wrapped('P2010', { kind: 'ConnectionClosed' }),
  'raw: credentials are wrong': wrapped('P2010', { kind: 'AuthenticationFailed', originalCode: '28P01' }),
  'raw: the database is not there': wrapped('P2010', { kind: 'DatabaseDoesNotExist', originalCode: '3D000' }),
  'raw: the database is not ours': wrapped('P2010', { kind: 'DatabaseAccessDenied', originalCode: '28000' }),
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
  'PostgreSQL: input or output': wrapped('P2039', postgres('58030')),
  'PostgreSQL: a server that only reads': wrapped('P2039', postgres('25006')),
  'PostgreSQL: a transaction that idled': wrapped('P2039', postgres('25P03')),
  'PostgreSQL: a lock that was not to be had': wrapped('P2039', postgres('55P03')),
  'PostgreSQL: commit': bare(postgres('57P01')),

  'SQLite: busy': wrapped('P2039', sqlite(5)),
  'SQLite: busy, extended': bare(sqlite(5 + 256)),
  'SQLite: locked': wrapped('P2039', sqlite(6)),
  'SQLite: read-only': wrapped('P2039', sqlite(8)),
  'SQLite: read-only, extended': wrapped('P2039', sqlite(1544)),
  'SQLite: input or output': wrapped('P2010', sqlite(10)),
  'SQLite: input or output, extended': wrapped('P2039', sqlite(778)),
  'SQLite: full': bare(sqlite(13)),
  'SQLite: cannot be opened': bare(sqlite(14)),

  'pg: no connection in time': system('timeout exceeded when trying to connect'),
  'pg: connection lost': system('Connection terminated unexpectedly'),
  'pg: connection not made in time': system('Connection terminated due to connection timeout'),
  'pg: connection broken': system('Client has encountered a connection error and is not queryable'),
  'pg: no answer in time': system('Query read timeout'),
  'system: refused': system('connect', 'ECONNREFUSED'),
  'system: reset': system('read', 'ECONNRESET'),
  'system: pipe': system('write', 'EPIPE'),
  'system: timeout': system('connect', 'ETIMEDOUT'),
  'system: name': system('getaddrinfo', 'ENOTFOUND'),
  'system: route': system('connect', 'EHOSTUNREACH')
}

const OTHERWISE: Record<string, unknown> = {
  'a unique value that is there': known('P2002'),
  'a row that refers to nothing': known('P2003'),
  'a row that is gone': known('P2025'),
  'no such table': known('P2021'),
  'P10 without its digits': known('P10'),
  'a raw statement that is wrong': wrapped('P2010', postgres('42601')),
  'a value too long': wrapped('P2039', postgres('22001')),
  'a code that only ends like one of trouble': wrapped('P2039', postgres('XX08006')),
  'SQLite: a constraint': wrapped('P2039', sqlite(19)),
  'SQLite: not a database': wrapped('P2039', sqlite(26)),
  'commit: a row that refers to nothing': bare({ kind: 'ForeignKeyConstraintViolation' }),
  'a fault of ours': new TypeError('x is not a function'),
  'a message that only quotes': system('it said: Connection terminated'),
  'a number for a code': Object.assign(new Error('x'), { code: 1001 }),
  'a cause that is no driver’s': new Error('x', { cause: new Error('y') }),
  'no cause': new Error('x', { cause: null }),
  'a text': 'ECONNREFUSED',
  'no error at all': undefined,
  'nothing of an error': { code: 'P1001' }
}

t.test('what may work later is told from what never will', async (t) => {
  for (const [name, error] of Object.entries(UNAVAILABLE)) t.equal(isUnavailable(error), true, name)
  for (const [name, error] of Object.entries(OTHERWISE)) t.equal(isUnavailable(error), false, name)
})

t.test('of the rest, the two that callers ask for are known, at the statement and at the commit', async (t) => {
  const faults = [...Object.values(UNAVAILABLE), ...Object.values(OTHERWISE)]
  const [unique, foreign, atCommit] = [
    known('P2002'),
    known('P2003'),
    bare({ kind: 'ForeignKeyConstraintViolation' } as Cause)
  ]

  t.ok(isUniqueViolation(unique))
  t.ok(isForeignKeyViolation(foreign))
  t.ok(isForeignKeyViolation(atCommit))
  t.equal(faults.filter(isUniqueViolation).length, 1)
  t.equal(faults.filter(isForeignKeyViolation).length, 2)
})

t.test('so are a row and a table that are not there', async (t) => {
  const faults = [...Object.values(UNAVAILABLE), ...Object.values(OTHERWISE)]
  t.equal(faults.filter(isMissingRow).length, 1)
  t.ok(isMissingRow(known('P2025')))
  t.equal(faults.filter(isMissingTable).length, 0, 'Prisma has a code of its own for its models')
  t.ok(isMissingTable(wrapped('P2010', { kind: 'TableDoesNotExist' } as Cause)))
})

t.test(
  'to give way to another transaction is no trouble of the database, at the statement or at the commit',
  async (t) => {
    const unavailable = (cause: unknown) => new DatabaseUnavailable(undefined, { cause })
    const cases: [string, unknown, boolean][] = [
      ['at a statement', unavailable(known('P2034')), true],
      ['at the commit', unavailable(bare({ kind: 'TransactionWriteConflict' } as Cause)), true],
      ['the server is away', unavailable(known('P1001')), false],
      ['no cause', unavailable(undefined), false],
      ['not yet translated', known('P2034'), false]
    ]

    for (const [name, error, expected] of cases) t.equal(isDeadlock(error), expected, name)
  }
)

t.test('waiting is for a lock only, and not for what has been read and is outdated', async (t) => {
  const cases: [string, unknown, boolean][] = [
    ['busy', bare({ kind: 'SocketTimeout', originalCode: '5' }), true],
    ['busy, recovering', bare({ kind: 'SocketTimeout', originalCode: '261' }), true],
    ['outdated snapshot', bare({ kind: 'SocketTimeout', originalCode: '517' }), false],
    ['full', bare(sqlite(13)), false],
    ['a fault of ours', new TypeError('x'), false],
    ['no error at all', undefined, false]
  ]

  for (const [name, error, expected] of cases) t.equal(isBusy(error), expected, name)
})

t.test('a database that is away is a 503 that says when to come back', async (t) => {
  const error = new DatabaseUnavailable(undefined, { cause: known('P1001') })

  t.ok(error instanceof ServiceUnavailable)
  t.equal(error.statusCode, 503)
  t.equal(error.code, 'database_unavailable')
  t.strictSame(error.headers, { 'retry-after': '5' })
  t.notMatch(error.message, /P1001|invocation/, 'what it was is for the log')
})

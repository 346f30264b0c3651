/** Records SQL statements where Prisma passes them to the driver, on both databases. */
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaPg } from '@prisma/adapter-pg'
import type { SqlDriverAdapter, SqlQuery, Transaction } from '@prisma/driver-adapter-utils'
import type { Test } from 'tap'

/** Runs `work` and returns its statements in order: `SELECT auth_user`, `BEGIN`, `INSERT …`, `COMMIT`. */
export type StatementsOf = (work: () => Promise<unknown>) => Promise<string[]>

/** Watches the apps that are built after this call. */
export function watchStatements(t: Test): StatementsOf {
  const seen: string[] = []
  for (const { prototype } of [PrismaPg, PrismaLibSql]) {
    const { connect } = prototype
    t.intercept(prototype, 'connect', {
      async value(this: PrismaPg & PrismaLibSql) {
        return watchConnection(await connect.call(this), seen)
      }
    })
  }
  return async (work) => {
    seen.length = 0
    await work()
    return seen.slice()
  }
}

function watchConnection(connection: SqlDriverAdapter, seen: string[]): SqlDriverAdapter {
  const begin = connection.startTransaction.bind(connection)
  connection.startTransaction = async (level) => {
    seen.push('BEGIN')
    const transaction = watchQueries(await begin(level), seen)
    for (const end of ['commit', 'rollback'] as const) {
      const finish = transaction[end].bind(transaction)
      transaction[end] = () => {
        seen.push(end.toUpperCase())
        return finish()
      }
    }
    return transaction
  }
  return watchQueries(connection, seen)
}

function watchQueries<Queryable extends SqlDriverAdapter | Transaction>(
  queryable: Queryable,
  seen: string[]
): Queryable {
  const [query, execute] = [queryable.queryRaw.bind(queryable), queryable.executeRaw.bind(queryable)]
  const note = ({ sql }: SqlQuery) => {
    // One driver ends a transaction by a statement, the other by a call; only the call is recorded.
    if (/^(COMMIT|ROLLBACK)/.test(sql)) return
    const statement = shortOf(sql)
    // Revocations are polled in the background, independently of `work`.
    if (statement !== 'SELECT latchkey_revocation') seen.push(statement)
  }
  queryable.queryRaw = (statement) => {
    note(statement)
    return query(statement)
  }
  queryable.executeRaw = (statement) => {
    note(statement)
    return execute(statement)
  }
  return queryable
}

/** Returns the verb of a statement and its first table. */
function shortOf(sql: string): string {
  const [verb = ''] = sql.trim().split(' ')
  const table = /\b(?:FROM|INTO|UPDATE) (?:["`]\w+["`]\.)?["`](\w+)["`]/.exec(sql)?.[1] ?? ''
  return `${verb} ${table}`.trim()
}

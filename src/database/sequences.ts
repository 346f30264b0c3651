/**
 * PostgreSQL's sequences of primary keys. They fall behind their tables when rows are inserted with explicit ids: after COPY,
 * seeds, or logical replication, which does not carry sequences.
 */
import { collidedTableOf, DatabaseUnavailable } from './errors.ts'
import type { PrismaClient } from './generated/sqlite/client.ts'

const MAX_ATTEMPTS = 5

/**
 * Runs an operation again if a generated primary key already existed, after moving the sequence past the largest one.
 *
 * @param log called with each repaired sequence
 * @throws {DatabaseUnavailable} if the key exists in all five attempts: the role may use the sequence, but not set it
 */
export async function retryOnKeyCollision<Result>(
  client: PrismaClient,
  log: (message: string) => void,
  attempt: () => Promise<Result>
): Promise<Result> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt()
    } catch (error) {
      const table = collidedTableOf(error)
      if (table === null || !(await isGenerated(client, table))) throw error
      const message = `the sequence of ${table}.id is behind its table`
      if (attempts === MAX_ATTEMPTS) throw new DatabaseUnavailable(undefined, { cause: new Error(message) })
      const isRepaired = await repair(client, table)
      log(`${message}; ${isRepaired ? 'it was moved' : 'the database role may not move it: see docs/database.md'}`)
    }
  }
}

async function isGenerated(client: PrismaClient, table: string): Promise<boolean> {
  const [column] = await client.$queryRaw<object[]>`
    SELECT 1 FROM information_schema.columns WHERE table_name = ${table} AND column_name = 'id'
    AND (column_default LIKE 'nextval(%' OR is_identity = 'YES')`
  return column !== undefined
}

/** Concurrent callers may take numbers meanwhile, which `nextval` sees; the sequence is never moved back by more than these. */
async function repair(client: PrismaClient, table: string): Promise<boolean> {
  const name = `"${table.replaceAll('"', '""')}"`
  const sequence = `pg_get_serial_sequence('${name.replaceAll("'", "''")}', 'id')`
  const statement = `SELECT setval(${sequence}, GREATEST((SELECT MAX(id) FROM ${name}), nextval(${sequence})))`
  return client.$queryRawUnsafe(statement).then(
    () => true,
    () => false
  )
}

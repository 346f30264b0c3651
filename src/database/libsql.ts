/**
 * A connection to SQLite with the interface of `@libsql/client` that Prisma's adapter uses.
 *
 * `@libsql/client` itself has two faults. It leaks a connection per transaction until the next garbage collection. And a
 * statement that fails with SQLITE_BUSY stays active until then, and a connection with an active write statement does not
 * commit: the next write is reported as successful, is invisible to other connections, holds the write lock, and is lost if
 * the process crashes. This class takes the write lock before any write (BEGIN IMMEDIATE), with `exec`, which leaves no
 * active statement behind.
 */
import Database from 'libsql'

interface Statement {
  sql: string
  args: unknown[]
}

interface ResultSet {
  columns: string[]
  columnTypes: string[]
  rows: unknown[][]
  rowsAffected: number
}

const TRANSACTION_CONTROL = /^\s*(BEGIN|COMMIT|ROLLBACK)\b/i
const WRITE = /^\s*(INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|ALTER|DROP)\b/i
const EMPTY_RESULT: ResultSet = { columns: [], columnTypes: [], rows: [], rowsAffected: 0 }

export class Connection {
  readonly #database: InstanceType<typeof Database>

  constructor(path: string) {
    this.#database = new Database(path)
  }

  async execute({ sql, args }: Statement): Promise<ResultSet> {
    if (TRANSACTION_CONTROL.test(sql)) {
      this.#database.exec(sql)
      return EMPTY_RESULT
    }
    if (this.#database.inTransaction || !WRITE.test(sql)) return this.#run(sql, args)
    this.#begin()
    return this.#commit(() => this.#run(sql, args))
  }

  /** Begins a transaction. The adapter runs no other statement on this connection until it has ended. */
  async transaction() {
    this.#begin()
    let isOpen = true
    const assertOpen = () => {
      // Prisma rolls back a transaction that exceeds its timeout. Later statements of it must not run outside of one.
      if (!isOpen) throw Object.assign(new Error('The transaction has ended'), { code: 'P2028' })
    }
    const end = () => {
      assertOpen()
      isOpen = false
    }
    return {
      execute: async ({ sql, args }: Statement) => {
        assertOpen()
        return this.#run(sql, args)
      },
      commit: async () => {
        end()
        this.#commit(() => EMPTY_RESULT)
      },
      rollback: async () => {
        end()
        this.#rollback()
      }
    }
  }

  async executeMultiple(script: string): Promise<void> {
    this.#database.exec(script)
  }

  close(): void {
    this.#database.close()
  }

  #begin(): void {
    this.#database.exec('BEGIN IMMEDIATE')
  }

  /** Rolls back if the commit fails, as it does for a foreign key violation; otherwise the write lock would stay held. */
  #commit(work: () => ResultSet): ResultSet {
    try {
      const result = work()
      this.#database.exec('COMMIT')
      return result
    } catch (error) {
      this.#rollback()
      throw error
    }
  }

  /** SQLite rolls back by itself after some errors, such as a full disk. */
  #rollback(): void {
    if (this.#database.inTransaction) this.#database.exec('ROLLBACK')
  }

  #run(sql: string, args: unknown[]): ResultSet {
    const statement = this.#database.prepare(sql)
    const values = args.map((value) => (typeof value === 'boolean' ? Number(value) : value))
    if (!statement.reader) return { ...EMPTY_RESULT, rowsAffected: statement.run(values).changes }
    const rows = statement.raw(true).all(values) as unknown[][]
    const columns = statement.columns()
    return {
      columns: columns.map(({ name }) => name),
      columnTypes: columns.map(({ type }) => type ?? ''),
      rows,
      rowsAffected: 0
    }
  }
}

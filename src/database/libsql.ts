/**
 * One connection to SQLite, in the shape that Prisma's adapter expects of `@libsql/client`, whose own is of no use here.
 *
 * That one leaves a connection behind with every transaction, until the garbage is collected. Worse, a statement that
 * SQLite refuses since another process is writing stays half run just as long, and a connection with such a statement
 * commits nothing: the next write is reported as done, seen by nobody, locks everybody out, and is lost in a crash.
 * Here the lock is taken before anything is written, and by `exec`, which leaves no statement behind.
 */
import Database from 'libsql'

interface Statement {
  sql: string
  args: unknown[]
}

interface Answer {
  columns: string[]
  columnTypes: string[]
  rows: unknown[][]
  rowsAffected: number
}

const BOUNDARY = /^\s*(BEGIN|COMMIT|ROLLBACK)\b/i
const WRITE = /^\s*(INSERT|UPDATE|DELETE|REPLACE|WITH|CREATE|ALTER|DROP)\b/i
const NOTHING: Answer = { columns: [], columnTypes: [], rows: [], rowsAffected: 0 }

export class Connection {
  readonly #database: InstanceType<typeof Database>

  constructor(path: string) {
    this.#database = new Database(path)
  }

  async execute({ sql, args }: Statement): Promise<Answer> {
    if (BOUNDARY.test(sql)) return this.#begin(sql)
    if (this.#database.inTransaction || !WRITE.test(sql)) return this.#run(sql, args)
    this.#begin()
    return this.#commit(() => this.#run(sql, args))
  }

  /** Others are kept off this connection by the adapter until it has ended. */
  async transaction() {
    this.#begin()
    let open = true
    const end = () => {
      // An expired transaction has ended behind its user's back; what comes now must not be written by itself.
      if (!open) throw Object.assign(new Error('The transaction has ended'), { code: 'P2028' })
      open = false
    }
    return {
      execute: async ({ sql, args }: Statement) => {
        if (!open) end()
        return this.#run(sql, args)
      },
      commit: async () => {
        end()
        this.#commit(() => NOTHING)
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

  #begin(sql = 'BEGIN IMMEDIATE'): Answer {
    this.#database.exec(sql)
    return NOTHING
  }

  /** A commit that fails, as for a row that refers to nothing, would leave the transaction open and others locked out. */
  #commit(work: () => Answer): Answer {
    try {
      const answer = work()
      this.#database.exec('COMMIT')
      return answer
    } catch (error) {
      this.#rollback()
      throw error
    }
  }

  /** When the disk is full, SQLite has rolled back already. */
  #rollback(): void {
    if (this.#database.inTransaction) this.#database.exec('ROLLBACK')
  }

  #run(sql: string, args: unknown[]): Answer {
    const statement = this.#database.prepare(sql)
    const values = args.map((value) => (typeof value === 'boolean' ? Number(value) : value))
    if (!statement.reader) return { ...NOTHING, rowsAffected: statement.run(values).changes }
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

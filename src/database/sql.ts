/** Building blocks of raw SQL, for statements that Prisma's model API cannot express. Values are always bound as parameters. */
import { empty, join, type Sql, sqltag as sql } from '@prisma/client/runtime/client'
import type { Provider } from './url.ts'

export { empty, join, type Sql, sql }

/** The row lock `FOR UPDATE`; empty on SQLite, which has no row locks and allows one writer at a time. */
export const forUpdateOf = (provider: Provider): Sql => (provider === 'sqlite' ? empty : sql`FOR UPDATE`)

/** The row lock `FOR SHARE`; empty on SQLite. */
export const forShareOf = (provider: Provider): Sql => (provider === 'sqlite' ? empty : sql`FOR SHARE`)

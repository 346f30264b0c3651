/** Pieces of statements that no Prisma model can say. Values go in as parameters, whatever the database. */
import { empty, join, type Sql, sqltag as sql } from '@prisma/client/runtime/client'
import { isEmbedded } from './open.ts'

export { empty, join, type Sql, sql }

/** Keeps others from changing the rows that are selected. SQLite has one writer, and need not say anything. */
export const forShare = (databaseUrl: string): Sql => (isEmbedded(databaseUrl) ? empty : sql`FOR SHARE`)

/** What can go wrong in a database, on purpose. */
import type { FastifyInstance } from 'fastify'

const isSqlite = (app: FastifyInstance) => app.auth.settings.databaseUrl.startsWith('file:')

/** From now on the database refuses new rows of this table, without being down. */
export async function refuseInserts(app: FastifyInstance, table: string): Promise<void> {
  // SQLite's own RAISE comes out as a foreign key's violation; a table that is not there comes out as what it is.
  const statements = isSqlite(app)
    ? [`CREATE TRIGGER refusal BEFORE INSERT ON ${table} BEGIN INSERT INTO refused VALUES (1); END`]
    : [
        `CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$`,
        `CREATE TRIGGER refusal BEFORE INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION refuse()`
      ]
  for (const statement of statements) await app.auth.database.$executeRawUnsafe(statement)
}

/** Undoes `refuseInserts`. */
export async function allowInserts(app: FastifyInstance, table: string): Promise<void> {
  const { database } = app.auth
  await database.$executeRawUnsafe(isSqlite(app) ? 'DROP TRIGGER refusal' : `DROP TRIGGER refusal ON ${table}`)
}

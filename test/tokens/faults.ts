/** Injects database faults. */
import type { FastifyInstance } from 'fastify'

const isSqlite = (app: FastifyInstance) => app.auth.settings.databaseUrl.startsWith('file:')

/** Makes the database reject inserts into a table, without being down. */
export async function refuseInserts(app: FastifyInstance, table: string): Promise<void> {
  // RAISE is reported as a foreign key violation in SQLite, so the trigger writes to a missing table instead.
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

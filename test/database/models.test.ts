/**
 * Compares the Prisma models with the migrated tables: columns, types, nullability and the names of constraints.
 *
 * Prisma's own comparison cannot be used: through an adapter it does not read PostgreSQL's catalog, and on SQLite it
 * reports Django's types as differences.
 */
import t from 'tap'
import { onEachDatabase } from '../support/build.ts'
import { ask, catalogOf, tablesOf } from './catalog.ts'

type Provider = 'sqlite' | 'postgresql'
const { schemaOf } = (await import(new URL('../../prisma/schema.mjs', import.meta.url).href)) as {
  schemaOf(provider: Provider): { content: string }
}

const TYPES: Record<Provider, Record<string, string>> = {
  postgresql: {
    Int: 'integer',
    BigInt: 'bigint',
    Boolean: 'boolean',
    DateTime: 'timestamp with time zone',
    String: 'text'
  },
  sqlite: { Int: 'integer', BigInt: 'integer', Boolean: 'bool', DateTime: 'datetime', String: 'text' }
}

const MODEL = /^model \w+ \{$(.*?)^\}$/gms
const FIELD = /^ {2}(\w+) +(Int|BigInt|Boolean|DateTime|String)(\??)(.*)$/gm

/** The columns by table that the models declare. */
function columnsOfModels(provider: Provider): Record<string, string[]> {
  const models = [...schemaOf(provider).content.matchAll(MODEL)].map(([, body = '']) => {
    const columns = [...body.matchAll(FIELD)].map(([, name, type = '', optional, rest = '']) => {
      const length = /@db\.VarChar\((\d+)\)/.exec(rest)?.[1]
      const column = /@map\("(\w+)"\)/.exec(rest)?.[1] ?? name
      return `${column} ${length ? `character varying(${length})` : TYPES[provider][type]}${optional ? '' : ' NOT NULL'}`
    })
    return [/@@map\("(\w+)"\)/.exec(body)?.[1], columns.sort()]
  })
  return Object.fromEntries(models)
}

/** Queries for the columns of a table; on SQLite without lengths, which SQLite ignores. */
const COLUMNS: Record<Provider, (table: string) => string> = {
  postgresql: (table) => `
    SELECT attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END AS fact
    FROM pg_attribute WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped`,
  sqlite: (table) => `
    SELECT name || ' ' || CASE WHEN type LIKE '%int%' THEN 'integer' WHEN type LIKE 'varchar%' THEN 'text' ELSE lower(type) END
      || CASE WHEN "notnull" THEN ' NOT NULL' ELSE '' END AS fact FROM pragma_table_info('${table}')`
}

onEachDatabase(t, (t, { provider, databaseUrl }) => {
  t.test('models and tables have the same columns, types and nullability', async (t) => {
    const url = await databaseUrl(t)
    const models = columnsOfModels(provider)
    const tables = (await tablesOf(url)).filter((table) => !['_prisma_migrations', 'django_migrations'].includes(table))

    t.strictSame(Object.keys(models).sort(), tables)
    for (const table of tables) {
      const columns = (await ask(url, COLUMNS[provider](table))).map(({ fact }) => String(fact))
      t.strictSame(models[table], columns.sort(), table)
    }
  })

  t.test('all names of constraints and indexes in the models exist in the database', async (t) => {
    const facts = Object.values(await catalogOf(await databaseUrl(t))).flat()
    const known = new Set(facts.join(' ').split(/[ ."]/))
    const names = [...schemaOf(provider).content.matchAll(/@@(?:unique|index).*map: "(\w+)"/g)].map(([, name]) => name)

    t.ok(names.length > 10)
    t.strictSame(
      names.filter((name) => !known.has(String(name))),
      []
    )
  })
})

/**
 * The Prisma schema of a provider, put together from its datasource and the models, which are written once.
 *
 * SQLite knows neither PostgreSQL's column types nor names of foreign keys, so these are left out there.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export const PROVIDERS = ['sqlite', 'postgresql']

const here = (path) => fileURLToPath(new URL(path, import.meta.url))
const read = (path) => readFileSync(here(path), 'utf8')

/** @returns {{ path: string, content: string }} a schema in one file, as if it lay in the provider's folder */
export function schemaOf(provider) {
  const models = readdirSync(here('models'))
    .sort()
    .map((file) => read(`models/${file}`))
    .join('\n')
  const known =
    provider === 'sqlite'
      ? models.replace(/ @db\.\w+(\(\d+\))?/g, '').replace(/(@relation\(.*), map: "\w+"/g, '$1')
      : models
  return { path: here(`${provider}/schema.prisma`), content: `${read(`${provider}/datasource.prisma`)}\n${known}` }
}

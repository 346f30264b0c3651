/** Databases with tables and rows recorded from a Django project, so that the tests need no Django. */
import { readFileSync } from 'node:fs'
import { run } from './catalog.ts'

export type App = 'auth' | 'authtoken' | 'token_blacklist'
export const APPS: readonly App[] = ['auth', 'authtoken', 'token_blacklist']

/** Credentials of the user in the recorded database. */
export const MARIA = { username: 'maria', password: 'correct horse battery staple' }
/** Refresh tokens that Django issued to her; one is blacklisted. */
export const MARIAS_JTI = { blacklisted: '00000000000000000000000000000001', live: '00000000000000000000000000000002' }

const WIDE =
  /(TABLE (?:django_migrations|auth_(?:group_permissions|user_groups|user_user_permissions)) \(\s+id )bigint/g

interface Project {
  apps?: readonly App[]
  /** On PostgreSQL, the id type of many-to-many tables and django_migrations, which DEFAULT_AUTO_FIELD determines. */
  ids?: 'bigint' | 'integer'
}

/** Creates the tables and rows in an empty database. */
export async function makeDjango(databaseUrl: string, { apps = APPS, ids = 'bigint' }: Project = {}): Promise<void> {
  const provider = databaseUrl.startsWith('file:') ? 'sqlite' : 'postgresql'
  const tables = sectionsOf(`django-${provider}.sql`, apps)
  const rows = sectionsOf('django-rows.sql', apps)
  await run(databaseUrl, `${withIds(tables, ids)}\n${rows}`)
}

function sectionsOf(file: string, apps: readonly App[]): string {
  const [, ...sections] = readFileSync(new URL(file, import.meta.url), 'utf8').split(/^-- app: /m)
  return sections
    .filter((section) => apps.includes(section.split('\n', 1)[0] as App))
    .map((section) => `-- ${section}`)
    .join('')
}

const withIds = (tables: string, ids: string) => tables.replace(WIDE, `$1${ids}`)

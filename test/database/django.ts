/** A database as Django made and used it, from files, so that the suite needs no Django. */
import { readFileSync } from 'node:fs'
import { run } from './catalog.ts'

export type App = 'auth' | 'authtoken' | 'token_blacklist'
export const APPS: readonly App[] = ['auth', 'authtoken', 'token_blacklist']

/** Who is in it, and can sign in. */
export const MARIA = { username: 'maria', password: 'correct horse battery staple' }
export const MARIAS_KEY = '9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b'
/** Refresh tokens of hers that Django handed out, one of them blacklisted since. */
export const MARIAS_JTI = { blacklisted: '00000000000000000000000000000001', live: '00000000000000000000000000000002' }

const WIDE =
  /(TABLE (?:django_migrations|auth_(?:group_permissions|user_groups|user_user_permissions)) \(\s+id )bigint/g

interface Project {
  apps?: readonly App[]
  /** On PostgreSQL, what DEFAULT_AUTO_FIELD makes of the ids of the many-to-many tables and of django_migrations. */
  ids?: 'bigint' | 'integer'
}

/** Fills an empty database. */
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

/** The two kinds of DATABASE_URL: `file:…` names a SQLite file, `postgresql://…` a PostgreSQL database. */

export type Provider = 'sqlite' | 'postgresql'

export const providerOf = (databaseUrl: string): Provider => (databaseUrl.startsWith('file:') ? 'sqlite' : 'postgresql')

/** The path of the SQLite file, relative to the working directory if the URL is (`file:./data/latchkey.db`); else null. */
export function filePathOf(databaseUrl: string): string | null {
  if (providerOf(databaseUrl) !== 'sqlite') return null
  return databaseUrl.replace(/^file:(\/\/(?=\/))?/, '').replace(/\?.*$/, '')
}

/** Text within text, whatever the database. */
import { isEmbedded } from './open.ts'

/**
 * A condition on a column: that it has this text in it, in letters of either case; on SQLite that is so of ASCII's alone.
 *
 * @param text what LIKE has a meaning for, `%` and `_`, stands for itself
 */
export function containing(databaseUrl: string, text: string): { contains: string } {
  const contains = text.replace(/[\\%_]/g, '\\$&')
  // SQLite knows no other way, and no word for it.
  return isEmbedded(databaseUrl) ? { contains } : Object.assign({ contains }, { mode: 'insensitive' })
}

/** Case-insensitive substring search, as Django's `icontains` does it. */
import type { Provider } from './url.ts'

/**
 * Returns Prisma's condition that a column contains the text, in any case. On SQLite only ASCII letters are compared without
 * regard to case.
 *
 * @param text taken literally: LIKE's wildcards `%` and `_` are escaped
 */
export function containsText(provider: Provider, text: string): { contains: string } {
  const contains = text.replace(/[\\%_]/g, '\\$&')
  // SQLite's LIKE is case-insensitive, and its client has no `mode`.
  return provider === 'sqlite' ? { contains } : Object.assign({ contains }, { mode: 'insensitive' })
}

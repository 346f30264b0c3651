/** Finds users by email address, and keeps addresses unique where users log in with them. */
import type { Database, User as UserRow } from '../database/open.ts'

/** In characters; the limit of Django's validator. */
const MAX_EMAIL = 320

/** With `loginField: 'email'`, the index that decides which of concurrent changes gets an address. */
export const EMAIL_INDEX = 'latchkey_user_email_unique'
export const EMAIL_TAKEN = 'user with this email address already exists.'

/**
 * Creates the unique index on addresses in any case, if it does not exist.
 *
 * @returns null, or why it could not be created: several users have one address, or the database role may not. Users are
 *   named by id, so that the log has no addresses.
 */
export async function ensureUniqueEmails(database: Database): Promise<string | null> {
  try {
    await database.$executeRaw`
      CREATE UNIQUE INDEX IF NOT EXISTS latchkey_user_email_unique ON auth_user (LOWER(email)) WHERE email <> ''`
    return null
  } catch (error) {
    const groups = await withSameEmail(database)
    if (groups.length === 0) return (error as Error).message
    const list = groups.map((ids) => `(${ids.join(', ')})`).join(', ')
    return `users have the same address, and cannot log in; change all but one of each group of ids: ${list}`
  }
}

/** Returns the ids of the users of each address that several users have; at most twenty groups. */
async function withSameEmail(database: Database): Promise<number[][]> {
  const rows = await database.$queryRaw<{ id: number; email: string }[]>`
    SELECT id, LOWER(email) AS email FROM auth_user WHERE LOWER(email) IN (
      SELECT LOWER(email) FROM auth_user WHERE email <> '' GROUP BY LOWER(email) HAVING COUNT(*) > 1 LIMIT 20
    ) ORDER BY LOWER(email), id`
  const ids = new Map<string, number[]>()
  for (const { id, email } of rows) ids.set(email, [...(ids.get(email) ?? []), Number(id)])
  return [...ids.values()]
}

/** Finds the users with this email address in any case, in the order of ids; at most fifty. */
export async function withEmail(database: Database, email: string): Promise<UserRow[]> {
  if (email === '' || email.length > MAX_EMAIL || email.includes('\0') || !email.isWellFormed()) return []
  const found = await database.$queryRaw<{ id: number }[]>`
    SELECT id FROM auth_user WHERE LOWER(email) = LOWER(${email}) ORDER BY id LIMIT 50`
  // The second query runs also if no user was found, so that it takes as long. There is no user 0.
  const ids = [0, ...found.map(({ id }) => Number(id))]
  const users = await database.user.findMany({ where: { id: { in: ids } } })
  // The case folding of a database also equates letters that a mail server distinguishes.
  return users.filter((user) => folded(user.email) === folded(email)).sort((a, b) => a.id - b.id)
}

/** Django's comparison, against different addresses that look the same (Unicode case collision). */
const folded = (email: string) => email.normalize('NFKC').toLowerCase()

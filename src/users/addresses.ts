/** Finds users by email address. */
import type { Database, User as UserRow } from '../database/open.ts'

/** In characters; the limit of Django's validator. */
const MAX_EMAIL = 320

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

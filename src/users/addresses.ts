/** Whose an address is. */
import type { Database, User as UserRow } from '../database/open.ts'

/** In characters; Django's validator takes no longer ones. */
const MAX_EMAIL = 320

/** Who has this address, whatever the case of its letters, in the order of ids. At most fifty. */
export async function withEmail(database: Database, email: string): Promise<UserRow[]> {
  if (email === '' || email.length > MAX_EMAIL || email.includes('\0') || !email.isWellFormed()) return []
  const found = await database.$queryRaw<{ id: number }[]>`
    SELECT id FROM auth_user WHERE LOWER(email) = LOWER(${email}) ORDER BY id LIMIT 50`
  // Also where nobody was found, so that it takes as long: there is no user 0.
  const ids = [0, ...found.map(({ id }) => Number(id))]
  const users = await database.user.findMany({ where: { id: { in: ids } } })
  // Databases fold letters that are different to a mail server.
  return users.filter((user) => folded(user.email) === folded(email)).sort((a, b) => a.id - b.id)
}

/** Django's, against addresses that look the same and are not. */
const folded = (email: string) => email.normalize('NFKC').toLowerCase()

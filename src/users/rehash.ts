/** Records of passwords that were rehashed at login, so that a fingerprint of the old hash still matches the same password. */
import { createHash } from 'node:crypto'
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, User as UserRow } from '../database/open.ts'

/** SimpleJWT's fingerprint of a stored password. MD5 protects nothing here; it is what SimpleJWT writes. */
export const fingerprintOf = (encoded: string): string => createHash('md5').update(encoded).digest('hex').toUpperCase()

/** Stores the new hash of the same password, unless the password was changed meanwhile. @returns the row as it is now */
export async function rehashPassword(database: Database, user: UserRow, renewed: string): Promise<UserRow> {
  const { id, password } = user
  const renewal = { userId: id, before: fingerprintOf(password), after: fingerprintOf(renewed), renewedAt: new Date() }
  try {
    const [, { count }] = await database.$transaction([
      database.renewedPassword.create({ data: renewal }),
      database.user.updateMany({ where: { id, password }, data: { password: renewed } })
    ])
    return count === 1 ? { ...user, password: renewed } : user
  } catch (error) {
    // A concurrent login of the same user rehashes it, too.
    if (isUniqueViolation(error)) return user
    throw error
  }
}

/** True if the fingerprint in a token is of the user's current password. */
export async function isOfCurrentPassword(database: Database, user: UserRow, fingerprint: unknown): Promise<boolean> {
  const current = fingerprintOf(user.password)
  for (let known = fingerprint, steps = 0; typeof known === 'string' && steps < 10; steps++) {
    if (known === current) return true
    const where = { userId_before: { userId: user.id, before: known } }
    known = (await database.renewedPassword.findUnique({ where }))?.after
  }
  return false
}

/** @param lifetime of tokens, in seconds */
export async function deleteRehashRecords({ renewedPassword }: Database, lifetime: number): Promise<void> {
  await renewedPassword.deleteMany({ where: { renewedAt: { lt: new Date(Date.now() - 1000 * lifetime) } } })
}

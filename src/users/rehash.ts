/** Hashes that were renewed at a login, so that what goes by a hash takes the new one for the same password. */
import { createHash } from 'node:crypto'
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, User as UserRow } from '../database/open.ts'

/** SimpleJWT's fingerprint of a stored password. MD5 is no protection here, only a short name for what it was. */
export const fingerprintOf = (encoded: string): string => createHash('md5').update(encoded).digest('hex').toUpperCase()

/** @returns the row as it is now: a hash that was changed meanwhile stays */
export async function renewPassword(database: Database, user: UserRow, renewed: string): Promise<UserRow> {
  const { id, password } = user
  const renewal = { userId: id, before: fingerprintOf(password), after: fingerprintOf(renewed), renewedAt: new Date() }
  try {
    const [, { count }] = await database.$transaction([
      database.renewedPassword.create({ data: renewal }),
      database.user.updateMany({ where: { id, password }, data: { password: renewed } })
    ])
    return count === 1 ? { ...user, password: renewed } : user
  } catch (error) {
    // Another login of the same user renews it at this moment, too.
    if (isUniqueViolation(error)) return user
    throw error
  }
}

/** Is this fingerprint, of a token, of the password that the user has now? */
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
export async function forgetRenewals({ renewedPassword }: Database, lifetime: number): Promise<void> {
  await renewedPassword.deleteMany({ where: { renewedAt: { lt: new Date(Date.now() - 1000 * lifetime) } } })
}

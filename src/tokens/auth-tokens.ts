/** DRF's authtoken: one key a user, which never expires. */
import { randomHex } from '../crypto/random.ts'
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, User as UserRow } from '../database/open.ts'

/** As DRF makes them; those that other systems have put into the table may have other characters. */
const MAX_LENGTH = 40

export class AuthTokens {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** The user's key, made if there is none: 40 hexadecimal digits. */
  async obtain(userId: number): Promise<string> {
    const { authToken } = this.#database
    const known = await authToken.findUnique({ where: { userId } })
    if (known !== null) return known.key
    try {
      const made = { key: randomHex(MAX_LENGTH / 2), userId, created: new Date() }
      return (await authToken.create({ data: made })).key
    } catch (error) {
      const rival = isUniqueViolation(error) ? await authToken.findUnique({ where: { userId } }) : null
      if (rival === null) throw error
      return rival.key
    }
  }

  /** Whose key it is, or null. */
  async userOf(key: string): Promise<UserRow | null> {
    if (key.length > MAX_LENGTH || key.includes('\0')) return null
    const row = await this.#database.authToken.findUnique({ where: { key }, include: { user: true } })
    return row?.user ?? null
  }

  /** The key is good no more. */
  async delete(userId: number): Promise<void> {
    await this.#database.authToken.deleteMany({ where: { userId } })
  }
}

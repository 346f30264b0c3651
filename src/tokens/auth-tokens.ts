/** DRF's authtoken: API keys, one for each user, which do not expire. */
import { randomHex } from '../crypto/random.ts'
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, User as UserRow } from '../database/open.ts'

/** The length of the column. Keys of other systems may have other characters than DRF's. */
const MAX_LENGTH = 40

export class AuthTokens {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Returns the user's key, and creates it if there is none: 40 hexadecimal digits. */
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

  /** Finds the user of a key. */
  async userOf(key: string): Promise<UserRow | null> {
    if (key.length > MAX_LENGTH || key.includes('\0')) return null
    const row = await this.#database.authToken.findUnique({ where: { key }, include: { user: true } })
    return row?.user ?? null
  }

  /** Deletes the user's key. */
  async delete(userId: number): Promise<void> {
    await this.#database.authToken.deleteMany({ where: { userId } })
  }
}

/** DRF's authtoken: API keys, one for each user, which do not expire. */
import { randomHex } from '../crypto/random.ts'
import { isForeignKeyViolation, isUniqueViolation } from '../database/errors.ts'
import type { Database, User as UserRow } from '../database/open.ts'
import { awaitEnd } from '../sessions/session-rows.ts'
import type { Users } from '../users/users.ts'

/** The length of the column. Keys of other systems may have other characters than DRF's. */
const MAX_LENGTH = 40

export class AuthTokens {
  readonly #database: Database
  readonly #users: Users

  constructor(database: Database, users: Users) {
    this.#database = database
    this.#users = users
  }

  /**
   * Returns the key of a user who has just been authenticated.
   *
   * @returns null if the user was changed or deleted since the password was checked, which takes a while
   */
  async issue(user: UserRow): Promise<string | null> {
    const key = randomHex(MAX_LENGTH / 2)
    try {
      const current = await this.#obtain(user.id, key)
      if ((await this.#users.findUnchanged(user)) !== null) return current
    } catch (error) {
      if (!isForeignKeyViolation(error)) throw error
    }
    // A change that was committed before the key was created has not deleted it.
    await this.#database.authToken.deleteMany({ where: { key } })
    return null
  }

  /** Returns the user's key, and creates it if there is none: 40 hexadecimal digits. */
  obtain(userId: number): Promise<string> {
    return this.#obtain(userId, randomHex(MAX_LENGTH / 2))
  }

  async #obtain(userId: number, key: string): Promise<string> {
    const { authToken } = this.#database
    const known = await authToken.findUnique({ where: { userId } })
    if (known !== null) return known.key
    try {
      const create = authToken.create({ data: { key, userId, created: new Date() } })
      await this.#database.$transaction([awaitEnd(this.#database, userId), create])
      return key
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

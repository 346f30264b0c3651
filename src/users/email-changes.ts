/** Changes of email addresses that wait until a link, which was sent to the new address, is used. */
import type { Database, User as UserRow } from '../database/open.ts'
import { lockUser } from '../sessions/session-rows.ts'
import { type User, withoutPassword } from './user.ts'
import { named } from './usernames.ts'
import type { Users } from './users.ts'

export class EmailChanges {
  readonly #database: Database
  readonly #users: Users
  readonly #onChanged: (before: User) => void

  /** @param onChanged called after every change, with the user as it was */
  constructor(database: Database, users: Users, onChanged: (before: User) => void) {
    this.#database = database
    this.#users = users
    this.#onChanged = onChanged
  }

  /** Records the address that a user wants, in place of an earlier one. @throws {ValidationError} as Users.setEmail */
  async request(userId: number, email: string): Promise<void> {
    await this.#users.assertEmailAvailable(email, userId)
    await this.#database.pendingEmail.upsert({ where: { userId }, create: { userId, email }, update: { email } })
  }

  /** Returns the address that a user has asked for, or null. */
  async requested(userId: number): Promise<string | null> {
    return (await this.#database.pendingEmail.findUnique({ where: { userId } }))?.email ?? null
  }

  /**
   * Gives an active user the address that it has asked for.
   *
   * @returns false if the user was deactivated, or the change was made or replaced meanwhile
   * @throws {ValidationError} as Users.setEmail
   */
  async confirm(user: UserRow, email: string): Promise<boolean> {
    await this.#users.assertEmailAvailable(email, user.id)
    const [, count] = await named(
      this.#database.$transaction([
        // So that the condition on the other table is evaluated after a concurrent change of it.
        lockUser(this.#database, user.id),
        this.#database.$executeRaw`
          UPDATE auth_user SET email = ${email} WHERE id = ${user.id} AND email = ${user.email} AND is_active
          AND EXISTS (SELECT 1 FROM latchkey_pending_email p WHERE p.user_id = ${user.id} AND p.email = ${email})`,
        this.#database.pendingEmail.deleteMany({ where: { userId: user.id, email } })
      ])
    )
    if (count === 1) this.#onChanged(withoutPassword(user))
    return count === 1
  }
}

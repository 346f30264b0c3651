/** Accounts that await activation: their users have not yet used the link of their activation email. */
import type { Database, User as UserRow } from '../database/open.ts'
import { lockUser } from '../sessions/session-rows.ts'

export class Activations {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Activates an account that awaits activation. @returns false for any other, such as a deactivated one */
  async activate(id: number): Promise<boolean> {
    const [, count] = await this.#database.$transaction([
      // So that the condition on the other table is evaluated after a concurrent deactivation.
      lockUser(this.#database, id),
      this.#database.$executeRaw`
        UPDATE auth_user SET is_active = ${true} WHERE id = ${id} AND NOT is_active
        AND EXISTS (SELECT 1 FROM latchkey_pending_activation p WHERE p.user_id = ${id})`,
      this.#database.pendingActivation.deleteMany({ where: { userId: id } })
    ])
    return count === 1
  }

  /** Returns those of the users that await activation. */
  async pendingOf(users: readonly UserRow[]): Promise<UserRow[]> {
    const where = { userId: { in: users.map(({ id }) => id) } }
    const pending = new Set((await this.#database.pendingActivation.findMany({ where })).map(({ userId }) => userId))
    return users.filter(({ id }) => pending.has(id))
  }
}

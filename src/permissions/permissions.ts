/** Django's permissions: what a user holds, directly and through groups, as `app_label.codename`. */
import type { Database } from '../database/open.ts'
import { type Caller, TokenUser } from '../users/token-user.ts'
import type { User } from '../users/user.ts'
import type { Users } from '../users/users.ts'

export class Permissions {
  readonly #database: Database
  readonly #users: Users
  // As in Django, what was found out about a caller lasts as long as that object: one request.
  readonly #rows = new WeakMap<TokenUser, Promise<User | null>>()
  readonly #held = new WeakMap<Caller, Promise<Set<string>>>()

  constructor(database: Database, users: Users) {
    this.#database = database
    this.#users = users
  }

  /**
   * Django's has_perm. An active superuser holds every permission, an inactive user none.
   *
   * A caller known only by token is looked up: rights are what the database says now, not what a token said once.
   */
  async hasPerm(caller: Caller, permission: string): Promise<boolean> {
    const user = await this.#rowOf(caller)
    if (!user?.isActive) return false
    if (user.isSuperuser) return true
    return (await remember(this.#held, caller, () => this.#load(user.id))).has(permission)
  }

  /** Django's is_staff: what the token says of it, or else the user's row. */
  async isStaff(caller: Caller): Promise<boolean> {
    if (caller instanceof TokenUser && 'is_staff' in caller.claims) return caller.isStaff
    const user = await this.#rowOf(caller)
    return user?.isActive === true && user.isStaff
  }

  async #rowOf(caller: Caller): Promise<User | null> {
    if (!(caller instanceof TokenUser)) return caller
    return remember(this.#rows, caller, () => this.#users.get(caller.idField, caller.id))
  }

  async #load(userId: number): Promise<Set<string>> {
    const permissions = await this.#database.permission.findMany({
      where: {
        OR: [{ users: { some: { userId } } }, { groups: { some: { group: { users: { some: { userId } } } } } }]
      },
      select: { codename: true, contentType: { select: { appLabel: true } } }
    })
    return new Set(permissions.map(({ codename, contentType }) => `${contentType.appLabel}.${codename}`))
  }
}

function remember<Key extends object, Value>(memory: WeakMap<Key, Value>, key: Key, find: () => Value): Value {
  const known = memory.get(key)
  if (known !== undefined) return known
  const found = find()
  memory.set(key, found)
  return found
}

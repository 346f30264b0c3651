/** Django's groups, their members and permissions. Every change is one transaction, and idempotent. */
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, Group } from '../database/open.ts'
import { retryOnConflict } from '../database/retry.ts'
import { NotFound, ValidationError } from '../errors.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { difference, missing } from '../users/changes.ts'
import { isName } from '../users/user.ts'
import { findGroup, findUser, type GroupKey, grantToGroup, revokeFromGroup, type UserKey } from './grants.ts'
import { checkKey, checkText } from './names.ts'

/** A number is a primary key; text is a name. */
const membersOf = (group: GroupKey) => ({
  groups: {
    some:
      typeof group === 'string'
        ? { group: { name: isName(group) ? group : '' } }
        : { groupId: checkKey('group', group) }
  }
})

const MAX_NAME = 150
const TAKEN = 'group with this name already exists.'

export interface GroupChanges {
  name?: string
  /** Primary keys. */
  permissions?: readonly number[]
}

export class Groups {
  readonly #database: Database
  readonly #sessions: Sessions

  constructor(database: Database, sessions: Sessions) {
    this.#database = database
    this.#sessions = sessions
  }

  /** Django's get_by_natural_key. */
  async getByNaturalKey(name: string): Promise<Group | null> {
    return isName(name) ? this.#database.group.findUnique({ where: { name } }) : null
  }

  /**
   * Returns errors that only the database can tell, by field: a name that is taken, permissions that do not exist.
   *
   * @param id of the group that is changed, which may keep its name
   */
  async faultsOf({ name, permissions = [] }: GroupChanges, id?: number): Promise<Record<string, string[]>> {
    const known = name === undefined ? null : await this.getByNaturalKey(name)
    const where = { id: { in: [...permissions] } }
    const { permission } = this.#database
    const rows = permissions.length > 0 ? await permission.findMany({ where, select: { id: true } }) : []
    return {
      ...(known !== null && known.id !== id && { name: [TAKEN] }),
      ...missing('permissions', permissions, rows)
    }
  }

  /**
   * @param name at most 150 characters; stored as it is
   * @param permissions primary keys
   * @throws {ValidationError} `{ name: […] }` for a malformed or taken name, and for permissions that do not exist
   */
  async createGroup(name: string, permissions: readonly number[] = []): Promise<Group> {
    checkText('name', name, MAX_NAME)
    const held = { permissions: { createMany: { data: permissions.map((permissionId) => ({ permissionId })) } } }
    const data = { name, ...(permissions.length > 0 && held) }
    return retryOnConflict(async () => {
      await this.#check({ permissions })
      return named(this.#database.group.create({ data }))
    })
  }

  /**
   * Changes a group in one transaction. Properties that are left out stay unchanged; permissions replace the current
   * ones.
   *
   * @param permit called with the primary keys of added and removed permissions; rejects by throwing
   * @throws {NotFound} if the group does not exist
   * @throws {ValidationError} as createGroup
   */
  async updateGroup(
    groupId: number,
    { name, permissions }: GroupChanges,
    permit?: (added: number[], removed: number[]) => Promise<void>
  ): Promise<void> {
    if (name !== undefined) checkText('name', name, MAX_NAME)
    const [database, id] = [this.#database, checkKey('group', groupId)]
    const change = () =>
      retryOnConflict(async () => {
        const present = await this.#keysOf(id)
        const { added, removed } = difference(present, permissions ?? present)
        await permit?.(added, removed)
        await this.#check({ permissions: added, ...(name !== undefined && { name }) }, id)
        const data = added.map((permissionId) => ({ groupId: id, permissionId }))
        await database.$transaction([
          database.group.update({ where: { id }, data: name === undefined ? {} : { name } }),
          database.groupPermission.deleteMany({ where: { groupId: id, permissionId: { in: removed } } }),
          ...(data.length > 0 ? [database.groupPermission.createMany({ data })] : [])
        ])
      })
    return permissions === undefined ? change() : this.#sessions.changeRights(membersOf(id), change)
  }

  /** Deletes a group with its members and permissions in one transaction. Does nothing if it does not exist. */
  async deleteGroup(groupId: number): Promise<void> {
    const [database, id] = [this.#database, checkKey('group', groupId)]
    // Django's foreign keys are checked at the end. The group goes first, so that no concurrent row can refer to it.
    await this.#sessions.changeRights(membersOf(id), () =>
      database.$transaction([
        database.group.deleteMany({ where: { id } }),
        database.groupPermission.deleteMany({ where: { groupId: id } }),
        database.userGroup.deleteMany({ where: { groupId: id } })
      ])
    )
  }

  /**
   * @param permissions each as `app_label.codename`
   * @throws {ValidationError} for a group or permissions that do not exist; then none is granted
   */
  async grantGroup(group: GroupKey, ...permissions: string[]): Promise<void> {
    return this.#sessions.changeRights(membersOf(group), () => grantToGroup(this.#database, group, permissions))
  }

  /** @throws {ValidationError} for a group or permissions that do not exist; then none is revoked */
  async revokeGroup(group: GroupKey, ...permissions: string[]): Promise<void> {
    return this.#sessions.changeRights(membersOf(group), () => revokeFromGroup(this.#database, group, permissions))
  }

  /**
   * @param group id, or name as text
   * @throws {ValidationError} for a user or a group that does not exist
   */
  async addToGroup(user: UserKey, group: GroupKey): Promise<void> {
    const { userGroup } = this.#database
    const change = async () => {
      const data = await this.#membership(user, group)
      const known = await userGroup.findUnique({ where: { userId_groupId: data }, select: { id: true } })
      if (known === null) await userGroup.createMany({ data })
    }
    return this.#sessions.changeRights({ id: checkKey('user', user) }, () => retryOnConflict(change))
  }

  /** @throws {ValidationError} for a user or a group that does not exist */
  async removeFromGroup(user: UserKey, group: GroupKey): Promise<void> {
    await this.#sessions.changeRights({ id: checkKey('user', user) }, async () =>
      this.#database.userGroup.deleteMany({ where: await this.#membership(user, group) })
    )
  }

  /** Returns the primary keys of a group's permissions. @throws {NotFound} */
  async #keysOf(id: number): Promise<number[]> {
    const select = { permissions: { select: { permissionId: true } } }
    const group = await this.#database.group.findUnique({ where: { id }, select })
    if (group === null) throw new NotFound('No Group matches the given query.')
    return group.permissions.map(({ permissionId }) => permissionId)
  }

  async #check(changes: GroupChanges, id?: number): Promise<void> {
    const faults = await this.faultsOf(changes, id)
    if (Object.keys(faults).length > 0) throw new ValidationError(faults)
  }

  async #membership(user: UserKey, group: GroupKey): Promise<{ userId: number; groupId: number }> {
    return { userId: await findUser(this.#database, user), groupId: await findGroup(this.#database, group) }
  }
}

/** The name is the only unique column of a group. */
async function named(change: Promise<Group>): Promise<Group> {
  try {
    return await change
  } catch (error) {
    if (!isUniqueViolation(error, 'auth_group')) throw error
    throw new ValidationError({ name: [TAKEN] })
  }
}

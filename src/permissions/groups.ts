/** Django's groups: who is in them, and what they hold. Every change is one transaction, and can be made twice. */
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, Group } from '../database/open.ts'
import { ValidationError } from '../errors.ts'
import {
  amongRivals,
  findGroup,
  findUser,
  type GroupKey,
  grantToGroup,
  revokeFromGroup,
  type UserKey
} from './grants.ts'
import { checkKey, checkText } from './names.ts'

const MAX_NAME = 150

export class Groups {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /**
   * @param name at most 150 characters; stored as it is
   * @throws {ValidationError} `{ name: […] }` for a name that is malformed or taken
   */
  async createGroup(name: string): Promise<Group> {
    checkText('name', name, MAX_NAME)
    return named(this.#database.group.create({ data: { name } }))
  }

  /** @throws {ValidationError} as createGroup */
  async renameGroup(groupId: number, name: string): Promise<Group> {
    checkText('name', name, MAX_NAME)
    return named(this.#database.group.update({ where: { id: checkKey('group', groupId) }, data: { name } }))
  }

  /** Deletes a group with what hangs on it, at once; one that is gone is no error. */
  async deleteGroup(groupId: number): Promise<void> {
    const [database, id] = [this.#database, checkKey('group', groupId)]
    // Django's keys are checked at the end. With the group gone first, nobody is let in meanwhile who would keep it.
    await database.$transaction([
      database.group.deleteMany({ where: { id } }),
      database.groupPermission.deleteMany({ where: { groupId: id } }),
      database.userGroup.deleteMany({ where: { groupId: id } })
    ])
  }

  /**
   * @param permissions each as `app_label.codename`
   * @throws {ValidationError} for a group or permissions that do not exist; then nothing is given
   */
  grantGroup(group: GroupKey, ...permissions: string[]): Promise<void> {
    return grantToGroup(this.#database, group, permissions)
  }

  /** @throws {ValidationError} for a group or permissions that do not exist; then nothing is taken */
  revokeGroup(group: GroupKey, ...permissions: string[]): Promise<void> {
    return revokeFromGroup(this.#database, group, permissions)
  }

  /**
   * @param group its id, or its name as a text
   * @throws {ValidationError} for a user or a group that does not exist
   */
  addToGroup(user: UserKey, group: GroupKey): Promise<void> {
    const database = this.#database
    return amongRivals(async () => {
      const data = await this.#membership(user, group)
      const known = await database.userGroup.findUnique({ where: { userId_groupId: data }, select: { id: true } })
      if (known === null) await database.userGroup.createMany({ data })
    })
  }

  /** @throws {ValidationError} for a user or a group that does not exist */
  async removeFromGroup(user: UserKey, group: GroupKey): Promise<void> {
    await this.#database.userGroup.deleteMany({ where: await this.#membership(user, group) })
  }

  async #membership(user: UserKey, group: GroupKey): Promise<{ userId: number; groupId: number }> {
    return { userId: await findUser(this.#database, user), groupId: await findGroup(this.#database, group) }
  }
}

/** A name is the only column of a group's that has to be its own. */
async function named(change: Promise<Group>): Promise<Group> {
  try {
    return await change
  } catch (error) {
    if (!isUniqueViolation(error)) throw error
    throw new ValidationError({ name: ['group with this name already exists.'] })
  }
}

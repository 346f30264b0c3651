/** Grants and revokes permissions: rows of `auth_user_user_permissions` and `auth_group_permissions`. */
import type { Database } from '../database/open.ts'
import { retryOnConflict } from '../database/retry.ts'
import { isName } from '../users/user.ts'
import { checkKey, NAME, nameOf, noSuchKey, noSuchName, noSuchPermissions, partsOf } from './names.ts'

/** A primary key, as a number or as text. */
export type UserKey = number | string
/** A number is a group's primary key; text is its name, also if it looks like a number. */
export type GroupKey = number | string

export function grantToUser(database: Database, user: UserKey, names: readonly string[]): Promise<void> {
  return retryOnConflict(async () => {
    const userId = await findUser(database, user)
    const ids = await findPermissions(database, names)
    const where = { userId, permissionId: { in: ids } }
    const held = await database.userPermission.findMany({ where, select: { permissionId: true } })
    const data = without(ids, held).map((permissionId) => ({ userId, permissionId }))
    if (data.length > 0) await database.userPermission.createMany({ data })
  })
}

export function grantToGroup(database: Database, group: GroupKey, names: readonly string[]): Promise<void> {
  return retryOnConflict(async () => {
    const groupId = await findGroup(database, group)
    const ids = await findPermissions(database, names)
    const where = { groupId, permissionId: { in: ids } }
    const held = await database.groupPermission.findMany({ where, select: { permissionId: true } })
    const data = without(ids, held).map((permissionId) => ({ groupId, permissionId }))
    if (data.length > 0) await database.groupPermission.createMany({ data })
  })
}

export function revokeFromUser(database: Database, user: UserKey, names: readonly string[]): Promise<void> {
  return retryOnConflict(async () => {
    const userId = await findUser(database, user)
    const permissionId = { in: await findPermissions(database, names) }
    await database.userPermission.deleteMany({ where: { userId, permissionId } })
  })
}

export function revokeFromGroup(database: Database, group: GroupKey, names: readonly string[]): Promise<void> {
  return retryOnConflict(async () => {
    const groupId = await findGroup(database, group)
    const permissionId = { in: await findPermissions(database, names) }
    await database.groupPermission.deleteMany({ where: { groupId, permissionId } })
  })
}

/** @throws {ValidationError} if the user does not exist */
export async function findUser({ user }: Database, key: UserKey): Promise<number> {
  const row = await user.findUnique({ where: { id: checkKey('user', key) }, select: { id: true } })
  if (row === null) throw noSuchKey('user', key)
  return row.id
}

/** @throws {ValidationError} if the group does not exist */
export async function findGroup({ group }: Database, key: GroupKey): Promise<number> {
  if (typeof key !== 'string') {
    const row = await group.findUnique({ where: { id: checkKey('group', key) }, select: { id: true } })
    if (row === null) throw noSuchKey('group', key)
    return row.id
  }
  const row = isName(key) ? await group.findUnique({ where: { name: key }, select: { id: true } }) : null
  if (row === null) throw noSuchName('group', key)
  return row.id
}

/**
 * Returns the ids of permissions in ascending order: transactions that write in the same order cannot deadlock. A
 * codename that several models of an app share means all of their permissions, as in has_perm.
 *
 * @throws {ValidationError} with the names of those that do not exist
 */
async function findPermissions({ permission }: Database, names: readonly string[]): Promise<number[]> {
  const parts = names.map(partsOf).filter((part) => part !== null)
  if (parts.length < names.length) throw noSuchPermissions(names.filter((name) => partsOf(name) === null))
  // This finds too many, but with one list, which Prisma can split where a database limits the number of values.
  const rows = await permission.findMany({
    where: { codename: { in: [...new Set(parts.map(({ codename }) => codename))] } },
    select: { id: true, ...NAME }
  })
  const [wanted, existing] = [new Set(names), new Set(rows.map(nameOf))]
  const unknown = [...wanted].filter((name) => !existing.has(name))
  if (unknown.length > 0) throw noSuchPermissions(unknown)
  const found = rows.filter((row) => wanted.has(nameOf(row)))
  return found.map(({ id }) => id).sort((a, b) => a - b)
}

function without(ids: readonly number[], held: readonly { permissionId: number }[]): number[] {
  const known = new Set(held.map(({ permissionId }) => permissionId))
  return ids.filter((id) => !known.has(id))
}

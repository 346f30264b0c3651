/** Changes the row, groups and permissions of a user in one transaction, and keeps at least one superuser. */
import type { Database, Prisma, User as UserRow } from '../database/open.ts'
import { retryOnConflict } from '../database/retry.ts'
import { NotFound, PermissionDenied, ValidationError } from '../errors.ts'
import { isPasswordUsable } from '../passwords/hashers.ts'
import type { Passwords } from '../passwords/passwords.ts'
import type { EndReason } from '../sessions/sessions.ts'
import type { User } from './user.ts'
import { cleanUsername, named, normalizeEmail, normalizeUsername, TAKEN } from './usernames.ts'
import type { UserChanges } from './users.ts'

interface Keys {
  groups?: readonly number[]
  userPermissions?: readonly number[]
}

/** A user with the primary keys of its groups and its own permissions, in ascending order. */
export type UserWithKeys = User & { groups: number[]; userPermissions: number[] }

/** Checks whether the user may be changed; rejects by throwing. */
export type Permit = (user: UserWithKeys) => void | Promise<void>

type Columns = Partial<Omit<UserRow, 'id'>>
type Statement = Prisma.PrismaPromise<unknown>

interface ChangeOptions {
  permit: Permit | undefined
  /** Ends the user's sessions in the same transaction. */
  endStatements: (reason: EndReason, before: UserRow) => Statement[]
  /** Called with the results of the transaction's statements, the user before it, and the email address after it. */
  onCommit: (results: unknown[], before: UserRow, email: string) => void
  /** True if tokens name users by username, so that a new one ends sessions. */
  renames: boolean
}

/** The options of a Prisma query of users for `withKeys`. */
export const WITH_KEYS = {
  omit: { password: true },
  include: { groups: { select: { groupId: true } }, userPermissions: { select: { permissionId: true } } }
} as const

type Row = User & { groups: { groupId: number }[]; userPermissions: { permissionId: number }[] }

export const withKeys = ({ groups, userPermissions, ...user }: Row): UserWithKeys => ({
  ...user,
  groups: groups.map(({ groupId }) => groupId).sort(ascending),
  userPermissions: userPermissions.map(({ permissionId }) => permissionId).sort(ascending)
})

const ascending = (a: number, b: number) => a - b

/** Returns the nested rows of a new user for Prisma's `create`. */
export const linksOf = ({ groups = [], userPermissions = [] }: Keys) => ({
  ...(groups.length > 0 && { groups: { createMany: { data: groups.map((groupId) => ({ groupId })) } } }),
  ...(userPermissions.length > 0 && {
    userPermissions: { createMany: { data: userPermissions.map((permissionId) => ({ permissionId })) } }
  })
})

/** @param changes with the encoded password */
export function changeUser(
  database: Database,
  id: number,
  changes: Omit<UserChanges, 'password'> & { password?: string },
  { permit, endStatements, onCommit, renames }: ChangeOptions
): Promise<UserWithKeys> {
  const { groups, userPermissions } = changes
  const data = columnsOf(changes)
  return retryOnConflict(async () => {
    const user = await find(database, id)
    await permit?.(publicOf(user))
    if (data.username !== undefined && (await isTaken(database, data.username, user))) {
      throw new ValidationError({ username: [TAKEN] })
    }
    await checkKeys(database, changes)
    const reason = endReasonOf(user, data, renames)
    const others = () => [
      ...(reason === null ? [] : endStatements(reason, user)),
      // The link of an email must not activate the account again after a later deactivation.
      ...(data.isActive === true ? [database.pendingActivation.deleteMany({ where: { userId: id } })] : []),
      ...regroup(database, user, groups),
      ...regrant(database, user, userPermissions)
    ]
    const results = await named(commit(database, user, data, others))
    onCommit(results, user, data.email ?? user.email)
    const { password, ...columns } = data
    return {
      ...publicOf(user),
      ...columns,
      ...inOrder('groups', groups),
      ...inOrder('userPermissions', userPermissions)
    }
  })
}

/** True if the changes concern the user's rights. */
export const hasRights = ({ isStaff, isSuperuser, groups, userPermissions }: UserChanges): boolean =>
  [isStaff, isSuperuser, groups, userPermissions].some((right) => right !== undefined)

function endReasonOf(user: UserRow, { isActive, password, username }: Columns, renames: boolean): EndReason | null {
  // Also for an inactive user, who may await activation: the link of an email must not undo a deactivation by staff.
  if (isActive === false) return 'inactive'
  if (password !== undefined) return 'password'
  return renames && username !== undefined && username !== user.username ? 'username' : null
}

const inOrder = (name: keyof Keys, keys: readonly number[] | undefined) =>
  keys && { [name]: [...new Set(keys)].sort(ascending) }

function columnsOf(changes: Parameters<typeof changeUser>[2]): Columns {
  const { username, email, password, firstName, lastName, isActive, isStaff, isSuperuser } = changes
  const columns = {
    password,
    firstName,
    lastName,
    isActive,
    isStaff,
    isSuperuser,
    username: username === undefined ? undefined : cleanUsername(username),
    email: email === undefined ? undefined : normalizeEmail(email)
  }
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined))
}

type Found = UserRow & { groups: number[]; userPermissions: number[] }

/** @throws {NotFound} with Django's message */
export async function find(database: Database, id: number): Promise<Found> {
  const row = await database.user.findUnique({ where: { id }, include: WITH_KEYS.include })
  if (row === null) throw new NotFound('No User matches the given query.')
  return { ...row, ...withKeys(row) } as Found
}

export const publicOf = ({ password, ...user }: Found): UserWithKeys => user

/**
 * Changes the row and runs other statements, in one transaction, unless the row has changed since it was read.
 *
 * @throws {PermissionDenied} if no superuser who can log in would remain
 */
export async function commit(
  database: Database,
  user: Found,
  data: Columns,
  others: () => Statement[]
): Promise<unknown[]> {
  const { id, username, email, password, isActive, isStaff, isSuperuser } = user
  const seen = { id, username, email, password, isActive, isStaff, isSuperuser }
  const change = database.user.update({ where: seen, data, select: { id: true } })
  const isLoss = data.isSuperuser === false || data.isActive === false || !isPasswordUsable(data.password ?? '')
  if (!(isSuperuser && isActive && isLoss)) return database.$transaction([change, ...others()])
  const peers = peersOf(user)
  if ((await database.user.findFirst({ where: peers, select: { id: true } })) === null) throw new PermissionDenied(LAST)
  // Two superusers who demote each other concurrently would each see the other one. PostgreSQL lets one succeed.
  const remaining = database.user.findFirstOrThrow({ where: peers, select: { id: true } })
  return database.$transaction([change, ...others(), remaining], { isolationLevel: 'Serializable' })
}

const LAST = 'The last superuser who can sign in must remain one.'

/** The condition for other superusers; if this one can log in with a password, for those who can, too. */
const peersOf = ({ id, password }: UserRow) => ({
  id: { not: id },
  isSuperuser: true,
  isActive: true,
  ...(isPasswordUsable(password) && { password: { not: { startsWith: '!' } } })
})

function regroup({ userGroup }: Database, { id: userId, groups }: Found, wanted: Keys['groups'] = groups): Statement[] {
  const { added, removed } = difference(groups, wanted)
  return [
    ...(removed.length > 0 ? [userGroup.deleteMany({ where: { userId, groupId: { in: removed } } })] : []),
    ...(added.length > 0 ? [userGroup.createMany({ data: added.map((groupId) => ({ userId, groupId })) })] : [])
  ]
}

function regrant({ userPermission }: Database, user: Found, wanted: Keys['userPermissions'] = user.userPermissions) {
  const { added, removed } = difference(user.userPermissions, wanted)
  const userId = user.id
  return [
    ...(removed.length > 0 ? [userPermission.deleteMany({ where: { userId, permissionId: { in: removed } } })] : []),
    ...(added.length > 0
      ? [userPermission.createMany({ data: added.map((permissionId) => ({ userId, permissionId })) })]
      : [])
  ]
}

/** Returns the primary keys to add and to remove, each in ascending order. */
export function difference(present: readonly number[], wanted: readonly number[]) {
  const [before, after] = [new Set(present), new Set(wanted)]
  return {
    added: [...after].filter((key) => !before.has(key)).sort(ascending),
    removed: [...before].filter((key) => !after.has(key)).sort(ascending)
  }
}

async function isTaken({ user }: Database, username: string, owner: { id: number } | null): Promise<boolean> {
  const known = await user.findUnique({ where: { username }, select: { id: true } })
  return known !== null && known.id !== owner?.id
}

type Faults = Record<string, string[]>

/** @throws {ValidationError} for primary keys without a row */
export async function checkKeys(database: Database, keys: Keys): Promise<void> {
  const faults = await faultsOfKeys(database, keys)
  if (Object.keys(faults).length > 0) throw new ValidationError(faults)
}

async function faultsOfKeys({ group, permission }: Database, { groups = [], userPermissions = [] }: Keys) {
  const select = { id: true }
  const [knownGroups, known] = [
    groups.length > 0 ? await group.findMany({ where: { id: { in: [...groups] } }, select }) : [],
    userPermissions.length > 0 ? await permission.findMany({ where: { id: { in: [...userPermissions] } }, select }) : []
  ]
  return { ...missing('groups', groups, knownGroups), ...missing('user_permissions', userPermissions, known) }
}

/** Returns DRF's message for the first primary key without a row. */
export function missing(field: string, wanted: readonly number[], rows: readonly { id: number }[]): Faults {
  const known = new Set(rows.map(({ id }) => id))
  const unknown = wanted.find((key) => !known.has(key))
  return unknown === undefined ? {} : { [field]: [`Invalid pk "${unknown}" - object does not exist.`] }
}

/**
 * Returns all errors of changes to a user, by Django's names of the fields.
 *
 * @param user the current user; null for a new one
 */
export async function faultsOfChanges(
  database: Database,
  passwords: Passwords,
  changes: UserChanges,
  user: User | null
): Promise<Faults> {
  const { username, password } = changes
  const owner = { ...user, ...changes }
  const weak = typeof password === 'string' ? await passwords.faultsOf(password, owner) : []
  return {
    ...(username !== undefined && { username: await faultsOfUsername(database, username, user) }),
    ...(await faultsOfKeys(database, changes)),
    ...(weak.length > 0 && { password: weak.map(({ message }) => message) })
  }
}

async function faultsOfUsername(database: Database, username: string, owner: User | null): Promise<string[]> {
  const { name, faults } = normalizeUsername(username)
  return faults.length === 0 && (await isTaken(database, name, owner)) ? [TAKEN] : faults
}

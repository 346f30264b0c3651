/**
 * What staff may do with users and groups, beyond the model permissions that guards check: nobody can grant a permission
 * that they do not hold (privilege escalation), nor take over the account of a user with more permissions.
 *
 * A superuser may do everything.
 */
import { isForeignKeyViolation } from '../database/errors.ts'
import type { Database, Group } from '../database/open.ts'
import { PermissionDenied, ValidationError } from '../errors.ts'
import type { GroupChanges, Groups } from '../permissions/groups.ts'
import { NAME, nameOf } from '../permissions/names.ts'
import type { Permissions } from '../permissions/permissions.ts'
import type { Settings } from '../settings/schema.ts'
import { difference, type UserWithKeys } from '../users/changes.ts'
import type { Caller } from '../users/token-user.ts'
import type { User } from '../users/user.ts'
import { normalizeEmail } from '../users/usernames.ts'
import type { NewUser, UserChanges, Users } from '../users/users.ts'

interface Domains {
  settings: Settings
  database: Database
  users: Users
  groups: Groups
  permissions: Permissions
}

/** The permissions of a caller, as the database has them now. */
interface Rank {
  /** Of the caller; null for a caller who is not in the database. */
  id: number | null
  isSuperuser: boolean
  isStaff: boolean
  held: ReadonlySet<string>
}

/** A new user before it has any permission. */
const NEW_USER = { isStaff: false, isSuperuser: false, isActive: true, groups: [], userPermissions: [] }

export class AdminPolicy {
  readonly #domains: Domains

  constructor(domains: Domains) {
    this.#domains = domains
  }

  /** @throws {PermissionDenied} for rights that the caller does not hold @throws {ValidationError} */
  async createUser(caller: Caller | null, user: NewUser): Promise<User> {
    const rank = await this.#rankOf(caller)
    await this.#checkGiven(rank, NEW_USER, user)
    return this.#domains.users.createUser(user)
  }

  /**
   * @param currentPassword the caller's, which a change of its own password or email address requires
   * @throws {PermissionDenied | ValidationError | NotFound}
   */
  async updateUser(
    caller: Caller | null,
    id: number,
    changes: UserChanges,
    currentPassword?: string
  ): Promise<UserWithKeys> {
    const rank = await this.#rankOf(caller)
    if (rank.id === id) await this.#checkCurrentPassword(id, changes, currentPassword)
    const permit = async (user: UserWithKeys) => {
      await this.#checkGiven(rank, user, changes)
      if (isTakeover(user, changes) || takesAway(user, changes)) await this.#checkOutranks(rank, user)
    }
    return this.#domains.users.updateUser(id, changes, permit)
  }

  /** @throws {PermissionDenied | NotFound | ValidationError} */
  async deleteUser(caller: Caller | null, id: number): Promise<void> {
    const rank = await this.#rankOf(caller)
    return this.#domains.users.deleteUser(id, (user) => this.#checkMayTakeFrom(rank, user))
  }

  /** @throws {PermissionDenied | ValidationError} */
  async createGroup(caller: Caller | null, name: string, permissions: readonly number[] = []): Promise<Group> {
    await this.#checkHolds(await this.#rankOf(caller), [], permissions)
    return this.#domains.groups.createGroup(name, permissions)
  }

  /** @throws {PermissionDenied | ValidationError | NotFound} */
  async updateGroup(caller: Caller | null, id: number, changes: GroupChanges): Promise<void> {
    const rank = await this.#rankOf(caller)
    const permit = (added: number[], removed: number[]) => this.#checkHolds(rank, [], [...added, ...removed])
    return this.#domains.groups.updateGroup(id, changes, permit)
  }

  /** @throws {PermissionDenied | ValidationError} */
  async deleteGroup(caller: Caller | null, id: number): Promise<void> {
    await this.#checkHolds(await this.#rankOf(caller), [id], [])
    return unlessReferredTo(this.#domains.groups.deleteGroup(id), 'Other rows refer to this group.')
  }

  /** @throws {PermissionDenied | ValidationError} */
  async addToGroup(caller: Caller | null, user: UserWithKeys, groupId: number): Promise<void> {
    await this.#checkGiven(await this.#rankOf(caller), user, { groups: [...user.groups, groupId] })
    return this.#domains.groups.addToGroup(user.id, groupId)
  }

  /** @throws {PermissionDenied | ValidationError} */
  async removeFromGroup(caller: Caller | null, user: UserWithKeys, groupId: number): Promise<void> {
    await this.#checkMayTakeFrom(await this.#rankOf(caller), user)
    return this.#domains.groups.removeFromGroup(user.id, groupId)
  }

  /** @throws {PermissionDenied} if the user is a superuser, or has permissions that the caller lacks */
  async assertOutranks(caller: Caller | null, user: UserWithKeys): Promise<void> {
    await this.#checkMayTakeFrom(await this.#rankOf(caller), user)
  }

  /** Reads the caller's permissions from the database, never from its token. */
  async #rankOf(caller: Caller | null): Promise<Rank> {
    const { permissions } = this.#domains
    const row = await permissions.rowOf(caller)
    if (!row?.isActive) return { id: null, isSuperuser: false, isStaff: false, held: new Set() }
    const { id, isSuperuser, isStaff } = row
    return { id, isSuperuser, isStaff, held: isSuperuser ? new Set() : await permissions.getAllPermissions(caller) }
  }

  /** A stolen access token must not suffice to take over the account. */
  async #checkCurrentPassword(id: number, { password, email, username }: UserChanges, current: string | undefined) {
    const { users, settings } = this.#domains
    const user = await users.get('id', id)
    const isNewEmail = email !== undefined && normalizeEmail(email) !== user?.email
    const isNewName = username !== undefined && username !== user?.username
    if (password === undefined && !isNewName && !(settings.accountsEmailChangePassword && isNewEmail)) return
    const faults = await users.faultsOfCurrentPassword({ id }, current)
    if (Object.keys(faults).length > 0) throw new ValidationError(faults)
  }

  async #checkGiven(rank: Rank, user: Omit<UserWithKeys, keyof User> & Flags, changes: UserChanges): Promise<void> {
    if (rank.isSuperuser) return
    checkMayTouch(rank, user)
    if (changes.isSuperuser) throw new PermissionDenied('Only a superuser can make another user a superuser.')
    if (changes.isStaff && !user.isStaff && !rank.isStaff) {
      throw new PermissionDenied('Only staff can make another user staff.')
    }
    const groups = difference(user.groups, changes.groups ?? user.groups).added
    const own = difference(user.userPermissions, changes.userPermissions ?? user.userPermissions).added
    await this.#checkHolds(rank, groups, own)
  }

  /** @throws {PermissionDenied} unless the caller holds these permissions and those of these groups */
  async #checkHolds({ isSuperuser, held }: Rank, groups: readonly number[], permissions: readonly number[]) {
    if (isSuperuser || (groups.length === 0 && permissions.length === 0)) return
    const { permission, groupPermission } = this.#domains.database
    const own = await permission.findMany({ where: { id: { in: [...permissions] } }, select: NAME })
    const where = { groupId: { in: [...groups] } }
    const ofGroups = await groupPermission.findMany({ where, select: { permission: { select: NAME } } })
    const rows = [...own, ...ofGroups.map(({ permission }) => permission)]
    const lacking = rows.map(nameOf).find((name) => !held.has(name))
    if (lacking !== undefined)
      throw new PermissionDenied(`You cannot grant a permission that you do not hold: ${lacking}.`)
  }

  async #checkMayTakeFrom(rank: Rank, user: UserWithKeys): Promise<void> {
    checkMayTouch(rank, user)
    await this.#checkOutranks(rank, user)
  }

  /** @throws {PermissionDenied} unless the caller holds every permission that the user has, or would have if active */
  async #checkOutranks(rank: Rank, user: UserWithKeys): Promise<void> {
    if (rank.isSuperuser) return
    const theirs = await this.#domains.permissions.getAllPermissions({ ...user, isActive: true })
    const isHigher = (user.isStaff && !rank.isStaff) || [...theirs].some((name) => !rank.held.has(name))
    if (isHigher)
      throw new PermissionDenied('You cannot change the account of a user with permissions that you do not hold.')
  }
}

type Flags = Pick<User, 'isStaff' | 'isSuperuser' | 'isActive'>

/** Tables of the host app may refer to the row. */
async function unlessReferredTo(deletion: Promise<void>, message: string): Promise<void> {
  try {
    await deletion
  } catch (error) {
    if (!isForeignKeyViolation(error)) throw error
    throw new ValidationError({ non_field_errors: [message] })
  }
}

function checkMayTouch(rank: Rank, user: Flags): void {
  if (user.isSuperuser && !rank.isSuperuser) throw new PermissionDenied('Only a superuser can change a superuser.')
}

/** True for changes that take rights away, after which the user would no longer outrank the caller. */
function takesAway(user: UserWithKeys, { isActive, isStaff, groups, userPermissions }: UserChanges): boolean {
  return (
    (isActive === false && user.isActive) ||
    (isStaff === false && user.isStaff) ||
    difference(user.groups, groups ?? user.groups).removed.length > 0 ||
    difference(user.userPermissions, userPermissions ?? user.userPermissions).removed.length > 0
  )
}

/** True for changes by which the caller could sign in as the user, or that reactivate the user's permissions. */
function isTakeover(user: User, { password, email, username, isActive }: UserChanges): boolean {
  const isNew = (value: string | undefined, known: string) => value !== undefined && value !== known
  return (
    password !== undefined ||
    isNew(email, user.email) ||
    isNew(username, user.username) ||
    (isActive === true && !user.isActive)
  )
}

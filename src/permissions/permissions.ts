/** Django's permissions of users, directly and through groups, as `app_label.codename`. */
import type { ContentType, Database, Permission } from '../database/open.ts'
import type { Sessions } from '../sessions/sessions.ts'
import { type Caller, TokenUser } from '../users/token-user.ts'
import type { User } from '../users/user.ts'
import type { Users } from '../users/users.ts'
import { type ModelDefinition, syncPermissions } from './content-types.ts'
import { grantToUser, revokeFromUser, type UserKey } from './grants.ts'
import { checkKey, MAX_LABEL, NAME, nameOf, partsOf, textFault } from './names.ts'

export interface WithPermOptions {
  /** By default true; null for active and inactive users. */
  isActive?: boolean | null
  /** By default true: superusers have every permission. */
  includeSuperusers?: boolean
}

type Names = ReadonlySet<string>

interface Held {
  readonly all: Names
  readonly own: Names
}

const NOTHING: Held = { all: new Set(), own: new Set() }

export class Permissions {
  readonly #database: Database
  readonly #users: Users
  readonly #sessions: Sessions
  // As in Django, permissions are cached for the lifetime of the caller object, which is one request.
  readonly #rows = new WeakMap<TokenUser, Promise<User | null>>()
  readonly #held = new WeakMap<Caller, Promise<Held>>()
  readonly #byGroup = new WeakMap<Caller, Promise<Names>>()

  constructor(database: Database, users: Users, sessions: Sessions) {
    this.#database = database
    this.#users = users
    this.#sessions = sessions
  }

  /**
   * Django's has_perm. An active superuser has every permission, an inactive user none.
   *
   * For a caller that is known only by token, the database is read: claims about rights may be outdated.
   */
  async hasPerm(caller: Caller, permission: string): Promise<boolean> {
    return (await this.#isRoot(caller)) || (await this.#heldBy(caller)).all.has(permission)
  }

  /**
   * Django's has_perms: true if the caller has all of these, also for an empty list.
   *
   * @param caller null for an anonymous request
   * @throws {TypeError} for a single permission in place of a list
   */
  async hasPerms(caller: Caller | null, permissions: readonly string[] | ReadonlySet<string>): Promise<boolean> {
    if (!isList(permissions)) throw new TypeError('perm_list must be an iterable of permissions.')
    for (const permission of permissions) if (!caller || !(await this.hasPerm(caller, permission))) return false
    return true
  }

  /** Django's has_module_perms: true for any permission of the app, and for an active superuser. */
  async hasModulePerms(caller: Caller | null, appLabel: string): Promise<boolean> {
    if (await this.#isRoot(caller)) return true
    const { all } = await this.#heldBy(caller)
    return [...all].some((permission) => permission.slice(0, permission.indexOf('.')) === appLabel)
  }

  /** Django's get_all_permissions: for a superuser all that exist, for an inactive user none. */
  async getAllPermissions(caller: Caller | null): Promise<Set<string>> {
    return new Set((await this.#heldBy(caller)).all)
  }

  /** Django's get_user_permissions: those granted to the user itself. */
  async getUserPermissions(caller: Caller | null): Promise<Set<string>> {
    return new Set((await this.#heldBy(caller)).own)
  }

  /** Django's get_group_permissions: those of the user's groups. It needs a query of its own. */
  async getGroupPermissions(caller: Caller | null): Promise<Set<string>> {
    const user = await this.rowOf(caller)
    if (!caller || !user?.isActive || user.isSuperuser) return this.getAllPermissions(caller)
    return new Set(await remember(this.#byGroup, caller, () => this.#loadByGroup(user.id)))
  }

  /** Django's is_staff, read from the database, since a claim may be outdated. */
  async isStaff(caller: Caller): Promise<boolean> {
    const user = await this.rowOf(caller)
    return user?.isActive === true && user.isStaff
  }

  /**
   * Django's with_perm: the users who have this permission, directly or through a group, in the order of ids.
   *
   * @param permission `app_label.codename`, with one dot
   * @throws {TypeError} for anything else
   */
  async withPerm(permission: string, options: WithPermOptions = {}): Promise<User[]> {
    const { isActive = true, includeSuperusers = true } = options
    if (isActive !== null && typeof isActive !== 'boolean') throw new TypeError('isActive must be a boolean or null.')
    if (typeof permission !== 'string' || permission.split('.').length !== 2) {
      throw new TypeError('Permission name should be in the form app_label.permission_codename.')
    }
    const OR = [...(includeSuperusers ? [{ isSuperuser: true }] : []), ...holdersOf(permission)]
    const where = isActive === null ? { OR } : { OR, isActive }
    return this.#database.user.findMany({ where, omit: { password: true }, orderBy: { id: 'asc' } })
  }

  /**
   * Grants permissions to a user, all or none. Permissions that the user already has are no error.
   *
   * @param permissions each as `app_label.codename`
   * @throws {ValidationError} for a user or permissions that do not exist, with their names
   */
  async grant(userId: UserKey, ...permissions: string[]): Promise<void> {
    return this.#sessions.changeRights({ id: checkKey('user', userId) }, () =>
      grantToUser(this.#database, userId, permissions)
    )
  }

  /**
   * Revokes permissions of a user; those of its groups remain.
   *
   * @throws {ValidationError} for a user or permissions that do not exist, with their names
   */
  async revoke(userId: UserKey, ...permissions: string[]): Promise<void> {
    return this.#sessions.changeRights({ id: checkKey('user', userId) }, () =>
      revokeFromUser(this.#database, userId, permissions)
    )
  }

  /** Django's get_by_natural_key. */
  async getByNaturalKey(codename: string, appLabel: string, model: string): Promise<Permission | null> {
    const contentType = await this.getContentTypeByNaturalKey(appLabel, model)
    if (contentType === null || textFault(codename, MAX_LABEL) !== null) return null
    const key = { contentTypeId: contentType.id, codename }
    return this.#database.permission.findUnique({ where: { contentTypeId_codename: key } })
  }

  /** Django's get_by_natural_key of content types. */
  async getContentTypeByNaturalKey(appLabel: string, model: string): Promise<ContentType | null> {
    if (textFault(appLabel, MAX_LABEL) !== null || textFault(model, MAX_LABEL) !== null) return null
    return this.#database.contentType.findUnique({ where: { appLabel_model: { appLabel, model } } })
  }

  /**
   * Creates missing content types and permissions of models; see content-types.ts.
   *
   * @returns the created permissions, each as `app_label.codename`
   * @throws {ValidationError} for a name that is too long or malformed
   */
  syncPermissions(models: readonly ModelDefinition[]): Promise<string[]> {
    return syncPermissions(this.#database, models)
  }

  /**
   * Reads the caller's current row, active or not; null for an anonymous request, and for a user who does not exist.
   */
  async rowOf(caller: Caller | null): Promise<User | null> {
    if (!(caller instanceof TokenUser)) return caller
    return remember(this.#rows, caller, () => this.#users.get(caller.idField, caller.id))
  }

  async #isRoot(caller: Caller | null): Promise<boolean> {
    const user = await this.rowOf(caller)
    return user?.isActive === true && user.isSuperuser
  }

  async #heldBy(caller: Caller | null): Promise<Held> {
    const user = await this.rowOf(caller)
    if (!caller || !user?.isActive) return NOTHING
    return remember(this.#held, caller, () => (user.isSuperuser ? this.#loadAll() : this.#load(user.id)))
  }

  async #loadAll(): Promise<Held> {
    const all = new Set((await this.#database.permission.findMany({ select: NAME })).map(nameOf))
    return { all, own: all }
  }

  async #load(userId: number): Promise<Held> {
    const rows = await this.#database.permission.findMany({
      where: { OR: [ofUser(userId), ofGroupsOf(userId)] },
      // Counted in the same statement; reading the rows would take another one.
      select: { ...NAME, _count: { select: { users: { where: { userId } } } } }
    })
    const own = rows.filter(({ _count }) => _count.users > 0)
    return { all: new Set(rows.map(nameOf)), own: new Set(own.map(nameOf)) }
  }

  async #loadByGroup(userId: number): Promise<Names> {
    const rows = await this.#database.permission.findMany({ where: ofGroupsOf(userId), select: NAME })
    return new Set(rows.map(nameOf))
  }
}

const ofUser = (userId: number) => ({ users: { some: { userId } } })
const ofGroupsOf = (userId: number) => ({ groups: { some: { group: { users: { some: { userId } } } } } })

/** Returns conditions, one of which a user with this permission meets; none for a name that no permission can have. */
function holdersOf(name: string) {
  const parts = partsOf(name)
  if (parts === null) return []
  const permission = { codename: parts.codename, contentType: { appLabel: parts.appLabel } }
  return [
    { userPermissions: { some: { permission } } },
    { groups: { some: { group: { permissions: { some: { permission } } } } } }
  ]
}

const isList = (value: unknown): value is Iterable<string> =>
  typeof value === 'object' && value !== null && Symbol.iterator in value

function remember<Key extends object, Value>(memory: WeakMap<Key, Value>, key: Key, find: () => Value): Value {
  const known = memory.get(key)
  if (known !== undefined) return known
  const found = find()
  memory.set(key, found)
  return found
}

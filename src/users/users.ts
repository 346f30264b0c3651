/** Django's users: who they are, how they are made, and whether a password is theirs. */
import { isMissingRow } from '../database/errors.ts'
import type { Database, Prisma, User as UserRow } from '../database/open.ts'
import { retryOnConflict } from '../database/retry.ts'
import { ServiceUnavailable, ValidationError } from '../errors.ts'
import { type Hashers, makeUnusablePassword } from '../passwords/hashers.ts'
import type { Settings } from '../settings/schema.ts'
import { withEmail } from './addresses.ts'
import {
  changeUser,
  checkKeys,
  type EndingReason,
  hasRights,
  type Logins,
  linksOf,
  type Permit,
  type UserWithKeys
} from './changes.ts'
import { deleteUser } from './deletion.ts'
import { fingerprintOf, forgetRenewals, isOfCurrentPassword, renewPassword } from './rehash.ts'
import { isName, primaryKeyOf, type User, type UserIdField, withoutPassword } from './user.ts'
import { cleanUsername, existing, named, normalizeEmail, TAKEN } from './usernames.ts'

export interface NewUser {
  /** At most 150 characters; stored in NFKC form. */
  username: string
  /** Its domain is stored in lower case. */
  email?: string
  /** Left out: the user cannot sign in with a password. */
  password?: string | null
  firstName?: string
  lastName?: string
  isStaff?: boolean
  isSuperuser?: boolean
  isActive?: boolean
  /** Primary keys. */
  groups?: readonly number[]
  userPermissions?: readonly number[]
}

/** What is left out stays as it is; groups and permissions take the place of those there are. */
export type UserChanges = Partial<NewUser>

export class Users {
  readonly #database: Database
  readonly #hashers: Hashers
  readonly #settings: Settings
  readonly #logins: Logins

  constructor(database: Database, hashers: Hashers, settings: Settings, logins: Logins) {
    this.#database = database
    this.#hashers = hashers
    this.#settings = settings
    this.#logins = logins
  }

  /**
   * @throws {ValidationError} for a name that is missing, malformed or taken, an address as of setEmail, or a group or
   *   permission that is not there
   */
  async createUser({ password, ...user }: NewUser): Promise<User> {
    const email = normalizeEmail(user.email ?? '')
    await this.#assertOwn(email)
    const data = {
      username: cleanUsername(user.username),
      email,
      password: await this.#encode(password),
      firstName: user.firstName ?? '',
      lastName: user.lastName ?? '',
      isStaff: user.isStaff ?? false,
      isSuperuser: user.isSuperuser ?? false,
      isActive: user.isActive ?? true,
      dateJoined: new Date(),
      lastLogin: null,
      ...linksOf(user)
    }
    return retryOnConflict(async () => {
      await checkKeys(this.#database, user)
      return withoutPassword(await named(this.#database.user.create({ data })))
    })
  }

  /** createUser, with is_staff and is_superuser. */
  createSuperuser(user: NewUser): Promise<User> {
    return this.createUser({ ...user, isStaff: true, isSuperuser: true })
  }

  /**
   * Django's authenticate. Takes as long for a name that does not exist as for a wrong password.
   *
   * @param username or the address, where users sign in with that
   * @returns the user, or null for any reason why these credentials are not good
   */
  async authenticate(username: string, password: string): Promise<UserRow | null> {
    const user = await this.#named(username)
    if (user === null) {
      await this.#hashers.runDummyHash(password)
      return null
    }
    const { correct, outdated } = await this.#hashers.checkPassword(password, user.password)
    if (!correct || !(user.isActive || this.#acceptsInactive())) return null
    return outdated ? this.#renew(user, password) : user
  }

  /** By primary key or username as a token writes it; null also for what can be neither. */
  async get(field: UserIdField, value: unknown): Promise<UserRow | null> {
    const { user } = this.#database
    if (field === 'username') return isName(value) ? user.findUnique({ where: { username: value } }) : null
    const id = primaryKeyOf(value)
    return id === null ? null : user.findUnique({ where: { id } })
  }

  /** Django's get_by_natural_key. */
  getByNaturalKey(username: string): Promise<UserRow | null> {
    return this.get('username', username)
  }

  /**
   * A new password, which ends the user's sessions.
   *
   * @param password null makes it unusable
   * @param sid the session that stays: the one whose user changes its own password
   * @returns the row with the new hash
   */
  async setPassword(id: number, password: string | null, sid: string | null = null): Promise<UserRow> {
    const data = { password: await this.#encode(password) }
    const change = this.#database.user.update({ where: { id }, data })
    return existing(this.#ending(change, id, 'password', sid))
  }

  /**
   * @returns the name as it is stored
   * @throws {ValidationError} `{ username: […] }` for a name that is malformed or taken
   */
  async setUsername(id: number, username: string): Promise<string> {
    const data = { username: cleanUsername(username) }
    const changed = this.#database.user.update({ where: { id }, data, select: { username: true } })
    return (await existing(named(changed))).username
  }

  /** @throws {ValidationError} `{ username: […] }` for a name that nobody can take, or somebody has */
  async checkUsername(username: string): Promise<void> {
    if ((await this.get('username', cleanUsername(username))) !== null) throw new ValidationError({ username: [TAKEN] })
  }

  /**
   * @param isActive if left out, it stays as it is
   * @throws {ValidationError} `{ email: […] }` where users sign in with an address, for one that somebody else has
   */
  async setEmail(id: number, email: string, isActive?: boolean): Promise<void> {
    await this.#assertOwn(email, id)
    const data = { email, ...(isActive !== undefined && { isActive }) }
    const change = this.#database.user.updateMany({ where: { id }, data })
    await (isActive === false ? this.#ending(change, id, 'inactive') : change)
  }

  /** Who has this address, whatever the case of its letters; several may. At most fifty. */
  withEmail(email: string): Promise<UserRow[]> {
    return withEmail(this.#database, email)
  }

  /**
   * A new password and a login, for who has shown a link; nothing if the password has changed since the row was read.
   *
   * @returns whether it was set
   */
  async resetPassword({ id, password: before }: UserRow, password: string): Promise<boolean> {
    const data = { password: await this.#encode(password), lastLogin: new Date() }
    const change = this.#database.user.update({ where: { id, password: before }, data, select: { id: true } })
    try {
      await this.#ending(change, id, 'password')
      return true
    } catch (error) {
      if (isMissingRow(error)) return false
      throw error
    }
  }

  /** @returns whether the user was not active before */
  async activate(id: number): Promise<boolean> {
    const data = { isActive: true }
    return (await this.#database.user.updateMany({ where: { id, isActive: false }, data })).count === 1
  }

  /** The user can sign in no more, and its sessions end. */
  async deactivate(id: number): Promise<void> {
    const change = this.#database.user.updateMany({ where: { id }, data: { isActive: false } })
    await this.#ending(change, id, 'inactive')
  }

  /** Django's check_password; a hash that is outdated stays. */
  async checkPassword({ id }: Pick<User, 'id'>, password: string): Promise<boolean> {
    const user = await this.get('id', id)
    return user !== null && (await this.#hashers.checkPassword(password, user.password)).correct
  }

  /** Sets `last_login` to now. */
  async updateLastLogin(id: number): Promise<void> {
    await this.#database.user.updateMany({ where: { id }, data: { lastLogin: new Date() } })
  }

  /**
   * Changes a user in one transaction, but never so that no superuser is left who can sign in.
   *
   * @param permit asked with the user as it is; what it throws is thrown. The change is made to just that, or permit is
   *   asked again.
   * @param sid the session that stays where the change ends the others: the one by which it is made
   * @throws {NotFound} if there is no such user
   * @throws {ValidationError} as createUser
   * @throws {PermissionDenied} for the last superuser
   */
  async updateUser(id: number, changes: UserChanges, permit?: Permit, sid?: string | null): Promise<UserWithKeys> {
    const { password, ...others } = changes
    const encoded = password === undefined ? {} : { password: await this.#encode(password) }
    const endings = (reason: EndingReason) => this.#logins.endings(id, reason, sid)
    const change = () => changeUser(this.#database, id, { ...others, ...encoded }, { permit, endings })
    const user = await (hasRights(changes) ? this.#logins.changeRights({ id }, change) : change())
    await this.#logins.hear()
    return user
  }

  /**
   * Deletes a user with what hangs on it, in Django's order, at once.
   *
   * @param permit as of updateUser; with it, the last superuser stays, and a user who is not there is a NotFound
   */
  async deleteUser(id: number, permit?: Permit): Promise<void> {
    await deleteUser(this.#database, id, () => this.#logins.endings(id, 'deleted'), permit)
    await this.#logins.hear()
  }

  /** True unless tokens die with a change of password, and this fingerprint, of a token, is from before it. */
  async isOfCurrentPassword(user: UserRow, fingerprint: unknown): Promise<boolean> {
    return !this.#settings.checkRevokeToken || isOfCurrentPassword(this.#database, user, fingerprint)
  }

  /** The row as it is now, if it still has the password that it had when it was read, though under another hash. */
  async renewalOf(user: UserRow): Promise<UserRow | null> {
    const now = await this.get('id', user.id)
    const isSame = now !== null && (await isOfCurrentPassword(this.#database, now, fingerprintOf(user.password)))
    return isSame ? now : null
  }

  /** Forgets renewals of hashes that no token can be from before; how long those live is in seconds. */
  forgetRenewals(lifetime: number): Promise<void> {
    return forgetRenewals(this.#database, lifetime)
  }

  /** A change of the user's row, and what it ends, at once. @returns what the change has returned */
  async #ending<Row>(
    change: Prisma.PrismaPromise<Row>,
    id: number,
    reason: EndingReason,
    except: string | null = null
  ): Promise<Row> {
    const [row] = await this.#database.$transaction([change, ...this.#logins.endings(id, reason, except)])
    await this.#logins.hear()
    return row as Row
  }

  /** An address that several users have is nobody's: it cannot be told who is meant. */
  async #named(login: string): Promise<UserRow | null> {
    if (this.#settings.loginField === 'username') return this.get('username', login)
    const [user, another] = await this.withEmail(login)
    return user !== undefined && another === undefined ? user : null
  }

  /** Or else whoever takes somebody's address would lock both of them out. */
  async #assertOwn(email: string, id?: number): Promise<void> {
    if (this.#settings.loginField === 'username') return
    if ((await this.withEmail(email)).every((user) => user.id === id)) return
    throw new ValidationError({ email: ['user with this email address already exists.'] })
  }

  #acceptsInactive(): boolean {
    return this.#settings.authenticationBackends.includes('AllowAllUsersModelBackend')
  }

  /** An outdated hash stays where there is no time to renew it. */
  async #renew(user: UserRow, password: string): Promise<UserRow> {
    try {
      return await renewPassword(this.#database, user, await this.#hashers.makePassword(password))
    } catch (error) {
      if (error instanceof ServiceUnavailable) return user
      throw error
    }
  }

  async #encode(password: string | null | undefined): Promise<string> {
    return typeof password === 'string' ? this.#hashers.makePassword(password) : makeUnusablePassword()
  }
}

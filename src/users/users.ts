/** Django's users: creates, reads, changes and authenticates them. */
import { isForeignKeyViolation, isMissingRow } from '../database/errors.ts'
import type { Database, Prisma, User as UserRow } from '../database/open.ts'
import { retryOnConflict } from '../database/retry.ts'
import { ServiceUnavailable, UserNotFound, ValidationError } from '../errors.ts'
import { type Hashers, makeUnusablePassword } from '../passwords/hashers.ts'
import type { KeptCredentials } from '../sessions/session-rows.ts'
import type { EndReason, Sessions } from '../sessions/sessions.ts'
import type { Settings } from '../settings/schema.ts'
import { EMAIL_TAKEN, withEmail } from './addresses.ts'
import {
  changeUser,
  checkKeys,
  hasRights,
  linksOf,
  type Permit,
  type UserWithKeys,
  WITH_KEYS,
  withKeys
} from './changes.ts'
import { deleteUser } from './deletion.ts'
import { deleteRehashRecords, fingerprintOf, isOfCurrentPassword, rehashPassword } from './rehash.ts'
import {
  isName,
  type LoginRequest,
  primaryKeyOf,
  type User,
  type UserIdField,
  type UsersOptions,
  withoutPassword
} from './user.ts'
import { cleanUsername, existing, named, normalizeEmail, normalizeUsername, TAKEN } from './usernames.ts'

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

/** Properties that are left out stay unchanged; groups and permissions replace the current ones. */
export type UserChanges = Partial<NewUser>

const REFERRED_TO = 'Other rows refer to this user. Deactivate the user instead.'

export class Users {
  readonly #database: Database
  readonly #hashers: Hashers
  readonly #settings: Settings
  readonly #sessions: Sessions
  readonly #options: UsersOptions

  constructor(
    database: Database,
    hashers: Hashers,
    settings: Settings,
    sessions: Sessions,
    options: UsersOptions = {}
  ) {
    this.#options = options
    this.#database = database
    this.#hashers = hashers
    this.#settings = settings
    this.#sessions = sessions
  }

  /**
   * @param options `awaitsActivation`: the link of an activation email can activate the account
   * @throws {ValidationError} for an invalid or taken username, a taken email address, unknown groups or permissions
   */
  async createUser({ password, ...user }: NewUser, { awaitsActivation = false } = {}): Promise<User> {
    const email = normalizeEmail(user.email ?? '')
    await this.assertEmailAvailable(email)
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
      if (!awaitsActivation) return withoutPassword(await named(this.#database.user.create({ data })))
      const [created] = await named(
        this.#database.$transaction([
          this.#database.user.create({ data }),
          this.#database.$executeRaw`
            INSERT INTO latchkey_pending_activation (user_id) SELECT id FROM auth_user WHERE username = ${data.username}`
        ])
      )
      return withoutPassword(created)
    })
  }

  /** Django's create_superuser. */
  createSuperuser(user: NewUser): Promise<User> {
    return this.createUser({ ...user, isStaff: true, isSuperuser: true })
  }

  /**
   * Django's authenticate. An unknown user takes as long as a wrong password.
   *
   * @param username the value of `loginField`
   * @param request for the log
   * @returns the user, or null if these credentials do not authenticate one
   */
  async authenticate(username: string, password: string, request: LoginRequest | null = null): Promise<UserRow | null> {
    this.#hashers.assertRoom()
    const user = await this.#named(username)
    const isAbandoned = request?.isAbandoned
    const check =
      user === null
        ? await this.#hashers.runDummyHash(password, isAbandoned)
        : await this.#hashers.checkPassword(password, user.password, isAbandoned)
    const isAccepted = user !== null && check.correct && (user.isActive || this.#acceptsInactive())
    this.#options.onLogin?.({ userId: user?.id ?? null, isAccepted, request })
    if (!isAccepted) {
      await this.#hashers.refuse(check)
      return null
    }
    return check.outdated ? this.#rehash(user, password) : user
  }

  /**
   * Finds a user by primary key or username as a token has it; null also for a value that can be neither, and for a user of
   * another service (`field` null).
   */
  async get(field: UserIdField | null, value: unknown): Promise<UserRow | null> {
    if (field === null) return null
    const { user } = this.#database
    if (field === 'username') return isName(value) ? user.findUnique({ where: { username: value } }) : null
    const id = primaryKeyOf(value)
    return id === null ? null : user.findUnique({ where: { id } })
  }

  /** Returns a user with the primary keys of its groups and permissions. */
  async getWithKeys(id: number): Promise<UserWithKeys | null> {
    const row = await this.#database.user.findUnique({ where: { id }, ...WITH_KEYS })
    return row && withKeys(row)
  }

  /** Returns all users in the order of their ids. */
  list(): Promise<User[]> {
    return this.#database.user.findMany({ orderBy: { id: 'asc' }, omit: { password: true } })
  }

  /** Django's get_by_natural_key. */
  getByNaturalKey(username: string): Promise<UserRow | null> {
    return this.get('username', username)
  }

  /**
   * Sets a new password, which ends everything of the user: sessions, tokens and keys.
   *
   * @param password null sets an unusable password
   * @param kept credentials that stay valid
   * @returns the row with the new hash
   */
  async setPassword(id: number, password: string | null, kept: KeptCredentials = {}): Promise<UserRow> {
    const data = { password: await this.#encode(password) }
    const change = this.#database.user.update({ where: { id }, data })
    return existing(this.#changeAndEnd(change, id, 'password', kept))
  }

  /**
   * @returns the username as it is stored
   * @throws {ValidationError} `{ username: […] }` for an invalid or taken username
   */
  async setUsername(id: number, username: string): Promise<string> {
    const data = { username: cleanUsername(username) }
    if (this.#settings.userIdField !== 'username') {
      await existing(named(this.#database.user.update({ where: { id }, data, select: { id: true } })))
      return data.username
    }
    // Tokens name the user by the old username, which another user may take.
    await retryOnConflict(async () => {
      const before = await this.get('id', id)
      if (before === null) throw new UserNotFound()
      if (before.username === data.username) return
      const where = { id, username: before.username }
      const change = this.#database.user.update({ where, data, select: { id: true } })
      await named(this.#changeAndEnd(change, id, 'username', {}, before.username))
    })
    return data.username
  }

  /** @throws {ValidationError} `{ username: […] }` for an invalid or taken username */
  async checkUsername(username: string): Promise<void> {
    if ((await this.get('username', cleanUsername(username))) !== null) throw new ValidationError({ username: [TAKEN] })
  }

  /** @throws {ValidationError} `{ email: […] }` with `loginField: 'email'`, if another user has the address */
  async setEmail(id: number, email: string): Promise<void> {
    await this.assertEmailAvailable(email, id)
    const before = await this.get('id', id)
    await named(this.#database.user.updateMany({ where: { id }, data: { email } }))
    if (before !== null && before.email !== email) this.#options.onEmailChanged?.(withoutPassword(before))
  }

  /**
   * Two users with one address could both no longer log in with it.
   *
   * @param id the user who is to have the address
   * @throws {ValidationError} `{ email: […] }` with `loginField: 'email'`, if another user has it
   */
  async assertEmailAvailable(email: string, id?: number): Promise<void> {
    if (await this.isEmailTaken(email, id)) throw new ValidationError({ email: [EMAIL_TAKEN] })
  }

  /** True with `loginField: 'email'`, if another user than this one has the address. */
  async isEmailTaken(email: string, id?: number): Promise<boolean> {
    return this.#settings.loginField === 'email' && (await this.withEmail(email)).some((user) => user.id !== id)
  }

  /** Finds the users with this email address, in any case; at most fifty. */
  withEmail(email: string): Promise<UserRow[]> {
    return withEmail(this.#database, email)
  }

  /**
   * Sets a new password and `last_login`, unless the password was changed since the row was read.
   *
   * @returns whether it was set
   */
  async resetPassword({ id, password: before }: UserRow, password: string): Promise<boolean> {
    const data = { password: await this.#encode(password), lastLogin: new Date() }
    const change = this.#database.user.update({ where: { id, password: before }, data, select: { id: true } })
    try {
      await this.#changeAndEnd(change, id, 'password')
      return true
    } catch (error) {
      if (isMissingRow(error)) return false
      throw error
    }
  }

  /** @returns whether the user was inactive before */
  async activate(id: number): Promise<boolean> {
    const { user, pendingActivation } = this.#database
    const [{ count }] = await this.#database.$transaction([
      user.updateMany({ where: { id, isActive: false }, data: { isActive: true } }),
      pendingActivation.deleteMany({ where: { userId: id } })
    ])
    return count === 1
  }

  /** Deactivates a user and ends its sessions. */
  async deactivate(id: number): Promise<void> {
    const change = this.#database.user.updateMany({ where: { id }, data: { isActive: false } })
    await this.#changeAndEnd(change, id, 'inactive')
  }

  /** Django's check_password; it does not rehash. */
  async checkPassword({ id }: Pick<User, 'id'>, password: string): Promise<boolean> {
    const user = await this.get('id', id)
    return user !== null && (await this.#hashers.checkPassword(password, user.password)).correct
  }

  /**
   * Checks the password that users must repeat to change their own accounts. Users without a password cannot.
   *
   * @param password undefined if it is missing
   * @returns error messages for `current_password`; none if it is correct
   */
  async faultsOfCurrentPassword(
    user: Pick<User, 'id'>,
    password: string | undefined
  ): Promise<Record<string, string[]>> {
    if (password === undefined) return { current_password: ['This field is required.'] }
    if (await this.checkPassword(user, password)) return {}
    this.#options.onLogin?.({ userId: user.id, isAccepted: false, request: null })
    return { current_password: ['Invalid password.'] }
  }

  /** Sets `last_login` to now. */
  async updateLastLogin(id: number): Promise<void> {
    await this.#database.user.updateMany({ where: { id }, data: { lastLogin: new Date() } })
  }

  /**
   * Changes a user in one transaction.
   *
   * @param permit called with the current user, and again if a concurrent change intervenes; rejects by throwing
   * @throws {NotFound} if the user does not exist
   * @throws {ValidationError} as createUser
   * @throws {PermissionDenied} if no superuser who can sign in would remain
   */
  async updateUser(id: number, changes: UserChanges, permit?: Permit): Promise<UserWithKeys> {
    const { password, ...others } = changes
    if (others.email !== undefined) await this.assertEmailAvailable(normalizeEmail(others.email), id)
    const encoded = password === undefined ? {} : { password: await this.#encode(password) }
    const options = {
      permit,
      endStatements: (reason: EndReason, before: UserRow) =>
        this.#sessions.endStatements(id, reason, {}, before.username),
      onCommit: (results: unknown[], before: UserRow, email: string) => {
        this.#sessions.enforce(results)
        if (before.email !== email) this.#options.onEmailChanged?.(withoutPassword(before))
      },
      renames: this.#settings.userIdField === 'username'
    }
    const change = () => changeUser(this.#database, id, { ...others, ...encoded }, options)
    return hasRights(changes) ? this.#sessions.changeRights({ id }, change) : change()
  }

  /**
   * Deletes a user and its related rows in Django's order, in one transaction.
   *
   * @param permit as of updateUser; with it, the last superuser must remain, and a missing user is a NotFound
   * @throws {ValidationError} if rows of other tables refer to the user
   */
  async deleteUser(id: number, permit?: Permit): Promise<void> {
    try {
      this.#sessions.enforce(
        await deleteUser(this.#database, id, () => this.#sessions.endStatements(id, 'deleted'), permit)
      )
    } catch (error) {
      if (!isForeignKeyViolation(error)) throw error
      throw new ValidationError({ non_field_errors: [REFERRED_TO] })
    }
  }

  /** False if `checkRevokeToken` is on and the fingerprint in a token is of an earlier password. */
  async isOfCurrentPassword(user: UserRow, fingerprint: unknown): Promise<boolean> {
    return !this.#settings.checkRevokeToken || isOfCurrentPassword(this.#database, user, fingerprint)
  }

  /** Reads the row again; null unless it still has the same username, activity and password, which may be rehashed. */
  async findUnchanged(user: UserRow): Promise<UserRow | null> {
    const now = await this.get('id', user.id)
    if (now === null || now.username !== user.username || now.isActive !== user.isActive) return null
    return (await isOfCurrentPassword(this.#database, now, fingerprintOf(user.password))) ? now : null
  }

  /** Deletes records of rehashed passwords that no valid token refers to. @param lifetime of tokens, in seconds */
  deleteRehashRecords(lifetime: number): Promise<void> {
    return deleteRehashRecords(this.#database, lifetime)
  }

  /** Runs a change of the user's row and ends the user's sessions in one transaction. */
  async #changeAndEnd<Row>(
    change: Prisma.PrismaPromise<Row>,
    id: number,
    reason: EndReason,
    kept: KeptCredentials = {},
    username?: string
  ): Promise<Row> {
    const statements = this.#sessions.endStatements(id, reason, kept, username)
    const results = await this.#database.$transaction([change, ...statements])
    this.#sessions.enforce(results)
    return results[0] as Row
  }

  /** An email address that several users have identifies none of them. */
  async #named(login: string): Promise<UserRow | null> {
    if (this.#settings.loginField === 'username') {
      // Usernames are stored in NFKC form. Rows of other systems may not be, so that the exact form comes first.
      const { name } = normalizeUsername(login)
      return (await this.get('username', login)) ?? (name === login ? null : this.get('username', name))
    }
    const [user, another] = await this.withEmail(login)
    return user !== undefined && another === undefined ? user : null
  }

  #acceptsInactive(): boolean {
    return this.#settings.authenticationBackends.includes('AllowAllUsersModelBackend')
  }

  /** Keeps the outdated hash if the hash queue is full. */
  async #rehash(user: UserRow, password: string): Promise<UserRow> {
    try {
      return await rehashPassword(this.#database, user, await this.#hashers.makePassword(password))
    } catch (error) {
      if (error instanceof ServiceUnavailable) return user
      throw error
    }
  }

  async #encode(password: string | null | undefined): Promise<string> {
    return typeof password === 'string' ? this.#hashers.makePassword(password) : makeUnusablePassword()
  }
}

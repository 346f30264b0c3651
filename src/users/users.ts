/** Django's users: who they are, how they are made, and whether a password is theirs. */
import { createHash } from 'node:crypto'
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, User as UserRow } from '../database/open.ts'
import { amongRivals } from '../database/rivals.ts'
import { ServiceUnavailable } from '../errors.ts'
import type { Settings } from '../settings.ts'
import {
  changeUser,
  checkKeys,
  deletePermitted,
  hasAdminLog,
  linksOf,
  type Permit,
  type UserWithKeys
} from './changes.ts'
import { type Hashers, makeUnusablePassword } from './hashers.ts'
import { cleanUsername, named, normalizeEmail } from './normalize.ts'
import { isName, primaryKeyOf, type User, type UserIdField, withoutPassword } from './user.ts'

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

/** In characters; Django's validator takes no longer ones. */
const MAX_EMAIL = 320

export class Users {
  readonly #database: Database
  readonly #hashers: Hashers
  readonly #settings: Settings

  constructor(database: Database, hashers: Hashers, settings: Settings) {
    this.#database = database
    this.#hashers = hashers
    this.#settings = settings
  }

  /** @throws {ValidationError} for a name that is missing, malformed or taken, or a group or permission that is not there */
  async createUser({ password, ...user }: NewUser): Promise<User> {
    const data = {
      username: cleanUsername(user.username),
      email: normalizeEmail(user.email ?? ''),
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
    return amongRivals(async () => {
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

  /** @param password null makes it unusable */
  async setPassword(id: number, password: string | null): Promise<void> {
    const data = { password: await this.#encode(password) }
    await this.#database.user.update({ where: { id }, data, select: { id: true } })
  }

  /** @throws {ValidationError} `{ username: […] }` for a name that is malformed or taken */
  async setUsername(id: number, username: string): Promise<void> {
    const data = { username: cleanUsername(username) }
    await named(this.#database.user.update({ where: { id }, data, select: { id: true } }))
  }

  /** @param isActive if left out, it stays as it is */
  async setEmail(id: number, email: string, isActive?: boolean): Promise<void> {
    const data = { email, ...(isActive !== undefined && { isActive }) }
    await this.#database.user.updateMany({ where: { id }, data })
  }

  /** Who has this address, whatever the case of its letters; several may. At most fifty. */
  async withEmail(email: string): Promise<UserRow[]> {
    if (email === '' || email.length > MAX_EMAIL || email.includes('\0') || !email.isWellFormed()) return []
    const found = await this.#database.$queryRaw<{ id: number }[]>`
      SELECT id FROM auth_user WHERE LOWER(email) = LOWER(${email}) ORDER BY id LIMIT 50`
    // Also where nobody was found, so that it takes as long: there is no user 0.
    const ids = [0, ...found.map(({ id }) => Number(id))]
    const users = await this.#database.user.findMany({ where: { id: { in: ids } } })
    // Databases fold letters that are different to a mail server.
    return users.filter((user) => folded(user.email) === folded(email)).sort((a, b) => a.id - b.id)
  }

  /**
   * A new password and a login, for who has shown a link; nothing if the password has changed since the row was read.
   *
   * @returns whether it was set
   */
  async resetPassword({ id, password: before }: UserRow, password: string): Promise<boolean> {
    const data = { password: await this.#encode(password), lastLogin: new Date() }
    return (await this.#database.user.updateMany({ where: { id, password: before }, data })).count === 1
  }

  async activate(id: number): Promise<void> {
    await this.#database.user.updateMany({ where: { id }, data: { isActive: true } })
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
   * @throws {NotFound} if there is no such user
   * @throws {ValidationError} as createUser
   * @throws {PermissionDenied} for the last superuser
   */
  async updateUser(id: number, changes: UserChanges, permit?: Permit): Promise<UserWithKeys> {
    const { password, ...others } = changes
    const encoded = password === undefined ? {} : { password: await this.#encode(password) }
    return changeUser(this.#database, id, { ...others, ...encoded }, permit)
  }

  /**
   * Deletes a user with what hangs on it, in Django's order, at once.
   *
   * @param permit as of updateUser; with it, the last superuser stays, and a user who is not there is a NotFound
   */
  async deleteUser(id: number, permit?: Permit): Promise<void> {
    const database = this.#database
    const hasLog = await hasAdminLog(database)
    const statements = () => [
      database.userGroup.deleteMany({ where: { userId: id } }),
      database.userPermission.deleteMany({ where: { userId: id } }),
      ...(hasLog ? [database.$executeRaw`DELETE FROM django_admin_log WHERE user_id = ${id}`] : []),
      database.authToken.deleteMany({ where: { userId: id } }),
      database.renewedPassword.deleteMany({ where: { userId: id } }),
      database.outstandingToken.updateMany({ where: { userId: id }, data: { userId: null } }),
      database.user.deleteMany({ where: { id } })
    ]
    await (permit ? deletePermitted(database, id, permit, statements) : database.$transaction(statements()))
  }

  /**
   * True unless tokens die with a change of password and this fingerprint, of a token, is from before it. A hash that
   * was only renewed is no change.
   */
  async isOfCurrentPassword(user: UserRow, fingerprint: unknown): Promise<boolean> {
    if (!this.#settings.checkRevokeToken) return true
    const current = fingerprintOf(user.password)
    for (let known = fingerprint, steps = 0; typeof known === 'string' && steps < 10; steps++) {
      if (known === current) return true
      const where = { userId_before: { userId: user.id, before: known } }
      known = (await this.#database.renewedPassword.findUnique({ where }))?.after
    }
    return false
  }

  /** Forgets renewals that no token can be from before; how long those live is in seconds. */
  async forgetRenewals(lifetime: number): Promise<void> {
    const renewedAt = { lt: new Date(Date.now() - 1000 * lifetime) }
    await this.#database.renewedPassword.deleteMany({ where: { renewedAt } })
  }

  /** An address that several users have is nobody's: it cannot be told who is meant. */
  async #named(login: string): Promise<UserRow | null> {
    if (this.#settings.loginField === 'username') return this.get('username', login)
    const [user, another] = await this.withEmail(login)
    return user !== undefined && another === undefined ? user : null
  }

  #acceptsInactive(): boolean {
    return this.#settings.authenticationBackends.includes('AllowAllUsersModelBackend')
  }

  /** An outdated hash stays where there is no time to renew it; one that was changed meanwhile stays anyway. */
  async #renew(user: UserRow, password: string): Promise<UserRow> {
    try {
      const renewed = await this.#hashers.makePassword(password)
      const [, { count }] = await this.#database.$transaction([
        this.#database.renewedPassword.create({ data: renewalOf(user, renewed) }),
        this.#database.user.updateMany({ where: { id: user.id, password: user.password }, data: { password: renewed } })
      ])
      return count === 1 ? { ...user, password: renewed } : user
    } catch (error) {
      // Another login of the same user renews it at this moment, too.
      if (error instanceof ServiceUnavailable || isUniqueViolation(error)) return user
      throw error
    }
  }

  async #encode(password: string | null | undefined): Promise<string> {
    return typeof password === 'string' ? this.#hashers.makePassword(password) : makeUnusablePassword()
  }
}

/** SimpleJWT's fingerprint of a stored password. MD5 is no protection here, only a short name for what it was. */
export const fingerprintOf = (encoded: string): string => createHash('md5').update(encoded).digest('hex').toUpperCase()

const renewalOf = ({ id: userId, password }: UserRow, renewed: string) => ({
  ...{ userId, before: fingerprintOf(password), after: fingerprintOf(renewed) },
  renewedAt: new Date()
})

/** Django's, against addresses that look the same and are not. */
const folded = (email: string) => email.normalize('NFKC').toLowerCase()

/** djoser's operations on accounts, without their HTTP: registration, activation, email address, username, password. */
import type { User as UserRow } from '../database/open.ts'
import { PermissionDenied, ValidationError } from '../errors.ts'
import type { Passwords } from '../passwords/passwords.ts'
import type { KeptCredentials } from '../sessions/session-rows.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Settings } from '../settings/schema.ts'
import type { Activations } from '../users/activations.ts'
import type { EmailChanges } from '../users/email-changes.ts'
import { type User, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'
import type { Delivery } from './delivery.ts'
import { type EmailTokens, idOf, type Purpose, uidOf } from './email-tokens.ts'
import { type Event, emailChangeEmail, linkEmail, noticeEmail } from './emails.ts'

/** The values in a link of an email. */
export interface Link {
  uid: string
  token: string
}

/** A new password or username, with its repetition where a setting asks for it. */
export interface NewPassword {
  value: string
  again?: string | undefined
}

export interface NewAccount {
  username: string
  email?: string
  password: NewPassword
}

export interface AccountsParts {
  settings: Settings
  users: Users
  passwords: Passwords
  sessions: Sessions
  activations: Activations
  emailChanges: EmailChanges
  emailTokens: EmailTokens
  delivery: Delivery
}

export class Accounts {
  readonly #settings: Settings
  readonly #users: Users
  readonly #parts: AccountsParts

  constructor(parts: AccountsParts) {
    this.#settings = parts.settings
    this.#users = parts.users
    this.#parts = parts
  }

  /** Lists all accounts for staff, or if `accountsHideUsers` is off; otherwise only the caller's. */
  async list(caller: User): Promise<User[]> {
    return this.#settings.accountsHideUsers && !caller.isStaff ? [caller] : this.#users.list()
  }

  /** @throws {ValidationError} for an invalid or taken username, then for a weak password */
  async create({ username, email = '', password }: NewAccount): Promise<User> {
    await this.#users.checkUsername(username)
    await this.#checkStrength('password', password, { username, email })
    const isActive = !this.#settings.accountsSendActivationEmail
    if (!isActive) this.#parts.delivery.assertRoom()
    const account = { username, email, password: password.value, isActive }
    const user = await this.#users.createUser(account, { awaitsActivation: !isActive })
    if (!isActive) this.#mailActivation(user.id)
    else if (this.#settings.accountsSendConfirmationEmail) this.#notify('confirmation', user)
    return user
  }

  /**
   * @param kept credentials of the request that stay valid
   * @returns the row with the new hash
   * @throws {ValidationError} if the current password is wrong, or the new one weak
   */
  async setPassword(user: User, current: string, password: NewPassword, kept: KeptCredentials = {}): Promise<UserRow> {
    throwIfAny(await this.#users.faultsOfCurrentPassword(user, current))
    await this.#checkStrength('new_password', password, user)
    const row = await this.#users.setPassword(user.id, password.value, kept)
    await this.#afterPassword(user)
    return row
  }

  /** @throws {ValidationError} if the password is wrong, or the name malformed or taken */
  async setUsername(user: User, current: string, username: NewPassword): Promise<void> {
    throwIfAny({
      ...(await this.#users.faultsOfCurrentPassword(user, current)),
      ...(await this.#faultsOfName(username.value))
    })
    await this.#rename(user, username)
  }

  /**
   * Changes the email address of the caller's own account. With `accountsSendActivationEmail` it changes when the link that
   * is sent to the new address is used. The old address gets a notice of every change; see `Users.onEmailChanged`.
   *
   * @param current the password, which a change requires unless `accountsEmailChangePassword` is off
   * @returns the account as it is now
   * @throws {ValidationError} if the password is missing or wrong
   */
  async changeOwnEmail(user: User, email: string, current: string | undefined): Promise<User> {
    if (email === user.email) return user
    if (this.#settings.accountsEmailChangePassword) throwIfAny(await this.#users.faultsOfCurrentPassword(user, current))
    if (!this.#settings.accountsSendActivationEmail || email === '') {
      await this.#users.setEmail(user.id, email)
      return { ...user, email }
    }
    this.#parts.delivery.assertRoom()
    await this.#parts.emailChanges.request(user.id, email)
    this.#parts.delivery.schedule(async () => {
      const row = await this.#users.get('id', user.id)
      return row === null ? [] : [emailChangeEmail(row, email, this.#settings, this.#parts.emailTokens)]
    })
    return user
  }

  /** Changes the email address of another account; an account that awaits activation gets its link again. */
  async changeEmail(user: User, email: string): Promise<User> {
    if (email !== user.email) await this.#users.setEmail(user.id, email)
    if (this.#settings.accountsSendActivationEmail && !user.isActive) this.#mailActivation(user.id)
    return { ...user, email }
  }

  /** Tells the old address that the account has another one. */
  notifyOldAddress(before: User): void {
    this.#notify('emailChanged', before)
  }

  /**
   * @param caller who deletes, and gives a password of its own
   * @throws {ValidationError} if that is wrong
   */
  async delete(user: Pick<User, 'id'>, caller: User, current: string): Promise<void> {
    throwIfAny(await this.#users.faultsOfCurrentPassword(caller, current))
    // The last superuser must remain, also by its own wish.
    await this.#users.deleteUser(user.id, () => undefined)
  }

  /**
   * Activates an account, or gives it its new email address, by the link of an email.
   *
   * @throws {ValidationError} for an invalid link
   * @throws {PermissionDenied} for an account that does not await activation
   */
  async activate(link: Link): Promise<void> {
    if (await this.#confirmEmailChange(link)) return
    const user = await this.#ownerOf('activation', link)
    // Of concurrent requests with one link, one succeeds. A deactivated account does not await activation.
    if (user.isActive || !(await this.#parts.activations.activate(user.id))) {
      throw new PermissionDenied('Stale token for given user.')
    }
    if (this.#settings.accountsSendConfirmationEmail) this.#notify('confirmation', user)
  }

  /**
   * Sends the link again if the address has an account that awaits activation. The response does not reveal it.
   *
   * @returns false where accounts are not activated by mail
   * @throws {ValidationError} as requestReset
   */
  async resendActivation(email: string): Promise<boolean> {
    const { accountsSendActivationEmail: isSent } = this.#settings
    this.#parts.delivery.assertRoom()
    await this.#checkReachable(email, false)
    if (isSent) {
      const find = async () => this.#parts.activations.pendingOf(await this.#reachable(email, false))
      this.#mailLinks('activation', find)
    }
    return isSent
  }

  /** Returns the values of a link that sets the password of a user once. */
  makePasswordLink(user: UserRow): Link {
    return { uid: uidOf(user), token: this.#parts.emailTokens.make('passwordReset', user) }
  }

  /**
   * Sends one email with a link for each active user who has this address and a password. The response does not reveal
   * whether there is one.
   *
   * @throws {ValidationError} if there is none, with `accountsShowEmailNotFound`
   */
  async requestReset(purpose: 'passwordReset' | 'usernameReset', email: string): Promise<void> {
    this.#parts.delivery.assertRoom()
    await this.#checkReachable(email, true)
    this.#mailLinks(purpose, () => this.#reachable(email, true))
  }

  /** The link first, and then the password, against the user whose it is. @throws {ValidationError} */
  async confirmPasswordReset(link: Link, password: NewPassword): Promise<void> {
    const user = await this.#ownerOf('passwordReset', link)
    await this.#checkStrength('new_password', password, withoutPassword(user))
    // Of links that are followed at once, one is in time.
    if (!(await this.#users.resetPassword(user, password.value))) throw new ValidationError(STALE)
    await this.#afterPassword(user)
  }

  /** @throws {ValidationError} for a link that is not good, then for a name that is malformed or taken */
  async confirmUsernameReset(link: Link, username: NewPassword): Promise<void> {
    const user = await this.#ownerOf('usernameReset', link)
    throwIfAny(await this.#faultsOfName(username.value))
    await this.#rename(user, username)
    await this.#users.updateLastLogin(user.id)
  }

  async #ownerOf(purpose: Purpose, { uid, token }: Link): Promise<UserRow> {
    const user = await this.#users.get('id', idOf(uid))
    // One response for both: it must not reveal which user ids exist.
    if (user === null || !this.#parts.emailTokens.check(purpose, user, token)) throw new ValidationError(STALE)
    return user
  }

  /** Uses the link that was sent to a new email address. @returns false if it is none */
  async #confirmEmailChange({ uid, token }: Link): Promise<boolean> {
    const user = await this.#users.get('id', idOf(uid))
    const newEmail = user && (await this.#parts.emailChanges.requested(user.id))
    if (user === null || newEmail === null) return false
    if (!this.#parts.emailTokens.check('emailChange', { ...user, newEmail }, token)) return false
    // A deactivation, or a concurrent request with the same link.
    if (!(await this.#parts.emailChanges.confirm(user, newEmail))) {
      throw new PermissionDenied('Stale token for given user.')
    }
    return true
  }

  /** The users who have this address and a password. */
  async #reachable(email: string, isActive: boolean): Promise<UserRow[]> {
    const found = await this.#users.withEmail(email)
    return found.filter((user) => user.isActive === isActive && !user.password.startsWith('!'))
  }

  async #checkReachable(email: string, isActive: boolean): Promise<void> {
    if (this.#settings.accountsShowEmailNotFound && (await this.#reachable(email, isActive)).length === 0) {
      throw new ValidationError(['User with given email does not exist.'])
    }
  }

  #mailActivation(id: number): void {
    this.#mailLinks('activation', async () => {
      const user = await this.#users.get('id', id)
      return user === null ? [] : this.#parts.activations.pendingOf([user])
    })
  }

  /** The users are read when the email is composed, so that the request costs the same whether there are any. */
  #mailLinks(purpose: Exclude<Purpose, 'emailChange'>, find: () => Promise<UserRow[]>): void {
    this.#parts.delivery.schedule(async () => {
      const users = await find()
      return users.length === 0 ? [] : [linkEmail(purpose, users, this.#settings, this.#parts.emailTokens)]
    })
  }

  #notify(event: Event, user: User): void {
    this.#parts.delivery.schedule(
      () => [noticeEmail(event, user, this.#settings)],
      event === 'confirmation' ? 'link' : 'notice'
    )
  }

  async #afterPassword(user: User): Promise<void> {
    const { accountsLogoutOnPasswordChange, accountsPasswordChangedEmailConfirmation } = this.#settings
    if (accountsLogoutOnPasswordChange) await this.#parts.sessions.endAll(user.id, 'logout')
    if (accountsPasswordChangedEmailConfirmation) this.#notify('passwordChanged', user)
  }

  /** A concurrent request may take the username. */
  async #rename(user: User, { value, again = value }: NewPassword): Promise<void> {
    if (again !== value) throw mismatch('username')
    const username = await this.#users.setUsername(user.id, value).catch((error) => {
      throw new ValidationError(faultsOfName(error))
    })
    if (this.#settings.accountsUsernameChangedEmailConfirmation) this.#notify('usernameChanged', { ...user, username })
  }

  async #faultsOfName(username: string): Promise<Faults> {
    return this.#users.checkUsername(username).then(() => ({}), faultsOfName)
  }

  async #checkStrength(field: string, { value, again = value }: NewPassword, owner: Partial<User>): Promise<void> {
    const faults = await this.#parts.passwords.faultsOf(value, owner)
    if (faults.length > 0) throw new ValidationError({ [field]: faults.map(({ message }) => message) })
    if (again !== value) throw mismatch('password')
  }
}

type Faults = Record<string, string[]>

const STALE = { token: ['Invalid token for given user.'] }

const mismatch = (field: string) => new ValidationError({ non_field_errors: [`The two ${field} fields didn't match.`] })

function throwIfAny(faults: Faults): void {
  if (Object.keys(faults).length > 0) throw new ValidationError(faults)
}

/** What is wrong with a name, under the field that it was sent in. @throws what says nothing of the name */
function faultsOfName(error: unknown): Faults {
  if (!(error instanceof ValidationError)) throw error
  return { new_username: (error.body as Faults).username ?? [] }
}

/** djoser's operations on accounts, without their HTTP: registration, activation, email address, username, password. */
import type { User as UserRow } from '../database/open.ts'
import { PermissionDenied, ValidationError } from '../errors.ts'
import type { Passwords } from '../passwords/passwords.ts'
import type { KeptCredentials } from '../sessions/session-rows.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Settings } from '../settings/schema.ts'
import { type User, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'
import { type EmailTokens, idOf, type Purpose } from './email-tokens.ts'
import { type Event, linkEmail, noticeEmail } from './emails.ts'
import type { Mail } from './mailer.ts'

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
  emailTokens: EmailTokens
  /** Sends after the response, so that its time reveals nothing. Handles its own errors. */
  send: (mail: Mail) => void
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
    const account = { username, email, password: password.value, isActive }
    const user = await this.#users.createUser(account, { awaitsActivation: !isActive })
    if (!isActive) await this.#mailActivation(user.id)
    else if (this.#settings.accountsSendConfirmationEmail) this.#notify('confirmation', user)
    return user
  }

  /**
   * @param kept credentials of the request that stay valid
   * @returns the row with the new hash
   * @throws {ValidationError} if the current password is wrong, or the new one weak
   */
  async setPassword(user: User, current: string, password: NewPassword, kept: KeptCredentials = {}): Promise<UserRow> {
    throwIfAny(await this.#faultsOfCurrent(user, current))
    await this.#checkStrength('new_password', password, user)
    const row = await this.#users.setPassword(user.id, password.value, kept)
    await this.#afterPassword(user)
    return row
  }

  /** @throws {ValidationError} if the password is wrong, or the name malformed or taken */
  async setUsername(user: User, current: string, username: NewPassword): Promise<void> {
    throwIfAny({ ...(await this.#faultsOfCurrent(user, current)), ...(await this.#faultsOfName(username.value)) })
    await this.#rename(user, username)
  }

  /** Where accounts are activated by mail, another address has to be as well; who was not active gets the mail again. */
  async setEmail(user: User, email: string): Promise<void> {
    const isSent = this.#settings.accountsSendActivationEmail
    const isChanged = email !== user.email
    if (isChanged) await this.#users.setEmail(user.id, email, isSent)
    if (isSent && (isChanged || !user.isActive)) await this.#mailActivation(user.id)
  }

  /**
   * @param caller who deletes, and gives a password of its own
   * @throws {ValidationError} if that is wrong
   */
  async delete(user: Pick<User, 'id'>, caller: User, current: string): Promise<void> {
    throwIfAny(await this.#faultsOfCurrent(caller, current))
    // The last superuser must remain, also by its own wish.
    await this.#users.deleteUser(user.id, () => undefined)
  }

  /** @throws {ValidationError} for an invalid link @throws {PermissionDenied} for an account that does not await activation */
  async activate(link: Link): Promise<void> {
    const user = await this.#ownerOf('activation', link)
    // Of concurrent requests with one link, one succeeds. A deactivated account does not await activation.
    if (user.isActive || !(await this.#users.activatePending(user.id))) {
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
    const users = await this.#users.awaitingActivation(await this.#reachable(email, false))
    const { accountsSendActivationEmail: isSent } = this.#settings
    if (isSent) for (const user of users) this.#mailLink('activation', user)
    return isSent
  }

  /**
   * Sends a link to every active user with this address who has a password; nobody is told whether there is one.
   *
   * @throws {ValidationError} if there is none, and the settings say so
   */
  async requestReset(purpose: 'passwordReset' | 'usernameReset', email: string): Promise<void> {
    for (const user of await this.#reachable(email, true)) this.#mailLink(purpose, user)
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

  /** Who has this address and a password. */
  async #reachable(email: string, isActive: boolean): Promise<UserRow[]> {
    const found = await this.#users.withEmail(email)
    const users = found.filter((user) => user.isActive === isActive && !user.password.startsWith('!'))
    if (users.length === 0 && this.#settings.accountsShowEmailNotFound) {
      throw new ValidationError(['User with given email does not exist.'])
    }
    return users
  }

  async #mailActivation(id: number): Promise<void> {
    const user = await this.#users.get('id', id)
    if (user !== null) this.#mailLink('activation', user)
  }

  #mailLink(purpose: Purpose, user: UserRow): void {
    this.#mail(linkEmail(purpose, user, this.#settings, this.#parts.emailTokens))
  }

  #notify(event: Event, user: User): void {
    this.#mail(noticeEmail(event, user, this.#settings))
  }

  #mail(mail: Mail): void {
    if (mail.to !== '') this.#parts.send(mail)
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

  async #faultsOfCurrent(user: User, password: string): Promise<Faults> {
    return (await this.#users.checkPassword(user, password)) ? {} : { current_password: ['Invalid password.'] }
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

/** What people may do with their own accounts: djoser's rules, without their HTTP. */

import type { User as UserRow } from '../database/open.ts'
import { PermissionDenied, ValidationError } from '../errors.ts'
import type { Settings } from '../settings.ts'
import { type User, withoutPassword } from '../users/user.ts'
import type { NewUser, Users } from '../users/users.ts'
import { faultsOfPassword, type PasswordRules } from '../users/validators.ts'
import type { SendMail } from './mail.ts'
import { idOf, type ResetTokens, uidOf } from './reset-tokens.ts'

/** What a link in a mail has shown. */
export interface Link {
  uid: string
  token: string
}

type Purpose = 'activation' | 'passwordReset' | 'usernameReset'

export interface AccountsParts {
  settings: Settings
  users: Users
  passwordRules: PasswordRules
  resetTokens: ResetTokens
  /** Not waited for, so that how long an answer takes tells nothing; it has to see to its own failures. */
  send: SendMail
}

export class Accounts {
  readonly #settings: Settings
  readonly #users: Users
  readonly #passwordRules: PasswordRules
  readonly #resetTokens: ResetTokens
  readonly #send: SendMail

  constructor({ settings, users, passwordRules, resetTokens, send }: AccountsParts) {
    this.#settings = settings
    this.#users = users
    this.#passwordRules = passwordRules
    this.#resetTokens = resetTokens
    this.#send = send
  }

  /** @throws {ValidationError} for a password that is weak, then for a name that is malformed or taken */
  async create({ username, email = '', password }: NewUser & { password: string }): Promise<User> {
    await this.#checkStrength('password', password, { username, email })
    const isActive = !this.#settings.accountsSendActivationEmail
    const user = await this.#users.createUser({ username, email, password, isActive })
    if (!isActive) await this.#mailActivation(user.id)
    return user
  }

  /** @throws {ValidationError} if the current password is wrong, or the new one weak */
  async setPassword(user: User, current: string, password: string): Promise<void> {
    await this.#checkCurrent(user, current)
    await this.#checkStrength('new_password', password, user)
    await this.#users.setPassword(user.id, password)
  }

  /** @throws {ValidationError} if the password is wrong, or the name malformed or taken */
  async setUsername(user: User, current: string, username: string): Promise<void> {
    await this.#checkCurrent(user, current)
    await this.#rename(user, username)
  }

  /** Where accounts are activated by mail, another address has to be as well. */
  async setEmail(user: User, email: string): Promise<void> {
    const isUnproven = this.#settings.accountsSendActivationEmail && email !== user.email
    await this.#users.setEmail(user.id, email, isUnproven ? false : undefined)
    if (isUnproven) await this.#mailActivation(user.id)
  }

  /**
   * @param caller who deletes, and gives a password of its own
   * @throws {ValidationError} if that is wrong
   */
  async delete(user: Pick<User, 'id'>, caller: User, current: string): Promise<void> {
    await this.#checkCurrent(caller, current)
    await this.#users.deleteUser(user.id)
  }

  /** @throws {ValidationError | PermissionDenied} for a link that is not good, or an account that is active already */
  async activate(link: Link): Promise<void> {
    const user = await this.#ownerOf(link)
    if (user.isActive) throw new PermissionDenied('Stale token for given user.')
    await this.#users.activate(user.id)
  }

  /** Sends the mail again to who has an account that is not active; nobody is told whether there is one. */
  async resendActivation(email: string): Promise<void> {
    for (const user of await this.#users.withEmail(email)) if (!user.isActive) this.#mail('activation', user)
  }

  /**
   * Sends a link to every active user with this address who has a password; nobody is told whether there is one.
   *
   * @throws {ValidationError} if there is none, and the settings say so
   */
  async requestReset(purpose: 'passwordReset' | 'usernameReset', email: string): Promise<void> {
    const users = (await this.#users.withEmail(email)).filter(
      ({ isActive, password }) => isActive && !password.startsWith('!')
    )
    if (users.length === 0 && this.#settings.accountsShowEmailNotFound) {
      throw new ValidationError(['User with given email does not exist.'])
    }
    for (const user of users) this.#mail(purpose, user)
  }

  /** The link first, and then the password, against the user whose it is. @throws {ValidationError} */
  async confirmPasswordReset(link: Link, password: string): Promise<void> {
    const user = await this.#ownerOf(link)
    await this.#checkStrength('new_password', password, withoutPassword(user))
    // Of links that are followed at once, one is in time.
    if (!(await this.#users.resetPassword(user, password))) throw new ValidationError(STALE)
  }

  /** @throws {ValidationError} for a link that is not good, then for a name that is malformed or taken */
  async confirmUsernameReset(link: Link, username: string): Promise<void> {
    const user = await this.#ownerOf(link)
    await this.#rename(user, username)
    await this.#users.updateLastLogin(user.id)
  }

  async #ownerOf({ uid, token }: Link): Promise<UserRow> {
    const user = await this.#users.get('id', idOf(uid))
    if (user === null) throw new ValidationError({ uid: ["Invalid user id or user doesn't exist."] })
    if (!this.#resetTokens.check(user, token)) throw new ValidationError(STALE)
    return user
  }

  async #mailActivation(id: number): Promise<void> {
    const user = await this.#users.get('id', id)
    if (user !== null) this.#mail('activation', user)
  }

  #mail(purpose: Purpose, user: UserRow): void {
    if (user.email === '') return
    const { accountsSiteName: site, accountsSiteUrl } = this.#settings
    const { subject, line, path } = this.#about(purpose)
    const filled = path.replace('{uid}', uidOf(user)).replace('{token}', this.#resetTokens.make(user))
    const link = `${accountsSiteUrl.replace(/\/$/, '')}/${filled.replace(/^\//, '')}`
    const text = [`Hello ${user.username},`, line, link, 'If you did not ask for this, there is nothing to do.', site]
    const html = text.map(
      (part) => `<p>${part === link ? `<a href="${escaped(link)}">${escaped(link)}</a>` : escaped(part)}</p>`
    )
    void this.#send({
      to: user.email,
      subject: `${subject} on ${site}`,
      text: text.join('\n\n'),
      html: html.join('\n')
    })
  }

  #about(purpose: Purpose): { subject: string; line: string; path: string } {
    const { accountsActivationUrl, accountsPasswordResetUrl, accountsUsernameResetUrl } = this.#settings
    return {
      activation: {
        ...{ subject: 'Account activation', line: 'follow this link to activate your account:' },
        path: accountsActivationUrl
      },
      passwordReset: {
        ...{ subject: 'Password reset', line: 'follow this link to choose a new password:' },
        path: accountsPasswordResetUrl
      },
      usernameReset: {
        ...{ subject: 'Username reset', line: 'follow this link to choose a new name:' },
        path: accountsUsernameResetUrl
      }
    }[purpose]
  }

  async #rename({ id }: Pick<User, 'id'>, username: string): Promise<void> {
    try {
      await this.#users.setUsername(id, username)
    } catch (error) {
      if (!(error instanceof ValidationError)) throw error
      const { username: faults = [] } = error.body as Record<string, string[]>
      throw new ValidationError({ new_username: faults })
    }
  }

  async #checkCurrent(user: User, password: string): Promise<void> {
    if (await this.#users.checkPassword(user, password)) return
    throw new ValidationError({ current_password: ['Invalid password.'] })
  }

  async #checkStrength(field: string, password: string, owner: Partial<User>): Promise<void> {
    const faults = await faultsOfPassword(password, owner, this.#passwordRules)
    if (faults.length > 0) throw new ValidationError({ [field]: faults.map(({ message }) => message) })
  }
}

const STALE = { token: ['Invalid token for given user.'] }

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

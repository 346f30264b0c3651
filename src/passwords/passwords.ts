/** Checks new passwords against the rules of the settings. */
import { ValidationError } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import { passwordRulesOf } from './breaches.ts'
import { faultsOfPassword, type PasswordFault, type PasswordOwner, type PasswordRules } from './validators.ts'

export class Passwords {
  readonly #rules: PasswordRules

  /** @param onFault called, at most once a minute, if breached passwords cannot be looked up; the password is then accepted */
  constructor(settings: Settings, onFault: (reason: string) => void) {
    this.#rules = passwordRulesOf(settings, onFault)
  }

  /**
   * Runs all validators.
   *
   * @param user null if there is no user to be similar to
   * @returns an empty list for an acceptable password
   */
  faultsOf(password: string, user: PasswordOwner | null): Promise<PasswordFault[]> {
    return faultsOfPassword(password, user, this.#rules)
  }

  /**
   * Django's validate_password.
   *
   * @throws {ValidationError} with the list of messages
   */
  async validatePassword(password: string, user: PasswordOwner | null = null): Promise<void> {
    const faults = await this.faultsOf(password, user)
    if (faults.length > 0) throw new ValidationError(faults.map(({ message }) => message))
  }
}

/** Validates new passwords by the rules of the settings. */
import { ValidationError } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import { createBreachCheck } from './breaches.ts'
import {
  findPasswordFaults,
  type PasswordFault,
  type PasswordOwner,
  type PasswordRules,
  passwordValidatorsHelpTexts
} from './validators.ts'

export class Passwords {
  readonly #rules: PasswordRules

  /**
   * @param onFault called with a reason, at most once a minute, if breached passwords cannot be looked up; the password
   *   is then accepted
   */
  constructor(
    { passwordMinLength, passwordBreachedUrl: url }: Pick<Settings, 'passwordMinLength' | 'passwordBreachedUrl'>,
    onFault: (reason: string) => void
  ) {
    this.#rules = {
      minLength: passwordMinLength,
      ...(url !== null && { isBreached: createBreachCheck(url, onFault) })
    }
  }

  /**
   * Runs all validators.
   *
   * @param user to whose attributes the password must not be similar; null to skip that validator
   * @returns an empty list for a valid password
   */
  faultsOf(password: string, user: PasswordOwner | null): Promise<PasswordFault[]> {
    return findPasswordFaults(password, user, this.#rules)
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

  /** Returns Django's password_validators_help_texts, for a form in which users choose a password. */
  helpTexts(): readonly string[] {
    return passwordValidatorsHelpTexts(this.#rules)
  }
}

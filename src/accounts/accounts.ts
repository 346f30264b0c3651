/** What people may do with their own accounts: djoser's rules, without their HTTP. */
import { ValidationError } from '../errors.ts'
import type { User } from '../users/user.ts'
import type { NewUser, Users } from '../users/users.ts'
import { faultsOfPassword } from '../users/validators.ts'

export class Accounts {
  readonly #users: Users

  constructor(users: Users) {
    this.#users = users
  }

  /** @throws {ValidationError} for a name that is malformed or taken, then for a password that is weak */
  async create({
    username,
    email,
    password
  }: Required<Pick<NewUser, 'username' | 'password'>> & NewUser): Promise<User> {
    await this.#checkStrength('password', password as string, { username, email: email ?? '' })
    return this.#users.createUser({ username, email: email ?? '', password })
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
    try {
      await this.#users.setUsername(user.id, username)
    } catch (error) {
      if (!(error instanceof ValidationError)) throw error
      const { username: faults } = error.body as { username: string[] }
      throw new ValidationError({ new_username: faults })
    }
  }

  /**
   * @param caller who deletes, and gives a password of its own
   * @throws {ValidationError} if that is wrong
   */
  async delete(user: Pick<User, 'id'>, caller: User, current: string): Promise<void> {
    await this.#checkCurrent(caller, current)
    await this.#users.deleteUser(user.id)
  }

  async #checkCurrent(user: User, password: string): Promise<void> {
    if (await this.#users.checkPassword(user, password)) return
    throw new ValidationError({ current_password: ['Invalid password.'] })
  }

  async #checkStrength(field: string, password: string, owner: Partial<User>): Promise<void> {
    const faults = await faultsOfPassword(password, owner)
    if (faults.length > 0) throw new ValidationError({ [field]: faults.map(({ message }) => message) })
  }
}

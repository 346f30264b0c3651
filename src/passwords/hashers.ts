/** Passwords as Django stores them: made, checked, renewed, and never in the way of the event loop. */
import { constantTimeEqual } from '../crypto/constant-time.ts'
import { randomText } from '../crypto/random.ts'
import { ValidationError } from '../errors.ts'
import type { HasherName, Settings } from '../settings/schema.ts'
import { type Algorithm, BCRYPT_MAX_BYTES, createAlgorithms } from './algorithms.ts'
import { whenItsTurnComes } from './queue.ts'

export { HashingOverloaded } from './queue.ts'

/** In UTF-8. A longer password reaches no hash function. */
export const MAX_PASSWORD_BYTES = 1024

/** Django's column holds 128 characters, a custom one perhaps some more. */
const MAX_ENCODED_LENGTH = 256

export interface PasswordCheck {
  correct: boolean
  /** Correct, and to be renewed with `makePassword`: made by another algorithm, with less work or with a weak salt. */
  outdated: boolean
}

/** Each throws {@link HashingOverloaded} when the queue is full. */
export interface Hashers {
  /**
   * Hashes a password for storage with the preferred algorithm; Django's `make_password`.
   *
   * @param password Any Unicode text of at most 1,024 bytes in UTF-8 (72 for plain bcrypt), without NUL; neither
   *   normalised nor trimmed. An empty one is hashed too.
   * @returns Django's encoded form, such as `bcrypt_sha256$$2b$12$<salt><hash>`: at most 128 characters.
   * @throws {ValidationError} with `password`, for any other password
   */
  makePassword(password: string): Promise<string>
  /**
   * Holds a password against a stored hash; Django's `check_password`.
   *
   * As there, a refusal costs as much as a fresh hash would: for bcrypt and PBKDF2 with less work than is asked of new
   * hashes, and for what is malformed, unusable or absent. A hash of another algorithm costs what it costs.
   *
   * @param encoded What is stored; whatever no accepted algorithm made is incorrect, and throws nothing.
   */
  checkPassword(password: string, encoded: string | null): Promise<PasswordCheck>
  /** The work of a check without a check, for a user who does not exist. */
  runDummyHash(password: string): Promise<void>
}

export function createHashers(settings: Pick<Settings, 'passwordHashers' | 'bcryptRounds'>): Hashers {
  const { passwordHashers, bcryptRounds } = settings
  const algorithms = createAlgorithms(bcryptRounds)
  const preferred = passwordHashers[0] as HasherName

  const identify = (encoded: string) => passwordHashers.find((name) => encoded.startsWith(`${name}$`))

  const encodeFresh = (password: string) => algorithms[preferred].fresh().encode(password)

  async function verify(password: string, encoded: string): Promise<PasswordCheck> {
    const name = identify(encoded)
    const recipe = name && decode(algorithms[name], encoded)
    if (!recipe) {
      await encodeFresh(password)
      return { correct: false, outdated: false }
    }
    // In this order: a password that bcrypt would cut is refused only after the work.
    const correct = constantTimeEqual(await recipe.encode(password), encoded) && isHashable(password, name)
    const mustUpdate = name !== preferred || recipe.mustUpdate
    if (!correct && name === preferred) await recipe.hardenRuntime(password)
    return { correct, outdated: correct && mustUpdate && isHashable(password, preferred) }
  }

  return {
    async makePassword(password) {
      const fault = faultOf(password, maxBytes(preferred))
      if (fault) throw new ValidationError({ password: [fault] })
      return whenItsTurnComes(() => encodeFresh(password))
    },
    async checkPassword(password, encoded) {
      if (!isHashable(password)) return { correct: false, outdated: false }
      return whenItsTurnComes(() => verify(password, encoded ?? ''))
    },
    async runDummyHash(password) {
      // Where a check would answer at once, so does this.
      if (isHashable(password)) await whenItsTurnComes(() => encodeFresh(password))
    }
  }
}

const decode = (algorithm: Algorithm, encoded: string) =>
  encoded.length <= MAX_ENCODED_LENGTH ? algorithm.decode(encoded) : undefined

const maxBytes = (name?: HasherName) => (name === 'bcrypt' ? BCRYPT_MAX_BYTES : MAX_PASSWORD_BYTES)

const isHashable = (password: string, name?: HasherName) => faultOf(password, maxBytes(name)) === undefined

/** Why a password cannot be hashed, in DRF's words; undefined if it can. */
function faultOf(password: string, maximum: number): string | undefined {
  // PBKDF2 and scrypt hash "pass" and "pass\0" alike.
  if (password.includes('\0')) return 'Null characters are not allowed.'
  const surrogate = /\p{Surrogate}/u.exec(password)?.[0]
  if (surrogate) return `Surrogate characters are not allowed: U+${surrogate.charCodeAt(0).toString(16).toUpperCase()}.`
  if (Buffer.byteLength(password) > maximum) return `Ensure this field has no more than ${maximum} bytes.`
  return undefined
}

/** What Django stores for a user who cannot sign in by password: `!` and 40 random characters of `[A-Za-z0-9]`. */
export const makeUnusablePassword = (): string => `!${randomText(40)}`

/** Django's `is_password_usable`: true also for a hash that is malformed. */
export const isPasswordUsable = (encoded: string): boolean => !encoded.startsWith('!')

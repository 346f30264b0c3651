/** Hashes and checks passwords in Django's encoded form, without blocking the event loop. */
import { constantTimeEqual } from '../crypto/constant-time.ts'
import { randomText } from '../crypto/random.ts'
import { ValidationError } from '../errors.ts'
import type { HasherName, Settings } from '../settings/schema.ts'
import { type Algorithm, BCRYPT_MAX_BYTES, createAlgorithms } from './algorithms.ts'
import { assertRoom, runQueued } from './queue.ts'
import { RefusalTime } from './refusal-time.ts'

export { HashingOverloaded } from './queue.ts'

/** In bytes of UTF-8. Longer passwords are not hashed, which bounds the work. */
export const MAX_PASSWORD_BYTES = 1024

/** In characters. Django's column has 128; that of a custom user model may have more. */
const MAX_ENCODED_LENGTH = 256

interface PasswordCheck {
  correct: boolean
  /**
   * True if the password is correct, but should be hashed again with `makePassword`: its hash has another algorithm
   * than the preferred one, a lower work factor or a weak salt.
   */
  outdated: boolean
}

/** Every method throws HashingOverloaded (503) if the queue is full. */
export interface Hashers {
  /**
   * Hashes a password for storage with the preferred algorithm; Django's `make_password`.
   *
   * @param password at most 1,024 bytes in UTF-8 (72 for plain bcrypt), without NUL characters and lone surrogates;
   *   neither normalised nor trimmed; may be empty
   * @returns Django's encoded form, such as `bcrypt_sha256$$2b$12$<salt><hash>`, of at most 128 characters
   * @throws {ValidationError} with a message for `password`, for any other password
   */
  makePassword(password: string): Promise<string>
  /**
   * Checks a password against a stored hash; Django's `check_password`.
   *
   * As in Django, rejecting a password takes as long as creating a hash, for bcrypt and PBKDF2 with a lower work factor
   * and for a hash that is malformed, unusable or absent. A hash of another algorithm takes the time of that algorithm,
   * until `refuse` has waited.
   *
   * @param encoded the stored hash. A hash that no accepted algorithm can read never matches; it is not an error.
   * @param isAbandoned true if the client has gone: the check then gives its place in the queue to others
   */
  checkPassword(password: string, encoded: string | null, isAbandoned?: () => boolean): Promise<PasswordCheck>
  /** Does the work of a check, for a user who does not exist. */
  runDummyHash(password: string, isAbandoned?: () => boolean): Promise<PasswordCheck>
  /** Rejects a check that would be rejected anyway, before it costs a query. */
  assertRoom(): void
  /**
   * Waits after a check whose login is refused until it has taken as long as the slowest recent check, so that the response
   * time does not reveal whether the user exists (user enumeration). It waits without hashing, and without a place in the
   * queue.
   */
  refuse(check: PasswordCheck): Promise<void>
}

export function createHashers(settings: Pick<Settings, 'passwordHashers' | 'bcryptRounds'>): Hashers {
  const { passwordHashers, bcryptRounds } = settings
  const algorithms = createAlgorithms(bcryptRounds)
  const preferred = passwordHashers[0] as HasherName

  const identify = (encoded: string) => passwordHashers.find((name) => encoded.startsWith(`${name}$`))

  const encode = (password: string) => algorithms[preferred].create().encode(password)

  const refusals = new RefusalTime()
  /** The milliseconds of the hashing of each check, without the wait for it. */
  const durations = new WeakMap<PasswordCheck, number>()

  const timed = (job: () => Promise<PasswordCheck>, isAbandoned?: () => boolean): Promise<PasswordCheck> =>
    runQueued(async () => {
      const startedAt = performance.now()
      const check = await job()
      const took = performance.now() - startedAt
      refusals.record(took)
      durations.set(check, took)
      return check
    }, isAbandoned)

  async function verify(password: string, encoded: string): Promise<PasswordCheck> {
    const name = identify(encoded)
    const hasher = name && decode(algorithms[name], encoded)
    if (!hasher) {
      await encode(password)
      return { correct: false, outdated: false }
    }
    // Hashes before it checks the length, so that a password that bcrypt would truncate takes the same time.
    const correct = constantTimeEqual(await hasher.encode(password), encoded) && isHashable(password, name)
    const mustUpdate = name !== preferred || hasher.mustUpdate
    if (!correct && name === preferred) await hasher.hardenRuntime(password)
    return { correct, outdated: correct && mustUpdate && isHashable(password, preferred) }
  }

  return {
    async makePassword(password) {
      const fault = faultOf(password, maxBytesOf(preferred))
      if (fault) throw new ValidationError({ password: [fault] })
      return runQueued(() => encode(password))
    },
    assertRoom,
    async checkPassword(password, encoded, isAbandoned) {
      if (!isHashable(password)) return { correct: false, outdated: false }
      return timed(() => verify(password, encoded ?? ''), isAbandoned)
    },
    async runDummyHash(password, isAbandoned) {
      // `checkPassword` does not hash such a password either.
      if (!isHashable(password)) return { correct: false, outdated: false }
      return timed(async () => {
        await encode(password)
        return { correct: false, outdated: false }
      }, isAbandoned)
    },
    async refuse(check) {
      const took = durations.get(check)
      if (took !== undefined) await refusals.wait(took)
    }
  }
}

const decode = (algorithm: Algorithm, encoded: string) =>
  encoded.length <= MAX_ENCODED_LENGTH ? algorithm.decode(encoded) : undefined

const maxBytesOf = (name?: HasherName) => (name === 'bcrypt' ? BCRYPT_MAX_BYTES : MAX_PASSWORD_BYTES)

const isHashable = (password: string, name?: HasherName) => faultOf(password, maxBytesOf(name)) === undefined

/** DRF's message if a password cannot be hashed. */
function faultOf(password: string, maxBytes: number): string | undefined {
  // PBKDF2 and scrypt return the same hash for "pass" and "pass\0": HMAC pads a short key with zeros.
  if (password.includes('\0')) return 'Null characters are not allowed.'
  const surrogate = /\p{Surrogate}/u.exec(password)?.[0]
  if (surrogate) return `Surrogate characters are not allowed: U+${surrogate.charCodeAt(0).toString(16).toUpperCase()}.`
  if (Buffer.byteLength(password) > maxBytes) return `Ensure this field has no more than ${maxBytes} bytes.`
  return undefined
}

/**
 * Django's `make_password(None)`, for a user who cannot sign in with a password: `!` and 40 random alphanumeric
 * characters.
 */
export const makeUnusablePassword = (): string => `!${randomText(40)}`

/** Django's `is_password_usable`, which is also true for a malformed hash. */
export const isPasswordUsable = (encoded: string): boolean => !encoded.startsWith('!')

/**
 * Django's password hashing algorithms and their encoded forms.
 *
 * @see https://docs.djangoproject.com/en/5.2/topics/auth/passwords/
 */
import { createHash, pbkdf2, type ScryptOptions, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import argon2 from '@node-rs/argon2'
import bcrypt from 'bcrypt'
import { ALPHANUMERIC, randomText } from '../crypto/random.ts'
import type { HasherName } from '../settings/schema.ts'

/** An algorithm with a work factor and a salt. */
interface SaltedHasher {
  /** Hashes a password and returns Django's encoded form. */
  encode(password: string): Promise<string>
  /**
   * Django's must_update: true if the work factor or the salt is weaker than that of a new hash; stronger ones are
   * kept.
   */
  mustUpdate: boolean
  /** Django's harden_runtime: does the work by which `encode` is cheaper than a new hash. */
  hardenRuntime(password: string): Promise<void>
}

export interface Algorithm {
  /** Returns a hasher for a new password, with a random salt. */
  create(): SaltedHasher
  /**
   * Returns the hasher of a stored hash; undefined if the hash is malformed, or its work factor exceeds the maximum.
   */
  decode(encoded: string): SaltedHasher | undefined
}

/** The work factors of new hashes in Django 5.2. */
const PBKDF2_ITERATIONS = 1_000_000
const SCRYPT = { N: 16_384, r: 8, p: 5 }
const ARGON2 = { m: 102_400, t: 2, p: 8, size: 32 }

/**
 * Limits for stored hashes, about ten times the above: a few seconds and 0.5 GiB. A corrupt or manipulated row must not
 * exhaust the process.
 */
const MAX_PBKDF2_ITERATIONS = 10_000_000
const MAX_SCRYPT = { bytes: 2 ** 28, work: 2 ** 23 }
const MAX_ARGON2 = { m: 2 ** 19, t: 16, p: 64, size: 64 }
const MIN_BCRYPT_ROUNDS = 4
const MAX_BCRYPT_ROUNDS = 20

/** bcrypt ignores the rest of a longer password. */
export const BCRYPT_MAX_BYTES = 72

/** In characters. */
const SALT_LENGTH = 22

/** Creates all algorithms, by the name that prefixes their encoded form. */
export function createAlgorithms(bcryptRounds: number): Record<HasherName, Algorithm> {
  return {
    bcrypt_sha256: createBcrypt('bcrypt_sha256', bcryptRounds, sha256Hex),
    bcrypt: createBcrypt('bcrypt', bcryptRounds, (password) => password),
    pbkdf2_sha256: createPbkdf2('pbkdf2_sha256', 'sha256', 32),
    pbkdf2_sha1: createPbkdf2('pbkdf2_sha1', 'sha1', 20),
    argon2: ARGON2_ALGORITHM,
    scrypt: SCRYPT_ALGORITHM,
    md5: MD5_ALGORITHM
  }
}

/** Django's must_update_salt, which requires 128 bits of entropy and assumes 62 possible characters. */
const isWeak = (salt: string) => salt.length * Math.log2(ALPHANUMERIC.length) < 128

const matchParts = <Part extends string>(encoded: string, pattern: RegExp) =>
  pattern.exec(encoded)?.groups as Record<Part, string> | undefined

const sha256Hex = (text: string) => createHash('sha256').update(text).digest('hex')

const noop = async () => {}

function createPbkdf2(name: string, digest: string, size: number): Algorithm {
  const pattern = new RegExp(`^${name}\\$(?<iterations>[1-9]\\d{0,8})\\$(?<salt>[^$]+)\\$[A-Za-z0-9+/]+=*$`)
  const derive = (password: string, salt: string, iterations: number) =>
    promisify(pbkdf2)(password, salt, iterations, size, digest)

  const createHasher = (iterations: number, salt: string): SaltedHasher => ({
    async encode(password) {
      const hash = await derive(password, salt, iterations)
      return `${name}$${iterations}$${salt}$${hash.toString('base64')}`
    },
    mustUpdate: iterations < PBKDF2_ITERATIONS || isWeak(salt),
    async hardenRuntime(password) {
      const missing = PBKDF2_ITERATIONS - iterations
      if (missing > 0) await derive(password, salt, missing)
    }
  })

  return {
    create: () => createHasher(PBKDF2_ITERATIONS, randomText(SALT_LENGTH)),
    decode(encoded) {
      const parts = matchParts<'iterations' | 'salt'>(encoded, pattern)
      if (!parts || Number(parts.iterations) > MAX_PBKDF2_ITERATIONS) return undefined
      return createHasher(Number(parts.iterations), parts.salt)
    }
  }
}

function createBcrypt(name: string, targetRounds: number, prepare: (password: string) => string): Algorithm {
  const pattern = new RegExp(
    `^${name}\\$(?<version>\\$2[aby]\\$)(?<rounds>\\d\\d)\\$(?<salt>[./A-Za-z0-9]{22})[./A-Za-z0-9]{31}$`
  )
  // The versions only differ for passwords longer than 72 bytes, and the library does not support `$2y$`.
  const derive = async (password: string, salt: string, rounds: number) =>
    (await bcrypt.hash(prepare(password), `$2b$${twoDigits(rounds)}$${salt}`)).slice(-31)

  const createHasher = (rounds: number, salt: string, version = '$2b$'): SaltedHasher => ({
    async encode(password) {
      const hash = await derive(password, salt, rounds)
      return `${name}$${version}${twoDigits(rounds)}$${salt}${hash}`
    },
    mustUpdate: rounds < targetRounds,
    async hardenRuntime(password) {
      // Each round doubles the work, so that 2^4 (done by `encode`) + 2^4 + 2^5 + … + 2^11 equals 2^12.
      for (let missing = rounds; missing < targetRounds; missing++) await derive(password, salt, missing)
    }
  })

  return {
    create: () => createHasher(targetRounds, bcrypt.genSaltSync(targetRounds).slice(-22)),
    decode(encoded) {
      const parts = matchParts<'version' | 'rounds' | 'salt'>(encoded, pattern)
      const rounds = Number(parts?.rounds)
      if (!parts || rounds < MIN_BCRYPT_ROUNDS || rounds > MAX_BCRYPT_ROUNDS) return undefined
      return createHasher(rounds, parts.salt, parts.version)
    }
  }
}

const twoDigits = (value: number) => String(value).padStart(2, '0')

const SCRYPT_PATTERN =
  /^scrypt\$(?<N>[1-9]\d{0,8})\$(?<salt>[^$]+)\$(?<r>[1-9]\d{0,3})\$(?<p>[1-9]\d{0,3})\$[A-Za-z0-9+/]+=*$/

type ScryptCost = typeof SCRYPT

const scryptWork = ({ N, r, p }: ScryptCost) => N * r * p
const scryptBytes = ({ N, r, p }: ScryptCost) => 128 * r * (N + p + 2)

/** RFC 7914 §2: N is a power of two, greater than 1 and less than 2^(128r/8). */
const isValidScryptCost = (cost: ScryptCost) =>
  Number.isInteger(Math.log2(cost.N)) &&
  cost.N > 1 &&
  cost.N < 2 ** (16 * cost.r) &&
  scryptBytes(cost) <= MAX_SCRYPT.bytes &&
  scryptWork(cost) <= MAX_SCRYPT.work

const createScryptHasher = (cost: ScryptCost, salt: string): SaltedHasher => ({
  async encode(password) {
    const derive = promisify<string, string, number, ScryptOptions, Buffer>(scrypt)
    const hash = await derive(password, salt, 64, { ...cost, maxmem: scryptBytes(cost) })
    return `scrypt$${cost.N}$${salt}$${cost.r}$${cost.p}$${hash.toString('base64')}`
  },
  mustUpdate: scryptWork(cost) < scryptWork(SCRYPT),
  hardenRuntime: noop
})

const SCRYPT_ALGORITHM: Algorithm = {
  create: () => createScryptHasher(SCRYPT, randomText(SALT_LENGTH)),
  decode(encoded) {
    const parts = matchParts<'N' | 'salt' | 'r' | 'p'>(encoded, SCRYPT_PATTERN)
    if (!parts) return undefined
    const cost = { N: Number(parts.N), r: Number(parts.r), p: Number(parts.p) }
    return isValidScryptCost(cost) ? createScryptHasher(cost, parts.salt) : undefined
  }
}

/** A hash without a version has the first one, 16. */
const ARGON2_PATTERN =
  /^argon2\$(?<variety>argon2(?:id|i|d))\$(?<version>v=(?:16|19)\$)?m=(?<m>\d{1,9}),t=(?<t>\d{1,9}),p=(?<p>\d{1,9})\$(?<salt>[A-Za-z0-9+/]+)\$(?<hash>[A-Za-z0-9+/]+)$/

/** The library's values; its `const enum` does not exist at run time. */
const ARGON2_VARIETIES: Record<string, number> = { argon2d: 0, argon2i: 1, argon2id: 2 }
const ARGON2_VERSION_19 = 'v=19$'

interface Argon2Cost {
  variety: string
  /** `v=19$`, `v=16$` or empty, as in the encoded form. */
  version: string
  /** Memory in KiB. */
  m: number
  /** Passes. */
  t: number
  /** Lanes. */
  p: number
  /** Bytes of the hash. */
  size: number
}

/** RFC 9106 §3.1: at least 8 KiB per lane, 8 bytes of salt and 4 bytes of hash. */
const isValidArgon2Cost = ({ m, t, p, size }: Argon2Cost, salt: Buffer) =>
  t >= 1 &&
  p >= 1 &&
  m >= 8 * p &&
  salt.length >= 8 &&
  size >= 4 &&
  m <= MAX_ARGON2.m &&
  t <= MAX_ARGON2.t &&
  p <= MAX_ARGON2.p &&
  size <= MAX_ARGON2.size

const unpaddedBase64 = (bytes: Buffer) => bytes.toString('base64').replaceAll('=', '')

const createArgon2Hasher = (cost: Argon2Cost, salt: Buffer): SaltedHasher => ({
  async encode(password) {
    const { variety, version, m, t, p, size } = cost
    const hash = await argon2.hashRaw(password, {
      algorithm: ARGON2_VARIETIES[variety] as number,
      version: version === ARGON2_VERSION_19 ? 1 : 0,
      memoryCost: m,
      timeCost: t,
      parallelism: p,
      outputLen: size,
      salt
    })
    return `argon2$${variety}$${version}m=${m},t=${t},p=${p}$${unpaddedBase64(salt)}$${unpaddedBase64(hash)}`
  },
  mustUpdate:
    cost.variety !== 'argon2id' ||
    cost.version !== ARGON2_VERSION_19 ||
    cost.size < ARGON2.size ||
    cost.m * cost.t < ARGON2.m * ARGON2.t ||
    isWeak(salt.toString('latin1')),
  hardenRuntime: noop
})

const ARGON2_ALGORITHM: Algorithm = {
  create: () =>
    createArgon2Hasher(
      { variety: 'argon2id', version: ARGON2_VERSION_19, ...ARGON2 },
      Buffer.from(randomText(SALT_LENGTH))
    ),
  decode(encoded) {
    const parts = matchParts<'variety' | 'version' | 'm' | 't' | 'p' | 'salt' | 'hash'>(encoded, ARGON2_PATTERN)
    if (!parts) return undefined
    const { variety, version = '', m, t, p } = parts
    const size = Buffer.from(parts.hash, 'base64').length
    const cost = { variety, version, m: Number(m), t: Number(t), p: Number(p), size }
    const salt = Buffer.from(parts.salt, 'base64')
    return isValidArgon2Cost(cost, salt) ? createArgon2Hasher(cost, salt) : undefined
  }
}

const MD5_PATTERN = /^md5\$(?<salt>[^$]+)\$[0-9a-f]{32}$/

const createMd5Hasher = (salt: string): SaltedHasher => ({
  encode: async (password) =>
    `md5$${salt}$${createHash('md5')
      .update(salt + password)
      .digest('hex')}`,
  mustUpdate: isWeak(salt),
  hardenRuntime: noop
})

const MD5_ALGORITHM: Algorithm = {
  create: () => createMd5Hasher(randomText(SALT_LENGTH)),
  decode(encoded) {
    const parts = matchParts<'salt'>(encoded, MD5_PATTERN)
    return parts && createMd5Hasher(parts.salt)
  }
}

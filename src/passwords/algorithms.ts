/**
 * Django's password hashing algorithms: how their encoded texts are read and made.
 *
 * @see https://docs.djangoproject.com/en/5.2/topics/auth/passwords/
 */
import { createHash, pbkdf2, type ScryptOptions, scrypt } from 'node:crypto'
import { promisify } from 'node:util'
import argon2 from '@node-rs/argon2'
import bcrypt from 'bcrypt'
import { ALPHANUMERIC, randomText } from '../crypto/random.ts'
import type { HasherName } from '../settings/schema.ts'

/** An algorithm with its work factor and its salt: all that makes an encoded text, save the password. */
export interface Recipe {
  /** Django's encoded form of a password. */
  encode(password: string): Promise<string>
  /** True if weaker than a fresh recipe of the same algorithm; a stronger one may stay. */
  mustUpdate: boolean
  /** Does the work that `encode` leaves out in comparison with a fresh recipe. */
  hardenRuntime(password: string): Promise<void>
}

export interface Algorithm {
  /** A recipe for one new password, with a salt of its own. */
  fresh(): Recipe
  /** The recipe of a stored text; undefined if that is malformed, or asks for more work than anybody would want. */
  decode(encoded: string): Recipe | undefined
}

/** What Django 5.2 asks of a new hash. */
const PBKDF2_ITERATIONS = 1_000_000
const SCRYPT = { N: 16_384, r: 8, p: 5 }
const ARGON2 = { m: 102_400, t: 2, p: 8, size: 32 }

/** A stored hash may cost some ten times that, a few seconds and half a GiB: a corrupt row must not stop the process. */
const MAX_PBKDF2_ITERATIONS = 10_000_000
const MAX_SCRYPT = { bytes: 2 ** 28, work: 2 ** 23 }
const MAX_ARGON2 = { m: 2 ** 19, t: 16, p: 64, size: 64 }
const MIN_BCRYPT_ROUNDS = 4
const MAX_BCRYPT_ROUNDS = 20

/** bcrypt looks at no more of a password. */
export const BCRYPT_MAX_BYTES = 72

const SALT_LENGTH = 22

/** Every algorithm by the name that its encoded texts begin with. */
export function createAlgorithms(bcryptRounds: number): Record<HasherName, Algorithm> {
  return {
    bcrypt_sha256: bcryptAlgorithm('bcrypt_sha256', bcryptRounds, sha256Hex),
    bcrypt: bcryptAlgorithm('bcrypt', bcryptRounds, (password) => password),
    pbkdf2_sha256: pbkdf2Algorithm('pbkdf2_sha256', 'sha256', 32),
    pbkdf2_sha1: pbkdf2Algorithm('pbkdf2_sha1', 'sha1', 20),
    argon2: argon2Algorithm,
    scrypt: scryptAlgorithm,
    md5: md5Algorithm
  }
}

/** Django asks for 128 bits, and takes each character for one of 62. */
const isWeak = (salt: string) => salt.length * Math.log2(ALPHANUMERIC.length) < 128

const partsOf = <Part extends string>(encoded: string, pattern: RegExp) =>
  pattern.exec(encoded)?.groups as Record<Part, string> | undefined

const sha256Hex = (text: string) => createHash('sha256').update(text).digest('hex')

const nothing = async () => {}

function pbkdf2Algorithm(name: string, digest: string, size: number): Algorithm {
  const pattern = new RegExp(`^${name}\\$(?<iterations>[1-9]\\d{0,8})\\$(?<salt>[^$]+)\\$[A-Za-z0-9+/]+=*$`)
  const derive = (password: string, salt: string, iterations: number) =>
    promisify(pbkdf2)(password, salt, iterations, size, digest)

  const recipe = (iterations: number, salt: string): Recipe => ({
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
    fresh: () => recipe(PBKDF2_ITERATIONS, randomText(SALT_LENGTH)),
    decode(encoded) {
      const parts = partsOf<'iterations' | 'salt'>(encoded, pattern)
      if (!parts || Number(parts.iterations) > MAX_PBKDF2_ITERATIONS) return undefined
      return recipe(Number(parts.iterations), parts.salt)
    }
  }
}

function bcryptAlgorithm(name: string, targetRounds: number, prepare: (password: string) => string): Algorithm {
  const pattern = new RegExp(
    `^${name}\\$(?<version>\\$2[aby]\\$)(?<rounds>\\d\\d)\\$(?<salt>[./A-Za-z0-9]{22})[./A-Za-z0-9]{31}$`
  )
  // The versions differ for passwords over 72 bytes only, and the library knows no `$2y$`.
  const derive = async (password: string, salt: string, rounds: number) =>
    (await bcrypt.hash(prepare(password), `$2b$${twoDigits(rounds)}$${salt}`)).slice(-31)

  const recipe = (rounds: number, salt: string, version = '$2b$'): Recipe => ({
    async encode(password) {
      const hash = await derive(password, salt, rounds)
      return `${name}$${version}${twoDigits(rounds)}$${salt}${hash}`
    },
    mustUpdate: rounds < targetRounds,
    async hardenRuntime(password) {
      // Each round doubles the work: 2^4 done and 2^4 + 2^5 + … + 2^11 more are 2^12.
      for (let missing = rounds; missing < targetRounds; missing++) await derive(password, salt, missing)
    }
  })

  return {
    fresh: () => recipe(targetRounds, bcrypt.genSaltSync(targetRounds).slice(-22)),
    decode(encoded) {
      const parts = partsOf<'version' | 'rounds' | 'salt'>(encoded, pattern)
      const rounds = Number(parts?.rounds)
      if (!parts || rounds < MIN_BCRYPT_ROUNDS || rounds > MAX_BCRYPT_ROUNDS) return undefined
      return recipe(rounds, parts.salt, parts.version)
    }
  }
}

const twoDigits = (value: number) => String(value).padStart(2, '0')

const SCRYPT_PATTERN =
  /^scrypt\$(?<N>[1-9]\d{0,8})\$(?<salt>[^$]+)\$(?<r>[1-9]\d{0,3})\$(?<p>[1-9]\d{0,3})\$[A-Za-z0-9+/]+=*$/

type ScryptCost = typeof SCRYPT

const scryptWork = ({ N, r, p }: ScryptCost) => N * r * p
const scryptBytes = ({ N, r, p }: ScryptCost) => 128 * r * (N + p + 2)

/** RFC 7914 §2: N is a power of two over 1, and under 2^(128r/8). */
const isScryptCost = (cost: ScryptCost) =>
  Number.isInteger(Math.log2(cost.N)) &&
  cost.N > 1 &&
  cost.N < 2 ** (16 * cost.r) &&
  scryptBytes(cost) <= MAX_SCRYPT.bytes &&
  scryptWork(cost) <= MAX_SCRYPT.work

const scryptRecipe = (cost: ScryptCost, salt: string): Recipe => ({
  async encode(password) {
    const derive = promisify<string, string, number, ScryptOptions, Buffer>(scrypt)
    const hash = await derive(password, salt, 64, { ...cost, maxmem: scryptBytes(cost) })
    return `scrypt$${cost.N}$${salt}$${cost.r}$${cost.p}$${hash.toString('base64')}`
  },
  mustUpdate: scryptWork(cost) < scryptWork(SCRYPT),
  hardenRuntime: nothing
})

const scryptAlgorithm: Algorithm = {
  fresh: () => scryptRecipe(SCRYPT, randomText(SALT_LENGTH)),
  decode(encoded) {
    const parts = partsOf<'N' | 'salt' | 'r' | 'p'>(encoded, SCRYPT_PATTERN)
    if (!parts) return undefined
    const cost = { N: Number(parts.N), r: Number(parts.r), p: Number(parts.p) }
    return isScryptCost(cost) ? scryptRecipe(cost, parts.salt) : undefined
  }
}

/** A hash that names no version is of the first one, 16. */
const ARGON2_PATTERN =
  /^argon2\$(?<variety>argon2(?:id|i|d))\$(?<version>v=(?:16|19)\$)?m=(?<m>\d{1,9}),t=(?<t>\d{1,9}),p=(?<p>\d{1,9})\$(?<salt>[A-Za-z0-9+/]+)\$(?<hash>[A-Za-z0-9+/]+)$/

/** The library's numbers for them; its enums exist for the type checker alone. */
const ARGON2_VARIETIES: Record<string, number> = { argon2d: 0, argon2i: 1, argon2id: 2 }
const ARGON2_VERSION_19 = 'v=19$'

interface Argon2Cost {
  variety: string
  /** `v=19$`, or `v=16$`, or nothing, as it stands in the text. */
  version: string
  /** KiB of memory. */
  m: number
  t: number
  p: number
  /** Bytes of the hash. */
  size: number
}

/** RFC 9106 §3.1: at least 8 KiB a lane, 8 bytes of salt, 4 bytes of hash. */
const isArgon2Cost = ({ m, t, p, size }: Argon2Cost, salt: Buffer) =>
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

const argon2Recipe = (cost: Argon2Cost, salt: Buffer): Recipe => ({
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
  hardenRuntime: nothing
})

const argon2Algorithm: Algorithm = {
  fresh: () =>
    argon2Recipe({ variety: 'argon2id', version: ARGON2_VERSION_19, ...ARGON2 }, Buffer.from(randomText(SALT_LENGTH))),
  decode(encoded) {
    const parts = partsOf<'variety' | 'version' | 'm' | 't' | 'p' | 'salt' | 'hash'>(encoded, ARGON2_PATTERN)
    if (!parts) return undefined
    const { variety, version = '', m, t, p } = parts
    const size = Buffer.from(parts.hash, 'base64').length
    const cost = { variety, version, m: Number(m), t: Number(t), p: Number(p), size }
    const salt = Buffer.from(parts.salt, 'base64')
    return isArgon2Cost(cost, salt) ? argon2Recipe(cost, salt) : undefined
  }
}

const MD5_PATTERN = /^md5\$(?<salt>[^$]+)\$[0-9a-f]{32}$/

const md5Recipe = (salt: string): Recipe => ({
  encode: async (password) =>
    `md5$${salt}$${createHash('md5')
      .update(salt + password)
      .digest('hex')}`,
  mustUpdate: isWeak(salt),
  hardenRuntime: nothing
})

const md5Algorithm: Algorithm = {
  fresh: () => md5Recipe(randomText(SALT_LENGTH)),
  decode(encoded) {
    const parts = partsOf<'salt'>(encoded, MD5_PATTERN)
    return parts && md5Recipe(parts.salt)
  }
}

/**
 * The algorithms of JSON Web Signatures, and the keys that fit them (RFC 7518, RFC 8037).
 *
 * A key is read once, for one algorithm, and refused if it is of another kind or weak.
 */
import {
  constants,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  randomBytes,
  sign as signWith
} from 'node:crypto'

export const ALGORITHMS = [
  ...(['HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'] as const),
  ...(['ES256', 'ES384', 'ES512', 'EdDSA'] as const)
] as const
export type Algorithm = (typeof ALGORITHMS)[number]

/** RFC 7517's members that we write or look at; `k`, `d` and their like are private. */
export type Jwk = JsonWebKey & { kid?: unknown; alg?: unknown; use?: unknown; key_ops?: unknown }

/** Why a key is refused, without the key. */
export class InvalidKey extends Error {}

const CURVES: Record<string, { crv: string; openssl: string }> = {
  ES256: { crv: 'P-256', openssl: 'prime256v1' },
  ES384: { crv: 'P-384', openssl: 'secp384r1' },
  ES512: { crv: 'P-521', openssl: 'secp521r1' }
}
/** In bits. RFC 7518 §3.3 asks for 2048; beyond the other, a signature costs more than it is worth. */
const RSA_LENGTH = { least: 2048, most: 8192, made: 3072 }

export const isSymmetric = (algorithm: string): boolean => algorithm.startsWith('HS')

/** 384 random bits in base64url: 64 characters. */
export const generateSecret = (): string => randomBytes(48).toString('base64url')

/** @returns a secret, or a private key in PEM */
export function generateKeyText(algorithm: Algorithm): string {
  if (isSymmetric(algorithm)) return generateSecret()
  return generatePair(algorithm).export({ type: 'pkcs8', format: 'pem' }).toString()
}

function generatePair(algorithm: Algorithm): KeyObject {
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519').privateKey
  const curve = CURVES[algorithm]
  if (curve) return generateKeyPairSync('ec', { namedCurve: curve.openssl }).privateKey
  return generateKeyPairSync('rsa', { modulusLength: RSA_LENGTH.made }).privateKey
}

/**
 * Reads what signs: an HMAC secret, or a private key in PEM.
 *
 * @throws {InvalidKey} if it is of another kind, or weak
 */
export function readSigningKey(text: string, algorithm: Algorithm): KeyObject {
  if (isSymmetric(algorithm)) return readSecret(text)
  return checkFit(parsePem(text, createPrivateKey, `a private key in PEM for ${algorithm}`), algorithm)
}

/**
 * Reads what verifies: an HMAC secret, or a public key in PEM; of a private one, its public part.
 *
 * @throws {InvalidKey} if it is of another kind, or weak
 */
export function readVerifyingKey(text: string, algorithm: Algorithm): KeyObject {
  if (isSymmetric(algorithm)) return readSecret(text)
  return checkFit(parsePem(text, createPublicKey, `a public key in PEM for ${algorithm}`), algorithm)
}

/** What goes with a key that signs. */
export const verifyingPart = (key: KeyObject): KeyObject => (key.type === 'private' ? createPublicKey(key) : key)

function readSecret(text: string): KeyObject {
  const weakness = weaknessOfSecret(text)
  if (weakness !== undefined) throw new InvalidKey(weakness)
  return createSecretKey(text, 'utf8')
}

/** In bytes. RFC 7518 §3.2 asks HS384 and HS512 for more, which Django's own keys do not have; this is beyond any guessing. */
const SECRET_LENGTH = 32

/** An HMAC secret that can be guessed lets anybody sign tokens; RFC 8725 §3.5. */
export function weaknessOfSecret(secret: string): string | undefined {
  if (/-----BEGIN |^ssh-/.test(secret)) return 'is a PEM or SSH key, where a secret is needed'
  if (Buffer.byteLength(secret) < SECRET_LENGTH) {
    return `must have at least ${SECRET_LENGTH} bytes; make one with \`latchkey generatekey\``
  }
  if (new Set(secret).size < 10) return 'can be guessed; make one with `latchkey generatekey`'
  return undefined
}

/** A variable holds one line more easily than many, so `\n` may stand for their ends. */
function parsePem(text: string, parse: (pem: string) => KeyObject, wanted: string): KeyObject {
  try {
    return parse(text.replaceAll('\\n', '\n'))
  } catch {
    throw new InvalidKey(`must be ${wanted}`)
  }
}

function checkFit(key: KeyObject, algorithm: Algorithm): KeyObject {
  const { namedCurve } = key.asymmetricKeyDetails ?? {}
  const curve = CURVES[algorithm]
  if (algorithm === 'EdDSA') {
    if (key.asymmetricKeyType !== 'ed25519') throw new InvalidKey('must be an Ed25519 key for EdDSA')
  } else if (curve) {
    if (namedCurve !== curve.openssl) throw new InvalidKey(`must be a key on ${curve.crv} for ${algorithm}`)
  } else {
    if (key.asymmetricKeyType !== 'rsa') throw new InvalidKey(`must be an RSA key for ${algorithm}`)
    checkRsa(key)
  }
  return key
}

function checkRsa(key: KeyObject): void {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  const { least, most } = RSA_LENGTH
  if (modulusLength < least) throw new InvalidKey(`must have at least ${least} bits`)
  if (modulusLength > most) throw new InvalidKey(`must have at most ${most} bits`)
  if (publicExponent < 3n || publicExponent % 2n === 0n)
    throw new InvalidKey('has a public exponent that hides nothing')
  const { n = '' } = verifyingPart(key).export({ format: 'jwk' })
  if (hasRocaStructure(BigInt(`0x${Buffer.from(n, 'base64url').toString('hex')}`))) {
    throw new InvalidKey('was made by a library whose keys can be factored (ROCA, CVE-2017-15361)')
  }
}

const ROCA_PRIMES = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157]

/** Such a modulus is, for each of these primes, a power of 65537; of others, one in 2^27 is. */
function hasRocaStructure(modulus: bigint): boolean {
  return ROCA_PRIMES.every((prime) => {
    const rest = Number(modulus % BigInt(prime))
    for (let power = 1, index = 0; index < prime; index++, power = (power * 65_537) % prime) {
      if (power === rest) return true
    }
    return false
  })
}

/** RFC 7515 §5.1. @param key that was read for this algorithm */
export function sign(algorithm: Algorithm, key: KeyObject, input: string): string {
  const hash = `sha${algorithm.slice(2)}`
  if (isSymmetric(algorithm)) return createHmac(hash, key).update(input).digest('base64url')
  const data = Buffer.from(input)
  if (algorithm === 'EdDSA') return signWith(null, data, key).toString('base64url')
  return signWith(hash, data, { key, ...SIGNATURES[algorithm.slice(0, 2)] }).toString('base64url')
}

const SIGNATURES: Record<string, object> = {
  RS: {},
  PS: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
  ES: { dsaEncoding: 'ieee-p1363' }
}

/** What RFC 7638 §3.2 makes a thumbprint of, in this order. */
const REQUIRED: Record<string, readonly (keyof JsonWebKey)[]> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
  oct: ['k', 'kty']
}

/** RFC 7638, with SHA-256: 43 characters. Of a private key it is that of its public part. */
export function thumbprintOf(key: KeyObject): string {
  const jwk = verifyingPart(key).export({ format: 'jwk' })
  const members = Object.fromEntries((REQUIRED[jwk.kty as string] ?? []).map((name) => [name, jwk[name]]))
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}

/** The public part of a key as JWKS has it. @throws {TypeError} for a secret, which has none */
export function publicJwk(key: KeyObject, kid: string, algorithm: Algorithm): Jwk {
  if (key.type === 'secret') throw new TypeError('a secret has no public part')
  return { ...verifyingPart(key).export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' }
}

/**
 * Reads a public key of a key set that others publish.
 *
 * @param fallback the algorithm of an RSA key that names none
 * @throws {InvalidKey} if it is secret, not for signatures, of an algorithm unknown or not its own, or weak
 */
export function readJwk(jwk: Jwk, fallback: Algorithm = 'RS256'): { algorithm: Algorithm; key: KeyObject } {
  const { use = 'sig', key_ops: operations = 'verify' } = jwk
  if (use !== 'sig' || !/\bverify\b/.test(String(operations))) throw new InvalidKey('is not for signatures')
  const algorithm = algorithmOf(jwk, fallback)
  if (algorithm === undefined || isSymmetric(algorithm)) throw new InvalidKey('is of no public algorithm')
  const { kty, crv, x, y, n, e } = jwk
  try {
    const given = Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined)
    const key = createPublicKey({ key: Object.fromEntries(given) as JsonWebKey, format: 'jwk' })
    return { algorithm, key: checkFit(key, algorithm) }
  } catch (error) {
    throw error instanceof InvalidKey ? error : new InvalidKey('is no key')
  }
}

/** One key has one algorithm: what it says, or the only one of its curve, or for RSA the one that is expected. */
function algorithmOf({ alg, kty, crv }: Jwk, fallback: Algorithm): Algorithm | undefined {
  // The curve has 521 bits, which has misled many.
  if (alg !== undefined) return ALGORITHMS.find((name) => name === (alg === 'ES521' ? 'ES512' : alg))
  if (kty === 'RSA') return fallback
  if (kty === 'OKP') return 'EdDSA'
  return ALGORITHMS.find((name) => CURVES[name]?.crv === crv)
}

/**
 * JSON Web Algorithms for signatures (RFC 7518, RFC 8037), and the keys that are suitable for them.
 *
 * A key is parsed once, for one algorithm, and rejected if it has another type or is weak.
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
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA'
] as const
export type Algorithm = (typeof ALGORITHMS)[number]

/** A JSON Web Key with the members of RFC 7517 that are written or read here. */
export type Jwk = JsonWebKey & { kid?: unknown; alg?: unknown; use?: unknown; key_ops?: unknown }

/** A key that has the wrong type or is weak. The message is the predicate of a sentence about the key, and never contains it. */
export class InvalidKey extends Error {}

const CURVES: Record<string, { crv: string; openssl: string }> = {
  ES256: { crv: 'P-256', openssl: 'prime256v1' },
  ES384: { crv: 'P-384', openssl: 'secp384r1' },
  ES512: { crv: 'P-521', openssl: 'secp521r1' }
}
/** The minimum of RFC 7518 §3.3; a maximum, because verification time grows with the length; and the length of new keys. */
const MIN_RSA_BITS = 2048
const MAX_RSA_BITS = 8192
const NEW_RSA_BITS = 3072

export const isSymmetric = (algorithm: string): boolean => algorithm.startsWith('HS')

/** Returns 384 random bits in base64url: 64 characters. */
export const generateSecret = (): string => randomBytes(48).toString('base64url')

/** Generates a secret, or a private key in PEM (PKCS #8). */
export function generateKeyText(algorithm: Algorithm): string {
  if (isSymmetric(algorithm)) return generateSecret()
  return generatePair(algorithm).export({ type: 'pkcs8', format: 'pem' }).toString()
}

function generatePair(algorithm: Algorithm): KeyObject {
  if (algorithm === 'EdDSA') return generateKeyPairSync('ed25519').privateKey
  const curve = CURVES[algorithm]
  if (curve) return generateKeyPairSync('ec', { namedCurve: curve.openssl }).privateKey
  return generateKeyPairSync('rsa', { modulusLength: NEW_RSA_BITS }).privateKey
}

/**
 * Parses a key that signs: an HMAC secret, or a private key in PEM.
 *
 * @throws {InvalidKey} if it has another type, or is weak
 */
export function readSigningKey(text: string, algorithm: Algorithm): KeyObject {
  if (isSymmetric(algorithm)) return readSecret(text)
  return assertSuitable(parsePem(text, createPrivateKey, `a private key in PEM for ${algorithm}`), algorithm)
}

/**
 * Parses a key that verifies: an HMAC secret, or a public key in PEM. Of a private key it returns the public part.
 *
 * @throws {InvalidKey} if it has another type, or is weak
 */
export function readVerifyingKey(text: string, algorithm: Algorithm): KeyObject {
  if (isSymmetric(algorithm)) return readSecret(text)
  return assertSuitable(parsePem(text, createPublicKey, `a public key in PEM for ${algorithm}`), algorithm)
}

/** The key that verifies the signatures of a signing key: the public part of a private key, or the secret itself. */
export const verifyingPart = (key: KeyObject): KeyObject => (key.type === 'private' ? createPublicKey(key) : key)

function readSecret(text: string): KeyObject {
  const weakness = weaknessOfSecret(text)
  if (weakness !== undefined) throw new InvalidKey(weakness)
  return createSecretKey(text, 'utf8')
}

/**
 * RFC 7518 §3.2 requires 48 and 64 bytes for HS384 and HS512, which Django's SECRET_KEY does not have; 256 bits are sufficient
 * against brute force with any of them.
 */
const MIN_SECRET_BYTES = 32
/** A random secret of the minimum length has fewer different characters with negligible probability. */
const MIN_DIFFERENT_CHARACTERS = 10

/** Returns why an HMAC secret is weak (RFC 8725 §3.5), as the predicate of a sentence; undefined if it is not. */
export function weaknessOfSecret(secret: string): string | undefined {
  if (/-----BEGIN |^ssh-/.test(secret)) return 'is a PEM or SSH key, but must be a secret'
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    return `must have at least ${MIN_SECRET_BYTES} bytes; generate one with \`latchkey generatekey\``
  }
  if (new Set(secret).size < MIN_DIFFERENT_CHARACTERS) {
    return 'is predictable; generate one with `latchkey generatekey`'
  }
  return undefined
}

/** Line breaks may be written as `\n`, since many tools support only one line in an environment variable. */
function parsePem(text: string, parse: (pem: string) => KeyObject, expected: string): KeyObject {
  try {
    return parse(text.replaceAll('\\n', '\n'))
  } catch {
    throw new InvalidKey(`must be ${expected}`)
  }
}

function assertSuitable(key: KeyObject, algorithm: Algorithm): KeyObject {
  const { namedCurve } = key.asymmetricKeyDetails ?? {}
  const curve = CURVES[algorithm]
  if (algorithm === 'EdDSA') {
    if (key.asymmetricKeyType !== 'ed25519') throw new InvalidKey('must be an Ed25519 key for EdDSA')
  } else if (curve) {
    if (namedCurve !== curve.openssl) throw new InvalidKey(`must be a key on ${curve.crv} for ${algorithm}`)
  } else {
    if (key.asymmetricKeyType !== 'rsa') throw new InvalidKey(`must be an RSA key for ${algorithm}`)
    assertStrongRsa(key)
  }
  return key
}

function assertStrongRsa(key: KeyObject): void {
  const { modulusLength = 0, publicExponent = 0n } = key.asymmetricKeyDetails ?? {}
  if (modulusLength < MIN_RSA_BITS) throw new InvalidKey(`must have at least ${MIN_RSA_BITS} bits`)
  if (modulusLength > MAX_RSA_BITS) throw new InvalidKey(`must have at most ${MAX_RSA_BITS} bits`)
  if (publicExponent < 3n || publicExponent % 2n === 0n) throw new InvalidKey('has an insecure public exponent')
  const { n = '' } = verifyingPart(key).export({ format: 'jwk' })
  if (hasRocaStructure(BigInt(`0x${Buffer.from(n, 'base64url').toString('hex')}`))) {
    throw new InvalidKey('was generated by a library whose keys can be factored (ROCA, CVE-2017-15361)')
  }
}

const ROCA_PRIMES = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157]

/**
 * True if the modulus is a power of 65537 modulo each of these primes, as all keys of the vulnerable library are (ROCA). Of
 * other keys about one in 2^27 is.
 */
function hasRocaStructure(modulus: bigint): boolean {
  return ROCA_PRIMES.every((prime) => {
    const remainder = Number(modulus % BigInt(prime))
    for (let power = 1, index = 0; index < prime; index++, power = (power * 65_537) % prime) {
      if (power === remainder) return true
    }
    return false
  })
}

/**
 * Signs as RFC 7515 §5.1 specifies.
 *
 * @param key parsed for this algorithm
 * @returns the signature in base64url
 */
export function sign(algorithm: Algorithm, key: KeyObject, input: string): string {
  const hash = `sha${algorithm.slice(2)}`
  if (isSymmetric(algorithm)) return createHmac(hash, key).update(input).digest('base64url')
  const data = Buffer.from(input)
  if (algorithm === 'EdDSA') return signWith(null, data, key).toString('base64url')
  return signWith(hash, data, { key, ...SIGNATURE_OPTIONS[algorithm.slice(0, 2)] }).toString('base64url')
}

const SIGNATURE_OPTIONS: Record<string, object> = {
  RS: {},
  PS: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST },
  ES: { dsaEncoding: 'ieee-p1363' }
}

/** The members of which RFC 7638 §3.2 computes a thumbprint, by `kty`, in this order. */
const THUMBPRINT_MEMBERS: Record<string, readonly (keyof JsonWebKey)[]> = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
  oct: ['k', 'kty']
}

/** The RFC 7638 thumbprint with SHA-256: 43 characters. A private key has the same one as its public part. */
export function thumbprintOf(key: KeyObject): string {
  const jwk = verifyingPart(key).export({ format: 'jwk' })
  const members = Object.fromEntries((THUMBPRINT_MEMBERS[jwk.kty as string] ?? []).map((name) => [name, jwk[name]]))
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}

/**
 * Returns the public part of a key for a key set (JWKS).
 *
 * @throws {TypeError} for a secret, which has no public part
 */
export function publicJwk(key: KeyObject, kid: string, algorithm: Algorithm): Jwk {
  if (key.type === 'secret') throw new TypeError('a secret has no public part')
  return { ...verifyingPart(key).export({ format: 'jwk' }), kid, alg: algorithm, use: 'sig' }
}

/**
 * Parses a public key of another service's key set.
 *
 * @param fallback the algorithm of an RSA key without `alg`
 * @throws {InvalidKey} if it is a secret, is not for signatures, is weak, or has an `alg` that is unknown or does not fit it
 */
export function readJwk(jwk: Jwk, fallback: Algorithm = 'RS256'): { algorithm: Algorithm; key: KeyObject } {
  const { use = 'sig', key_ops: operations = 'verify' } = jwk
  if (use !== 'sig' || !/\bverify\b/.test(String(operations))) throw new InvalidKey('is not a signature key')
  const algorithm = algorithmOf(jwk, fallback)
  if (algorithm === undefined || isSymmetric(algorithm)) throw new InvalidKey('has no supported asymmetric algorithm')
  const { kty, crv, x, y, n, e } = jwk
  try {
    const members = Object.entries({ kty, crv, x, y, n, e }).filter(([, value]) => value !== undefined)
    const key = createPublicKey({ key: Object.fromEntries(members) as JsonWebKey, format: 'jwk' })
    return { algorithm, key: assertSuitable(key, algorithm) }
  } catch (error) {
    throw error instanceof InvalidKey ? error : new InvalidKey('is not a valid public key')
  }
}

/** Each key has exactly one algorithm: its `alg`, or the one of its curve, or for RSA the fallback. */
function algorithmOf({ alg, kty, crv }: Jwk, fallback: Algorithm): Algorithm | undefined {
  // A common misspelling, since the curve of ES512 is P-521.
  if (alg !== undefined) return ALGORITHMS.find((name) => name === (alg === 'ES521' ? 'ES512' : alg))
  if (kty === 'RSA') return fallback
  if (kty === 'OKP') return 'EdDSA'
  return ALGORITHMS.find((name) => CURVES[name]?.crv === crv)
}

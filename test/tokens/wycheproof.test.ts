/** Wycheproof's test vectors for JSON Web Signatures and keys (`wycheproof/`), and tokens manipulated in the same ways. */
import * as crypto from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import t from 'tap'
import {
  ALGORITHMS,
  type Algorithm,
  generateKeyText,
  InvalidKey,
  isSymmetric,
  type Jwk,
  readJwk,
  readSigningKey,
  thumbprintOf,
  verifyingPart,
  weaknessOfSecret
} from '../../src/crypto/jwa.ts'
import { InvalidToken } from '../../src/errors.ts'
import { createSigningKey, type KeySet } from '../../src/keys/key-set.ts'
import { createVerifier } from '../../src/keys/verify-signature.ts'
import { loadSettings } from '../../src/settings/load.ts'
import { headerOf, Jwt, partsOf } from '../../src/tokens/jwt.ts'
import { CHEAP } from '../support/settings.ts'
import { bentTokens, changed, goodTokens, inputOf, type Signer, signatureOf, withSignatures } from './wycheproof.ts'

const FOLDER = new URL('./wycheproof/', import.meta.url)

type Keys = Jwk | { keys: Jwk[] }
interface Group {
  private: Keys
  /** Absent if the key is a secret. */
  public?: Keys
  tests: { tcId: number; result: 'valid' | 'invalid'; jws: string }[]
}

const groupsOf = (file: string): Group[] => JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')).testGroups
const signatureGroups = () => groupsOf('json_web_signature_test.json')
const keyGroups = () => groupsOf('json_web_key_test.json')
const listOf = (keys: Keys) => ('keys' in keys ? (keys.keys as Jwk[]) : [keys])

type VerifySignature = (algorithm: Algorithm, key: crypto.KeyObject, input: string, signature: string) => boolean
/** An internal function of @fastify/jwt's copy: the public ones require claims, which the vectors do not have. */
const requireFastJwt = createRequire(createRequire(import.meta.url).resolve('@fastify/jwt'))
const { verifySignature }: { verifySignature: VerifySignature } = requireFastJwt('fast-jwt/src/crypto.js')

/** 32 zero bytes: too weak for the settings, but accepted here, as the vectors of non-canonical base64 use them. */
const ZEROS = 'A'.repeat(43)

function readKey(jwk: Jwk): Signer {
  if (jwk.k === ZEROS) return { algorithm: 'HS256', key: crypto.createSecretKey(Buffer.alloc(32)) }
  return jwk.kty === 'oct' ? readSecret(jwk) : readJwk(jwk)
}

const short = (length: number) => `has fewer than ${length} bytes`

/** Reads a secret JWK, which the settings do not support. RFC 7518 §3.2 requires as many bytes as the hash has. */
function readSecret({ alg = 'HS256', use = 'sig', key_ops: operations = 'verify', k = '' }: Jwk): Signer {
  const algorithm = ALGORITHMS.filter(isSymmetric).find((one) => one === alg)
  if (algorithm === undefined || use !== 'sig' || !String(operations).includes('verify'))
    throw new InvalidKey('is other')
  const bytes = Buffer.from(k, 'base64url')
  const least = Number(algorithm.slice(2)) / 8
  if (bytes.length < least) throw new InvalidKey(short(least))
  return { algorithm, key: crypto.createSecretKey(bytes) }
}

function isAccepted(group: Group, jws: string): boolean {
  try {
    return verifies(listOf(group.public ?? group.private), jws)
  } catch (error) {
    const isRefusal = error instanceof InvalidToken || error instanceof InvalidKey
    if (isRefusal || /^FAST_JWT_/.test((error as { code?: string }).code ?? '')) return false
    throw error
  }
}

function verifies(jwks: Jwk[], jws: string): boolean {
  const [header, payload, signature] = anyPartsOf(jws)
  const { alg, kid } = headerOf(header)
  const { algorithm, key } = readKey(onlyOne(jwks, kid))
  return alg === algorithm && verifySignature(algorithm, key, `${header}.${payload}`, signature)
}

/** Splits a JWS. `partsOf` requires claims, so `{}` replaces an empty payload, which a JWS may have. */
function anyPartsOf(jws: string): [header: string, payload: string, signature: string] {
  const [header] = partsOf(jws.replace(/^([^.]+)\.\./, '$1.e30.'))
  const [, payload = '', signature = ''] = jws.split('.')
  if (Buffer.from(payload, 'base64url').toString('base64url') !== payload) throw new InvalidToken()
  return [header, payload, signature]
}

/** @throws InvalidKey if the set mixes secrets and public keys (JWK tc 1), or `kid` is not the name of exactly one key */
function onlyOne(jwks: Jwk[], kid: string | undefined): Jwk {
  const [found, ...others] = jwks.filter((jwk) => jwk.kid === kid)
  const isMixed = new Set(jwks.map(({ kty }) => kty === 'oct')).size > 1
  if (found === undefined || others.length > 0 || isMixed) throw new InvalidKey('is not the one key of its name')
  return found
}

/** Vectors whose results differ from their labels, and why. */
const DISPUTED: Record<number, string> = {
  346: 'valid, but the key is for PS256 and the header says PS384',
  350: 'valid, but the key is for PS256 and the header says PS384',
  367: 'invalid, but identical to the valid 357',
  370: 'invalid, but identical to the valid 357',
  372: 'valid, but `?` is not in the base64url alphabet',
  373: 'valid, but `?` is not in the base64url alphabet'
}

const judged = (groups: Group[]) =>
  groups.flatMap((group) => group.tests.map((test) => ({ ...test, isAccepted: isAccepted(group, test.jws) })))
const misjudged = (vectors: ReturnType<typeof judged>) =>
  vectors.filter((vector) => vector.isAccepted !== (vector.result === 'valid')).map(({ tcId }) => tcId)

t.test('signature vectors are accepted or rejected as labelled, except the disputed ones', async (t) => {
  const vectors = judged(signatureGroups())
  const tokenOf = (id: number) => vectors.find(({ tcId }) => tcId === id)?.jws

  t.equal(vectors.length, 401)
  t.strictSame(misjudged(vectors), Object.keys(DISPUTED).map(Number))
  t.strictSame([tokenOf(367), tokenOf(370)], [tokenOf(357), tokenOf(357)])
})

t.test('key vectors are accepted or rejected as labelled', async (t) => {
  const vectors = judged(keyGroups())

  t.equal(vectors.length, 26)
  t.strictSame(misjudged(vectors), [])
})

/** Expected errors by tcId. */
const WEAK: Record<number, string> = {
  7: 'was generated by a library whose keys can be factored (ROCA, CVE-2017-15361)',
  8: 'must have at least 2048 bits',
  9: 'has an insecure public exponent',
  ...{ 10: short(32), 11: short(48), 12: short(64), 16: short(32), 17: short(48), 18: short(64) }
}

function faultOf(read: () => unknown): string {
  try {
    read()
    return 'none'
  } catch (error) {
    return error instanceof InvalidKey ? error.message : `${error}`
  }
}

const pemOf = (jwk: Jwk) =>
  crypto.createPrivateKey({ key: jwk, format: 'jwk' }).export({ type: 'pkcs8', format: 'pem' }).toString()

t.test('weak keys of the vectors are rejected with the reason', async (t) => {
  const weak = keyGroups().flatMap(({ tests: [{ tcId = 0 } = {}], private: keys }) =>
    tcId in WEAK ? listOf(keys).map((jwk) => ({ tcId, jwk })) : []
  )
  const rsa = weak.filter(({ jwk }) => jwk.kty === 'RSA')
  const ofSigning = rsa.map(({ jwk }) => faultOf(() => readSigningKey(pemOf(jwk), 'RS256')))

  t.strictSame(Object.fromEntries(weak.map(({ tcId, jwk }) => [tcId, faultOf(() => readKey(jwk))])), WEAK)
  t.strictSame(ofSigning, [WEAK[7], WEAK[8], WEAK[9]], 'also as signing keys')
  t.match(weaknessOfSecret('\0'.repeat(32)), 'is predictable', 'the secret of tc 357 is rejected')
})

const fits = (jwk: Jwk) => (jwk.d ?? jwk.k) && jwk.k !== ZEROS && faultOf(() => readKey(jwk)) === 'none'

function signerOf(jwk: Jwk): Signer {
  const { algorithm, key } = readKey(jwk)
  return { algorithm, key: key.type === 'secret' ? key : readSigningKey(pemOf(jwk), algorithm) }
}

/** Returns the usable keys of the vectors without duplicates, or a new key if there is none. */
function signersOf(algorithm: Algorithm): Signer[] {
  const jwks = [...signatureGroups(), ...keyGroups()].flatMap((group) => listOf(group.private)).filter(fits)
  const signers = jwks.map(signerOf).filter((signer) => signer.algorithm === algorithm)
  const distinct = [...new Map(signers.map((signer) => [thumbprintOf(signer.key), signer])).values()]
  return distinct.length > 0 ? distinct : [{ algorithm, key: readSigningKey(generateKeyText(algorithm), algorithm) }]
}

/** Creates a `Jwt` as the plugin does. */
async function jwtOf({ algorithm, key }: Signer): Promise<Jwt> {
  const verify = await createVerifier(algorithm, verifyingPart(key))
  const keys: KeySet = {
    signing: createSigningKey(algorithm, key),
    find: async (wanted) => (wanted === algorithm ? [{ algorithm, verify, acceptedUntil: Infinity }] : []),
    published: () => [],
    close: () => undefined
  }
  return new Jwt(loadSettings(CHEAP), keys)
}

async function verdictOn(jwt: Jwt, token: string): Promise<string> {
  try {
    await jwt.decode(token)
    return 'accepted'
  } catch (error) {
    return error instanceof InvalidToken && error.statusCode === 401 ? 'refused' : `failed: ${error}`
  }
}

const numberOf = (bytes: Buffer) => BigInt(`0x${bytes.toString('hex')}`)
const bytesOf = (value: bigint, length: number) => Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex')

const ORDERS: Record<string, bigint> = {
  ES256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  ES384: 2n ** 384n - 0x389cb27e0bc8d220a7e5f24db74f58851313e695333ad68dn,
  ES512: 2n ** 521n - 0x5ae79787c40d069948033feb708f65a2fc44a36477663b851449048e16ec79bf7n
}

function bentPoints(signer: Signer): Record<string, Buffer> {
  const good = signatureOf(signer)
  const size = good.length / 2
  const [r = 0n, s = 0n] = [good.subarray(0, size), good.subarray(size)].map(numberOf)
  const n = ORDERS[signer.algorithm] as bigint
  const beyond = 2n ** BigInt(8 * size)
  const edges = [0n, 1n, n - 1n, n]
  const pairs = [...edges.flatMap((one) => edges.map((other) => [one, other])), [s, r], [n - r, s]]
  const added = [0n, n, beyond]
  const longer = [...added.map((more) => [r + more, s]), ...added.map((more) => [r, s + more])]
  const bytes = ([one = 0n, other = 0n]: bigint[], length: number) => [bytesOf(one, length), bytesOf(other, length)]
  const all = [...pairs.map((pair) => bytes(pair, size)), ...longer.map((pair) => bytes(pair, size + 1))]
  const der = crypto.sign(`sha${signer.algorithm.slice(2)}`, Buffer.from(inputOf(signer)), signer.key)
  return Object.fromEntries([...all.map((halves) => Buffer.concat(halves)), der].entries())
}

function bentRsa(signer: Signer): Record<string, Buffer> {
  const { key } = signer
  const padding = crypto.constants.RSA_NO_PADDING
  const good = signatureOf(signer)
  const block = crypto.publicDecrypt({ key: verifyingPart(key), padding }, good)
  const signed = (name: string, bent: Buffer) => [name, crypto.privateEncrypt({ key, padding }, bent)]
  const ofBytes = [1, 2, 64, 128, 192, 204, 206, 220, 223, 236, 254, 255].map((index) =>
    signed(`byte ${index} of the block`, changed(block, index, 3))
  )
  const behind = Buffer.concat([block.subarray(0, 2), block.subarray(10), Buffer.alloc(8)])
  const n = numberOf(Buffer.from(`${verifyingPart(key).export({ format: 'jwk' }).n}`, 'base64url'))
  const s = numberOf(good)
  const numbers = { 1: 1n, 'n - 1': n - 1n, n, 'n - s': n - s, 's + n': s + n }
  return {
    ...Object.fromEntries([...ofBytes, signed('shorter padding, trailing zeros', behind)]),
    ...Object.fromEntries(
      Object.entries(numbers).map(([name, one]) => [name, bytesOf(one, one < 2n ** 2048n ? 256 : 257)])
    )
  }
}

/** RFC 8032: the second half of a signature is a little-endian number below the order of the curve. */
function bentEdwards(signer: Signer): Record<string, Buffer> {
  const good = signatureOf(signer)
  const [left, right] = [good.subarray(0, 32), good.subarray(32)]
  const order = 2n ** 252n + 27742317777372353535851937790883648493n
  const more = bytesOf(numberOf(Buffer.from(right).reverse()) + order, 32).reverse()
  const zero = Buffer.alloc(32)
  const halves = { 's + order': [left, more], swapped: [right, left], 's = 0': [left, zero], 'r = 0': [zero, right] }
  return Object.fromEntries(Object.entries(halves).map(([name, both]) => [name, Buffer.concat(both)]))
}

const BENDS: Record<string, typeof bentRsa> = { RS: bentRsa, PS: bentRsa, ES: bentPoints, Ed: bentEdwards }

function allBent(signer: Signer): Record<string, string> {
  const signatures = BENDS[signer.algorithm.slice(0, 2)]?.(signer) ?? {}
  return { ...bentTokens(signer), ...withSignatures(signer, signatures) }
}

async function misjudgedBy(jwt: Jwt, tokens: Record<string, string>, wanted: string): Promise<string[]> {
  const verdicts = Object.entries(tokens).map(async ([name, token]) => [name, await verdictOn(jwt, token)])
  return (await Promise.all(verdicts)).filter(([, verdict]) => verdict !== wanted).map((pair) => pair.join(': '))
}

/** Numbers of keys and of distinct valid and manipulated tokens. */
const RUN: Record<Algorithm, [keys: number, good: number, bent: number]> = {
  ...{ HS256: [5, 55, 1070], HS384: [1, 11, 214], HS512: [1, 11, 214] },
  ...{ RS256: [3, 33, 771], RS384: [1, 11, 257], RS512: [1, 11, 257] },
  ...{ PS256: [2, 22, 514], PS384: [1, 11, 257], PS512: [1, 11, 257] },
  ...{ ES256: [1, 11, 256], ES384: [1, 11, 256], ES512: [1, 11, 256], EdDSA: [1, 11, 234] }
}

for (const algorithm of ALGORITHMS) {
  t.test(`${algorithm}: manipulated tokens are rejected, and unusual valid ones accepted`, async (t) => {
    const run = [0, 0, 0]
    const wrong = []
    for (const signer of signersOf(algorithm)) {
      const jwt = await jwtOf(signer)
      const [good, bent] = [goodTokens(signer), allBent(signer)]
      wrong.push(...(await misjudgedBy(jwt, good, 'accepted')), ...(await misjudgedBy(jwt, bent, 'refused')))
      for (const [index, tokens] of [[''], Object.values(good), Object.values(bent)].entries())
        run[index] = (run[index] ?? 0) + new Set(tokens).size
    }
    t.strictSame(wrong, [])
    t.strictSame(run, RUN[algorithm])
  })
}

/**
 * JSON Web Tokens as PyJWT writes and reads them.
 *
 * Before a signature is looked at, a gate refuses what is not one canonical token of the one configured algorithm: it
 * stands in front of fast-jwt, which lets six kinds of malformed token pass and throws errors of many kinds.
 */
import { isUtf8 } from 'node:buffer'
import { createHmac } from 'node:crypto'
import { deepFreeze } from '../config.ts'
import { InvalidToken } from '../errors.ts'
import type { Settings } from '../settings.ts'

/** What is in a token. */
export type Claims = Readonly<Record<string, unknown>>

/** Throws for a signature that is wrong. */
export type VerifySignature = (token: string) => void

/** In characters, all of which are one byte. */
const MAX_TOKEN_LENGTH = 4096
/** The last second of the year 9999, beyond which neither Python nor a database has dates. */
const MAX_TIME = 253_402_300_799
/** Verified tokens remembered, so that a token seen before costs no signature check. */
const REMEMBERED = 10_000

/** One key's tokens. */
export class Jwt {
  readonly #settings: Settings
  readonly #sign: (input: string) => string
  readonly #toJson: (claims: Claims) => string
  readonly #verifySignature: VerifySignature
  readonly #header: string
  // Only what does not change with time is remembered; times are checked at every use.
  readonly #verified = new Map<string, Claims>()

  /** @param toJson SimpleJWT's JSON_ENCODER: the text of the claims */
  constructor(
    settings: Settings,
    secret: string,
    verifySignature: VerifySignature,
    toJson: (claims: Claims) => string = asciiJson
  ) {
    const { algorithm } = settings
    const hash = `sha${algorithm.slice(2)}`
    this.#settings = settings
    this.#sign = (input) => createHmac(hash, secret).update(input).digest('base64url')
    this.#verifySignature = verifySignature
    this.#toJson = toJson
    this.#header = base64url(JSON.stringify({ alg: algorithm, typ: 'JWT' }))
  }

  /** Claims in the order given, then `aud` and `iss`; byte for byte what PyJWT makes of them. */
  encode(claims: Claims): string {
    const { audience, issuer } = this.#settings
    const payload = { ...claims, ...(audience !== null && { aud: audience }), ...(issuer !== null && { iss: issuer }) }
    const input = `${this.#header}.${base64url(this.#toJson(payload))}`
    return `${input}.${this.#sign(input)}`
  }

  /**
   * Checks form, signature, times, issuer, audience and the types of `sub` and `jti`, in PyJWT's order.
   *
   * @returns the claims, frozen
   * @throws {InvalidToken} `Token is invalid` or `Token is expired`
   */
  decode(token: string): Claims {
    const known = this.#verified.get(token)
    if (known !== undefined) return this.#checkTimes(known)
    const [header, body] = partsOf(token)
    // The header that we, and Django, write needs no look; any other has to be as good.
    if (header !== this.#header) this.#checkHeader(readObject(header))
    const claims = readObject(body)
    try {
      this.#verifySignature(token)
    } catch (cause) {
      throw new InvalidToken(undefined, {}, { cause })
    }
    this.#checkTimes(claims)
    if (!this.#isForUs(claims) || !this.#hasTextIds(claims)) throw new InvalidToken()
    this.#remember(token, deepFreeze(claims))
    return claims
  }

  /** RFC 7515 §4.1.11: we understand no extension, so a token that has one is not ours. RFC 8725 §3.6 on `zip`. */
  #checkHeader({ alg, kid, ...others }: Claims): void {
    const isPlain = !('crit' in others || 'zip' in others || 'b64' in others)
    if (alg !== this.#settings.algorithm || !isAbsentOr(kid, /^/) || !isPlain) throw new InvalidToken()
  }

  #checkTimes(claims: Claims): Claims {
    const { leeway } = this.#settings
    const now = Date.now() / 1000
    const { iat, nbf, exp } = claims
    if (!isTime(iat) || !isTime(nbf) || !isTime(exp)) throw new InvalidToken()
    if ((iat ?? 0) > now + leeway || (nbf ?? 0) > now + leeway) throw new InvalidToken()
    if (exp !== undefined && Math.trunc(exp) <= now - leeway) throw new InvalidToken('Token is expired')
    return claims
  }

  #isForUs({ iss, aud }: Claims): boolean {
    const { audience, issuer } = this.#settings
    if (issuer !== null && iss !== issuer) return false
    if (audience === null) return true
    const wanted = [audience].flat()
    return Array.isArray(aud) ? aud.some((one) => wanted.includes(one)) : wanted.includes(aud as string)
  }

  #hasTextIds(claims: Claims): boolean {
    const { sub, jti, [this.#settings.jtiClaim ?? 'jti']: id } = claims
    return isAbsentOr(sub, /^/) && isAbsentOr(jti, ID) && isAbsentOr(id, ID)
  }

  #remember(token: string, claims: Claims): void {
    if (this.#verified.size >= REMEMBERED) this.#verified.delete(this.#verified.keys().next().value as string)
    this.#verified.set(token, claims)
  }
}

/** A token's id is bounded, and of letters that mean nothing to anybody. */
const ID = /^[\w-]{1,64}$/

const isAbsentOr = (value: unknown, pattern: RegExp) =>
  value === undefined || (typeof value === 'string' && pattern.test(value))

const isTime = (value: unknown): value is number | undefined =>
  value === undefined || (typeof value === 'number' && value <= MAX_TIME)

/** Header and claims, still encoded. With `readObject`, this is the gate. */
function partsOf(token: string): [header: string, claims: string] {
  const isShort = token.length <= MAX_TOKEN_LENGTH
  const [header, claims, signature] = isShort && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token) ? token.split('.') : []
  if (header === undefined || claims === undefined || signature === undefined) throw new InvalidToken()
  if (!isCanonical(signature)) throw new InvalidToken()
  return [header, claims]
}

/**
 * Some decoders ignore what no whole byte fills, which gives one token several spellings: a last character that has six
 * bits where four or two belong to no byte has to leave those zero, and one that has no byte at all may not be.
 */
const isCanonical = (text: string) => /^(?:....)*(?:.[AQgw]|..[AEIMQUYcgkosw048])?$/.test(text)

function readObject(text: string): Claims {
  const bytes = Buffer.from(text, 'base64url')
  if (!isCanonical(text) || !isUtf8(bytes)) throw new InvalidToken()
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch (cause) {
    throw new InvalidToken(undefined, {}, { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new InvalidToken()
  return value as Claims
}

const base64url = (text: string) => Buffer.from(text).toString('base64url')

/** Python's json.dumps: all that is not printable ASCII is escaped. */
const asciiJson = (value: Claims) =>
  JSON.stringify(value).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

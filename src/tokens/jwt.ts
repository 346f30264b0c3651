/**
 * JSON Web Tokens as PyJWT writes and reads them.
 *
 * Before a signature is verified, every token must pass a gate: it must be canonical and well-formed. fast-jwt alone
 * accepts six kinds of malformed tokens, and throws errors of many types.
 */
import { isUtf8 } from 'node:buffer'
import { deepFreeze } from '../deep-freeze.ts'
import { InvalidToken } from '../errors.ts'
import type { KeySet, VerifyingKey } from '../keys/key-set.ts'
import type { Settings } from '../settings/schema.ts'

/** The content of a token. */
export type Claims = Readonly<Record<string, unknown>>

/** In characters, which are one byte each. */
const MAX_TOKEN_LENGTH = 4096
/** The last second of the year 9999: the limit of dates in Python and in databases. */
const MAX_TIME = 253_402_300_799
/** How far the clock of the process that issued a token may be ahead. It concerns `iat` only, which limits nothing. */
const CLOCK_SKEW_SECONDS = 5
/** Verified tokens in the cache, which need no further signature check. */
const CACHE_SIZE = 10_000

export class Jwt {
  readonly #settings: Settings
  readonly #keys: KeySet
  readonly #toJson: (claims: Claims) => string
  // Times are checked at every use: only what does not change is cached.
  readonly #verified = new Map<string, { claims: Claims; key: VerifyingKey }>()
  readonly #foreign = new WeakSet<Claims>()
  /** The header of the last verified token, since most tokens have the same. */
  #usual: { text: string; header: Header } | null = null

  /** @param toJson SimpleJWT's JSON_ENCODER: returns the JSON text of the claims */
  constructor(settings: Settings, keys: KeySet, toJson: (claims: Claims) => string = asciiJson) {
    this.#settings = settings
    this.#keys = keys
    this.#toJson = toJson
  }

  /** Signs the claims in the given order, followed by `aud` and `iss`; byte for byte as PyJWT does. */
  encode(claims: Claims): string {
    const { audience, issuer } = this.#settings
    const payload = { ...claims, ...(audience !== null && { aud: audience }), ...(issuer !== null && { iss: issuer }) }
    const { header, sign } = this.#keys.signing
    const input = `${header}.${base64url(this.#toJson(payload))}`
    return `${input}.${sign(input)}`
  }

  /**
   * Checks form, signature, times, issuer, audience and the types of `sub` and `jti`, in PyJWT's order.
   *
   * @returns the claims, frozen
   * @throws {InvalidToken} `Token is invalid` or `Token is expired`
   */
  async decode(token: string): Promise<Claims> {
    const known = this.#verified.get(token)
    if (known !== undefined && Date.now() < known.key.acceptedUntil) return this.#checkTimes(known.claims)
    const [text, body] = partsOf(token)
    const header = this.#usual?.text === text ? this.#usual.header : headerOf(text)
    const claims = readObject(body)
    const key = await this.#keyOf(token, header)
    this.#usual = { text, header }
    this.#checkTimes(claims)
    if (!this.#isForUs(claims) || !this.#hasTextIds(claims, key.isForeign ? FOREIGN_ID : ID)) throw new InvalidToken()
    if (key.isForeign) this.#foreign.add(claims)
    this.#remember(token, deepFreeze(claims), key)
    return claims
  }

  /**
   * True if another service has signed the token: its user id is not one of ours. @param claims returned by `decode`
   */
  isForeign(claims: Claims): boolean {
    return this.#foreign.has(claims)
  }

  /** Finds the key that verifies the signature, among those of the token's algorithm and `kid`. */
  async #keyOf(token: string, { alg, kid }: Header): Promise<VerifyingKey> {
    let cause: unknown
    for (const key of await this.#keys.find(alg, kid)) {
      if (Date.now() >= key.acceptedUntil) continue
      try {
        key.verify(token)
        return key
      } catch (error) {
        cause = error
      }
    }
    throw new InvalidToken(undefined, {}, { cause })
  }

  #checkTimes(claims: Claims): Claims {
    const { leeway } = this.#settings
    const now = Date.now() / 1000
    const { iat, nbf, exp } = claims
    if (!isTime(iat) || !isTime(nbf) || !isTime(exp)) throw new InvalidToken()
    if ((iat ?? 0) > now + Math.max(leeway, CLOCK_SKEW_SECONDS) || (nbf ?? 0) > now + leeway) throw new InvalidToken()
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

  #hasTextIds(claims: Claims, pattern: RegExp): boolean {
    const { sub, jti, [this.#settings.jtiClaim ?? 'jti']: id } = claims
    return isAbsentOr(sub, /^/) && isAbsentOr(jti, pattern) && isAbsentOr(id, pattern)
  }

  #remember(token: string, claims: Claims, key: VerifyingKey): void {
    if (this.#verified.size >= CACHE_SIZE) this.#verified.delete(this.#verified.keys().next().value as string)
    this.#verified.set(token, { claims, key })
  }
}

/** A valid `jti`: bounded, and without characters that are special anywhere. */
const ID = /^[\w-]{1,64}$/
/** Other issuers may use any text, such as Okta's `AT.…`. */
const FOREIGN_ID = /^.{1,255}$/su

const isAbsentOr = (value: unknown, pattern: RegExp) =>
  value === undefined || (typeof value === 'string' && pattern.test(value))

const isTime = (value: unknown): value is number | undefined =>
  value === undefined || (typeof value === 'number' && value <= MAX_TIME)

/** Splits a token into header and claims, still encoded. With `headerOf` and `readObject`, this is the gate. */
export function partsOf(token: string): [header: string, claims: string] {
  const isShort = token.length <= MAX_TOKEN_LENGTH
  const [header, claims, signature] = isShort && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token) ? token.split('.') : []
  if (header === undefined || claims === undefined || signature === undefined) throw new InvalidToken()
  if (!isCanonical(signature)) throw new InvalidToken()
  return [header, claims]
}

/**
 * True for canonical base64url. Decoders ignore unused bits of the last character, so that one token would have several
 * spellings: these bits must be zero, and a last character without a byte is invalid.
 */
const isCanonical = (text: string) => /^(?:....)*(?:.[AQgw]|..[AEIMQUYcgkosw048])?$/.test(text)

/** The relevant members of a header. */
interface Header {
  alg: string
  kid: string | undefined
}

/** Rejects `crit` (RFC 7515 §4.1.11: no extension is supported), `zip` (RFC 8725 §3.6) and `b64` (RFC 7797). */
export function headerOf(text: string): Header {
  const header = readObject(text)
  const { alg, kid } = header
  if (typeof alg !== 'string' || !isAbsentOr(kid, /^/)) throw new InvalidToken()
  if ('crit' in header || 'zip' in header || 'b64' in header) throw new InvalidToken()
  return { alg, kid: kid as string | undefined }
}

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

/** As Python's json.dumps: escapes everything but printable ASCII. */
const asciiJson = (value: Claims) =>
  JSON.stringify(value).replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

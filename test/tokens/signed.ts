/** Creates a `Jwt` without the plugin, and validly signed tokens of arbitrary content. */
import { createSecretKey } from 'node:crypto'
import type { Test } from 'tap'
import { createSigningKey, type KeySet } from '../../src/keys/key-set.ts'
import { createVerifier } from '../../src/keys/verify-signature.ts'
import { loadSettings } from '../../src/settings/load.ts'
import type { SettingsInput } from '../../src/settings/schema.ts'
import { Jwt } from '../../src/tokens/jwt.ts'
import { SIGNING_KEY } from '../support/build.ts'
import { CHEAP } from '../support/settings.ts'
import { type Claims, signatureOf } from '../support/tokens.ts'

export interface WatchedJwt {
  encode: (claims: Claims) => string
  decode: (token: string) => Promise<Readonly<Claims>>
  /** Returns the number of signatures checked so far. */
  checks: () => number
}

/** Creates a `Jwt` as the plugin does, but counts its signature checks. */
export async function jwtWith(input: SettingsInput = {}, secret = SIGNING_KEY): Promise<WatchedJwt> {
  const settings = loadSettings({ ...CHEAP, ...input })
  const { algorithm } = settings
  const key = createSecretKey(secret, 'utf8')
  const verify = await createVerifier(algorithm, key)
  let count = 0
  const counted = (token: string) => {
    count++
    verify(token)
  }
  const keys: KeySet = {
    signing: createSigningKey(algorithm, key),
    find: async (wanted) => (wanted === algorithm ? [{ algorithm, verify: counted, acceptedUntil: Infinity }] : []),
    published: () => [],
    close: () => undefined
  }
  const jwt = new Jwt(settings, keys)
  return { encode: (claims) => jwt.encode(claims), decode: (token) => jwt.decode(token), checks: () => count }
}

/** Part of a token before base64url encoding: an object, its JSON text or its bytes. */
export type Part = Claims | string | Buffer

export const HEADER = { alg: 'HS256', typ: 'JWT' }
export const CLAIMS = { token_type: 'refresh', exp: 4_102_444_800, iat: 1_700_000_000, jti: 'a1', user_id: '1' }

/** Returns a token of these parts with a valid signature; the parts are not checked. */
export const signed = (payload: Part = CLAIMS, header: Part = HEADER) => signedText(encoded(header), encoded(payload))

/** Signs parts that are already encoded, whether or not they are base64url. */
export function signedText(header: string, payload: string): string {
  const content = `${header}.${payload}`
  return `${content}.${signatureOf(content, 'HS256', SIGNING_KEY)}`
}

export function encoded(part: Part): string {
  const bytes = Buffer.isBuffer(part) ? part : Buffer.from(typeof part === 'string' ? part : JSON.stringify(part))
  return bytes.toString('base64url')
}

/** Stops the clock at `start`, in milliseconds. Returns a function that sets another time. */
export function stopClock(t: Test, start: number): (now: number) => void {
  let time = start
  t.intercept(Date, 'now', { value: () => time })
  return (now) => {
    time = now
  }
}

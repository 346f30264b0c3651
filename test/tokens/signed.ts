/** A JWT reader by itself, and tokens of any form, however odd, with a good signature. */
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
  /** How many signatures have been checked. */
  checks: () => number
}

/** As the plugin makes it, with a signature check that is counted. */
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

/** An object, or its text, or its bytes. */
export type Part = Claims | string | Buffer

export const HEADER = { alg: 'HS256', typ: 'JWT' }
export const CLAIMS = { token_type: 'refresh', exp: 4_102_444_800, iat: 1_700_000_000, jti: 'a1', user_id: '1' }

/** A token of these parts, whatever they are, with a good signature. */
export const signed = (payload: Part = CLAIMS, header: Part = HEADER) => signedText(encoded(header), encoded(payload))

/** A token whose parts are these texts, whether or not they are base64url. */
export function signedText(header: string, payload: string): string {
  const content = `${header}.${payload}`
  return `${content}.${signatureOf(content, 'HS256', SIGNING_KEY)}`
}

export function encoded(part: Part): string {
  const bytes = Buffer.isBuffer(part) ? part : Buffer.from(typeof part === 'string' ? part : JSON.stringify(part))
  return bytes.toString('base64url')
}

/** Stops the clock at this time, in milliseconds; the returned function moves it. */
export function stopClock(t: Test, start: number): (now: number) => void {
  let time = start
  t.intercept(Date, 'now', { value: () => time })
  return (now) => {
    time = now
  }
}

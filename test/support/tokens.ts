/** Signs and reads tokens without the code under test. */
import { createHmac, randomUUID } from 'node:crypto'
import { SIGNING_KEY } from './settings.ts'

export type Claims = Record<string, unknown>

const DIGESTS: Record<string, string> = { HS256: 'sha256', HS384: 'sha384', HS512: 'sha512' }

export interface Minting {
  /** Added to the claims of a valid refresh token of user 1, or in place of them. */
  claims?: Claims
  omit?: string[]
  header?: Record<string, unknown>
  /** `none` leaves the signature empty. */
  alg?: string
  key?: string
}

export const secondsNow = () => Math.floor(Date.now() / 1000)

/** Signs a token of any content; by default a refresh token of user 1 that expires after five minutes. */
export function mint({ claims = {}, omit = [], header = {}, alg = 'HS256', key = SIGNING_KEY }: Minting = {}): string {
  const now = secondsNow()
  const payload: Claims = {
    token_type: 'refresh',
    exp: now + 300,
    iat: now,
    jti: randomUUID().replaceAll('-', ''),
    user_id: '1',
    ...claims
  }
  for (const name of omit) delete payload[name]
  const content = `${encode({ alg, typ: 'JWT', ...header })}.${encode(payload)}`
  return `${content}.${signatureOf(content, alg, key)}`
}

export function signatureOf(content: string, alg: string, key: string): string {
  if (alg === 'none') return ''
  const digest = DIGESTS[alg]
  if (digest === undefined) throw new Error(`cannot sign with ${alg}`)
  return createHmac(digest, key).update(content).digest('base64url')
}

/** The claims of a token, without verification. */
export const claimsOf = (token: string): Claims => decode(token, 1)
export const headerOf = (token: string): Claims => decode(token, 0)
export const jtiOf = (token: string): unknown => claimsOf(token).jti

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

function decode(token: string, part: 0 | 1): Claims {
  return JSON.parse(Buffer.from(token.split('.')[part] ?? '', 'base64url').toString())
}

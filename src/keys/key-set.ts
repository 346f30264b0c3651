/** The keys that sign and verify tokens, independent of where they are stored. */
import type { KeyObject } from 'node:crypto'
import { type Algorithm, type Jwk, sign } from '../crypto/jwa.ts'
import type { VerifySignature } from './verify-signature.ts'

/** How long services may cache the published key set. A new key is published for at least this long before it signs. */
export const JWKS_MAX_AGE_MS = 300_000

/** A key whose signatures are accepted. */
export interface VerifyingKey {
  readonly algorithm: Algorithm
  readonly verify: VerifySignature
  /**
   * Milliseconds since the epoch, or Infinity. Set to 0 when the key is revoked or removed, so that cached results of its
   * tokens are no longer used.
   */
  acceptedUntil: number
  /** True for a key of another service, whose user ids are not ours. */
  readonly isForeign?: boolean
}

/** A key that signs tokens, with their encoded header. */
export interface SigningKey {
  readonly header: string
  readonly sign: (input: string) => string
}

export interface KeySet {
  /** The key that signs new tokens. */
  readonly signing: SigningKey
  /**
   * Returns the keys that may have signed a token with this header: those of this algorithm, and of this `kid` if it has one.
   *
   * @param kid of the token's header, which is not verified yet
   * @throws {ServiceUnavailable} if the keys cannot be loaded
   */
  find: (algorithm: string, kid: string | undefined) => Promise<readonly VerifyingKey[]>
  /** Returns the public keys for services that verify tokens themselves; never a secret. */
  published: () => readonly Jwk[]
  close: () => void
}

/** @param kid for the header, whose members are in the order in which PyJWT writes them */
export function createSigningKey(algorithm: Algorithm, key: KeyObject, kid?: string): SigningKey {
  const header = Buffer.from(JSON.stringify({ alg: algorithm, kid, typ: 'JWT' })).toString('base64url')
  return { header, sign: (input) => sign(algorithm, key, input) }
}

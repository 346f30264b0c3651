/** Where tokens have their keys from, whatever kind of place it is. */
import type { KeyObject } from 'node:crypto'
import { type Algorithm, type Jwk, readVerifyingKey, sign } from '../crypto/jwa.ts'
import { fallbackOf } from '../settings/load.ts'
import type { Settings } from '../settings/schema.ts'

/** How long those who verify may go by a key set that they have fetched, in milliseconds. */
export const PUBLISHED_FOR = 300_000

/** Throws for a signature that is wrong. */
export type VerifySignature = (token: string) => void

/** Makes what checks the signatures of one key by its one algorithm. */
export type CreateVerifier = (algorithm: Algorithm, key: KeyObject) => Promise<VerifySignature>

/** A key whose tokens are good. */
export interface VerifyingKey {
  readonly algorithm: Algorithm
  readonly verify: VerifySignature
  /** In milliseconds; a revoked key's is 0, and what was remembered of its tokens counts no more. */
  acceptedUntil: number
}

/** A key that signs, with the header of its tokens, encoded. */
export interface SigningKey {
  readonly header: string
  readonly sign: (input: string) => string
}

/** Where a `Jwt` has its keys from. */
export interface KeySet {
  /** The one that signs now. */
  readonly signing: SigningKey
  /**
   * The keys that may have signed a token with this header: of this very algorithm, and the one that it names.
   *
   * @param kid as the token has it; nobody vouches for it
   */
  find: (algorithm: string, kid: string | undefined) => Promise<readonly VerifyingKey[]>
  /** The public keys, for others to verify with; never a secret. */
  published: () => readonly Jwk[]
  close: () => void
}

/** The header as PyJWT sorts it. */
export function signingKey(algorithm: Algorithm, key: KeyObject, kid?: string): SigningKey {
  const header = Buffer.from(JSON.stringify({ alg: algorithm, kid, typ: 'JWT' })).toString('base64url')
  return { header, sign: (input) => sign(algorithm, key, input) }
}

/** The keys of SIGNING_KEY_FALLBACKS, which verify and sign no more. */
export function fallbackKeys(settings: Settings, createVerifier: CreateVerifier): Promise<VerifyingKey[]> {
  return Promise.all(
    settings.signingKeyFallbacks.map(async (text) => {
      const { algorithm, key } = fallbackOf(text, settings.algorithm)
      const verify = await createVerifier(algorithm, readVerifyingKey(key, algorithm))
      return { algorithm, verify, acceptedUntil: Infinity }
    })
  )
}

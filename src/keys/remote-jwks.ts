/** Public keys of another service, fetched from its key set (JWKS): SimpleJWT's JWK_URL. */
import { boundedFetch } from '../bounded-fetch.ts'
import { type Algorithm, InvalidKey, isSymmetric, type Jwk, readJwk } from '../crypto/jwa.ts'
import { ServiceUnavailable } from '../errors.ts'
import type { KeySet, VerifyingKey } from './key-set.ts'
import { createVerifier } from './verify-signature.ts'

/** How long a key set is used before it is fetched again, as in PyJWT. */
const MAX_AGE_MS = 300_000
/** Least time between two fetches, as in PyJWT; shorter while no key is known. */
const FETCH_INTERVAL_MS = 30_000
const FIRST_FETCH_INTERVAL_MS = 1000
const FETCH_LIMITS = { timeoutMs: 5000, maxBytes: 256 * 1024 }
const MAX_KEYS = 100

interface RemoteKey extends VerifyingKey {
  kid: string | undefined
  /** The JWK in JSON, by which an unchanged key is recognized. */
  json: string
}

export class RemoteKeys {
  readonly #url: string
  readonly #fallback: Algorithm
  readonly #onFault: (error: unknown) => void
  #keys: readonly RemoteKey[] = []
  #fetchedAt = Number.NEGATIVE_INFINITY
  #triedAt = Number.NEGATIVE_INFINITY
  #hasFailed = false
  #fetching: Promise<void> | null = null

  /**
   * @param fallback algorithm of RSA keys without `alg`
   * @param onFault called when the keys cannot be fetched; the cached keys stay in use
   */
  constructor(url: string, fallback: Algorithm, onFault: (error: unknown) => void) {
    this.#url = url
    this.#fallback = isSymmetric(fallback) ? 'RS256' : fallback
    this.#onFault = onFault
  }

  /**
   * Returns the keys of this algorithm and `kid`; for a token without `kid`, all of this algorithm.
   *
   * @throws {ServiceUnavailable} if the key is not cached and the last fetch failed
   */
  async find(algorithm: string, kid: string | undefined): Promise<readonly VerifyingKey[]> {
    if (isSymmetric(algorithm)) return []
    if (this.#keys.length > 0 && performance.now() - this.#fetchedAt >= MAX_AGE_MS) void this.#refetch()
    if (this.#keysNamed(kid).length === 0) await this.#refetch()
    const found = this.#keysNamed(kid)
    if (found.length === 0 && this.#hasFailed) throw new ServiceUnavailable('The signing keys cannot be fetched.')
    return found.filter((key) => key.algorithm === algorithm)
  }

  #keysNamed(kid: string | undefined): readonly RemoteKey[] {
    return kid === undefined ? this.#keys : this.#keys.filter((key) => key.kid === kid)
  }

  /** Concurrent callers share one fetch. Returns without one if the last was too recent. */
  #refetch(): Promise<void> {
    const interval = this.#keys.length === 0 ? FIRST_FETCH_INTERVAL_MS : FETCH_INTERVAL_MS
    if (this.#fetching === null && performance.now() - this.#triedAt < interval) return Promise.resolve()
    this.#fetching ??= this.#fetch()
      .then(() => {
        this.#hasFailed = false
      })
      .catch((error) => {
        this.#hasFailed = true
        this.#onFault(new Error(`${this.#url}: ${(error as Error).message}`, { cause: error }))
      })
      .finally(() => {
        this.#fetching = null
      })
    return this.#fetching
  }

  async #fetch(): Promise<void> {
    this.#triedAt = performance.now()
    const headers = { accept: 'application/jwk-set+json, application/json' }
    const jwks = parseKeySet(await boundedFetch(this.#url, headers, FETCH_LIMITS))
    const keys: RemoteKey[] = []
    for (const jwk of jwks) {
      // Keys with the same `kid` are ambiguous, so that none of them is used.
      const isUnambiguous = jwk.kid === undefined || jwks.filter(({ kid }) => kid === jwk.kid).length === 1
      const key = isUnambiguous ? await this.#loadKey(jwk) : null
      if (key !== null) keys.push(key)
    }
    if (keys.length === 0) throw new Error('the key set has no usable key')
    // Cached results of tokens of removed keys are no longer used.
    for (const key of this.#keys) if (!keys.includes(key)) key.acceptedUntil = 0
    this.#keys = keys
    this.#fetchedAt = performance.now()
  }

  /** Keeps the object of an unchanged key, since cached results of its tokens refer to it. */
  async #loadKey(jwk: Jwk): Promise<RemoteKey | null> {
    const json = JSON.stringify(jwk)
    const cached = this.#keys.find((key) => key.json === json)
    if (cached !== undefined) return cached
    const parsed = readIfUsable(jwk, this.#fallback)
    if (parsed === null) return null
    const { algorithm, key } = parsed
    const kid = typeof jwk.kid === 'string' ? jwk.kid : undefined
    const verify = await createVerifier(algorithm, key)
    return { algorithm, verify, acceptedUntil: Number.POSITIVE_INFINITY, isForeign: true, kid, json }
  }
}

/** Key sets may contain keys for other purposes or of unknown types, which are ignored (RFC 7517 §5). */
function readIfUsable(jwk: Jwk, fallback: Algorithm): ReturnType<typeof readJwk> | null {
  try {
    return readJwk(jwk, fallback)
  } catch (error) {
    if (error instanceof InvalidKey) return null
    throw error
  }
}

function parseKeySet(body: Buffer): Jwk[] {
  const set: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  const keys = typeof set === 'object' && set !== null && 'keys' in set ? set.keys : undefined
  if (!Array.isArray(keys)) throw new Error('the response is not a key set')
  const objects = keys.filter((key) => typeof key === 'object' && key !== null)
  if (objects.length > MAX_KEYS) throw new Error(`the key set has more than ${MAX_KEYS} keys`)
  return objects
}

/**
 * Combines the own keys with those of another service. A token whose `kid` is not one of the own published keys is verified
 * with the remote keys first; a token without `kid` with the own keys, and with the remote ones only if there are none.
 */
export function withRemoteKeys(own: KeySet, remote: RemoteKeys): KeySet {
  return {
    get signing() {
      return own.signing
    },
    find: async (algorithm, kid) => {
      const known = await own.find(algorithm, kid)
      const isOwn = kid === undefined || own.published().some((jwk) => jwk.kid === kid)
      return isOwn && known.length > 0 ? known : [...(await remote.find(algorithm, kid)), ...known]
    },
    published: () => own.published(),
    close: () => own.close()
  }
}

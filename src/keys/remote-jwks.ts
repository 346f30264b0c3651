/** Others' public keys, fetched from where they publish them: SimpleJWT's JWK_URL. */
import { type Algorithm, isSymmetric, type Jwk, readJwk, UnfitKey } from '../crypto/jwa.ts'
import { ServiceUnavailable } from '../errors.ts'
import type { CreateVerifier, KeySet, VerifyingKey } from './key-set.ts'

/** How long a key set is gone by, and the least time between two fetches; PyJWT's. In milliseconds. */
const FRESH = 300_000
const PAUSE = 30_000
/** Without any key there is nothing to go on with. */
const COLD_PAUSE = 1000
const PATIENCE = 5000
/** In bytes, and in keys. */
const MOST = { bytes: 256 * 1024, keys: 100 }

interface RemoteKey extends VerifyingKey {
  kid: string | undefined
  /** As published. */
  text: string
}

export class RemoteKeys {
  readonly #url: string
  readonly #fallback: Algorithm
  readonly #createVerifier: CreateVerifier
  readonly #onFault: (error: unknown) => void
  #keys: readonly RemoteKey[] = []
  #fetchedAt = Number.NEGATIVE_INFINITY
  #triedAt = Number.NEGATIVE_INFINITY
  #hasFailed = false
  #fetching: Promise<void> | null = null

  /**
   * @param fallback algorithm of RSA keys that name none
   * @param onFault told when the keys cannot be fetched; those known so far go on
   */
  constructor(url: string, fallback: Algorithm, createVerifier: CreateVerifier, onFault: (error: unknown) => void) {
    this.#url = url
    this.#fallback = isSymmetric(fallback) ? 'RS256' : fallback
    this.#createVerifier = createVerifier
    this.#onFault = onFault
  }

  /**
   * The keys of this algorithm and this name; for a token that names none, all of this algorithm.
   *
   * @throws {ServiceUnavailable} if the key may be one that could not be fetched
   */
  async find(algorithm: string, kid: string | undefined): Promise<readonly VerifyingKey[]> {
    if (isSymmetric(algorithm)) return []
    if (this.#keys.length > 0 && performance.now() - this.#fetchedAt >= FRESH) void this.#refetch()
    if (this.#named(kid).length === 0) await this.#refetch()
    const found = this.#named(kid)
    if (found.length === 0 && this.#hasFailed) throw new ServiceUnavailable('The signing keys cannot be fetched.')
    return found.filter((key) => key.algorithm === algorithm)
  }

  #named(kid: string | undefined): readonly RemoteKey[] {
    return kid === undefined ? this.#keys : this.#keys.filter((key) => key.kid === kid)
  }

  /** Many callers share one fetch, and soon after one there is no other. */
  #refetch(): Promise<void> {
    const pause = this.#keys.length === 0 ? COLD_PAUSE : PAUSE
    if (this.#fetching === null && performance.now() - this.#triedAt < pause) return Promise.resolve()
    this.#fetching ??= this.#fetch()
      .then(() => {
        this.#hasFailed = false
      })
      .catch((error) => {
        this.#hasFailed = true
        this.#onFault(error)
      })
      .finally(() => {
        this.#fetching = null
      })
    return this.#fetching
  }

  async #fetch(): Promise<void> {
    this.#triedAt = performance.now()
    const jwks = readSet(await textOf(this.#url))
    const keys: RemoteKey[] = []
    for (const jwk of jwks) {
      // Two keys of one name leave open which of them is meant.
      const isPlain = jwk.kid === undefined || jwks.filter(({ kid }) => kid === jwk.kid).length === 1
      const key = isPlain ? await this.#keyOf(jwk) : null
      if (key !== null) keys.push(key)
    }
    if (keys.length === 0) throw new Error(`${this.#url}: has no key to verify with`)
    // What was remembered of the tokens of keys that have gone counts no more.
    for (const key of this.#keys) if (!keys.includes(key)) key.acceptedUntil = 0
    this.#keys = keys
    this.#fetchedAt = performance.now()
  }

  async #keyOf(jwk: Jwk): Promise<RemoteKey | null> {
    const text = JSON.stringify(jwk)
    const known = this.#keys.find((key) => key.text === text)
    if (known !== undefined) return known
    const fit = readIfFit(jwk, this.#fallback)
    if (fit === null) return null
    const { algorithm, key } = fit
    const kid = typeof jwk.kid === 'string' ? jwk.kid : undefined
    const verify = await this.#createVerifier(algorithm, key)
    return { algorithm, verify, acceptedUntil: Number.POSITIVE_INFINITY, kid, text }
  }
}

/** A set may have keys for other purposes, which are none of ours. */
function readIfFit(jwk: Jwk, fallback: Algorithm): ReturnType<typeof readJwk> | null {
  try {
    return readJwk(jwk, fallback)
  } catch (error) {
    if (error instanceof UnfitKey) return null
    throw error
  }
}

function readSet(text: string): Jwk[] {
  const set: unknown = JSON.parse(text)
  const keys = typeof set === 'object' && set !== null && 'keys' in set ? set.keys : undefined
  if (!Array.isArray(keys)) throw new Error('the answer is no key set')
  const objects = keys.filter((key) => typeof key === 'object' && key !== null)
  if (objects.length > MOST.keys) throw new Error(`the key set has more than ${MOST.keys} keys`)
  return objects
}

/** Redirects are not followed: they could lead anywhere, as the one who answers likes. */
async function textOf(url: string): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'error',
    signal: AbortSignal.timeout(PATIENCE)
  })
  if (response.status !== 200) throw new Error(`${url}: answered ${response.status}`)
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    if (size > MOST.bytes) throw new Error(`${url}: answered with more than ${MOST.bytes} bytes`)
    chunks.push(chunk)
  }
  return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks))
}

/** Keys of others besides one's own: tokens that name a key are first of all theirs, others one's own. */
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

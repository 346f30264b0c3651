/**
 * Key rotation: signing keys in the database, with the private keys encrypted. One key is current and signs, one is next and
 * already published, the others are previous (still accepted) or revoked. Every process polls the table, and reads it again
 * before it rejects a token because of an unknown `kid`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { deriveKey } from '../crypto/encryption.ts'
import { type Algorithm, isSymmetric, type Jwk, readJwk } from '../crypto/jwa.ts'
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, Prisma, SigningKeyRow } from '../database/open.ts'
import { ServiceUnavailable } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import { loadFallbackKeys } from './configured-keys.ts'
import { createRow, decryptRow, type KeySummary, summariesOf } from './key-ring-rows.ts'
import { createSigningKey, JWKS_MAX_AGE_MS, type KeySet, type SigningKey, type VerifyingKey } from './key-set.ts'
import { createVerifier } from './verify-signature.ts'

const POLL_INTERVAL_MS = 2000
/** Delay before a requested reload, so that unknown key ids cause at most ten queries per second. */
const RELOAD_DELAY_MS = 100
/** How long another process may still sign with a key that has been retired. */
const RETIREMENT_MARGIN_MS = 60_000
const ENCRYPTION_PURPOSE = 'latchkey signing keys'
/** An RFC 7638 thumbprint. */
const KID = /^[\w-]{43}$/

interface RingKey extends VerifyingKey {
  readonly jwk: Jwk | null
}

export class KeyRing implements KeySet {
  readonly #settings: Settings
  readonly #database: Database
  readonly #encryptionKey: Buffer
  #fallbacks: readonly VerifyingKey[] = []
  #keys = new Map<string, RingKey>()
  #current: { kid: string; key: SigningKey } | null = null
  #loading: Promise<void> = Promise.resolve()
  #queued: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined

  private constructor(settings: Settings, database: Database) {
    this.#settings = settings
    this.#database = database
    this.#encryptionKey = deriveKey(settings.keyEncryptionKey as string, ENCRYPTION_PURPOSE)
  }

  /**
   * Loads the keys, and creates the first ones if there are none.
   *
   * @param onFault called when the keys cannot be reloaded; the cached keys stay in use
   * @throws {ImproperlyConfigured} if `keyEncryptionKey` does not decrypt the keys
   */
  static async open(settings: Settings, database: Database, onFault: (error: unknown) => void): Promise<KeyRing> {
    const ring = new KeyRing(settings, database)
    ring.#fallbacks = await loadFallbackKeys(settings)
    await ring.#load()
    if (ring.#current === null) await ring.#createFirstKeys()
    ring.#timer = setInterval(() => void ring.#poll().catch(onFault), POLL_INTERVAL_MS).unref()
    return ring
  }

  get signing(): SigningKey {
    if (this.#current === null) throw new ServiceUnavailable('No signing key is available.')
    return this.#current.key
  }

  async find(algorithm: string, kid: string | undefined): Promise<readonly VerifyingKey[]> {
    if (kid !== undefined && KID.test(kid)) {
      // Another process may have created the key since the last poll.
      if (!this.#keys.has(kid)) await this.reload()
      const key = this.#keys.get(kid)
      if (key !== undefined) return key.algorithm === algorithm ? [key] : []
    }
    return this.#fallbacks.filter((key) => key.algorithm === algorithm)
  }

  published(): readonly Jwk[] {
    return [...this.#keys.values()].map(({ jwk }) => jwk).filter((jwk) => jwk !== null)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  /** Reloads the keys with a query that starts after this call. Concurrent callers share one query. */
  reload(): Promise<void> {
    this.#queued ??= this.#loading
      .catch(() => undefined)
      .then(() => sleep(RELOAD_DELAY_MS))
      .then(() => {
        this.#queued = null
        this.#loading = this.#load()
        return this.#loading
      })
    return this.#queued
  }

  /** Returns the current key, the next one, the previous ones and the revoked ones, the newest first. */
  async list(): Promise<KeySummary[]> {
    return summariesOf(await this.#rows())
  }

  /**
   * Replaces the next key by a new one, of the algorithm of the settings.
   *
   * @returns the new key's `kid`, or null if another process has changed the keys at the same time
   */
  async generate(): Promise<string | null> {
    const row = this.#createRow('next')
    const { signingKey } = this.#database
    const isCreated = await this.#tryChange(
      signingKey.deleteMany({ where: { role: 'next' } }),
      signingKey.create({ data: row })
    )
    return isCreated ? row.kid : null
  }

  /**
   * Makes the next key the current one, and creates a new next key. The key that was current is accepted until the last of its
   * tokens has expired.
   *
   * @returns the `kid` of the current key, or null if another process has changed the keys at the same time
   */
  async rotate(): Promise<string | null> {
    const [current, next] = await this.#roles()
    return (await this.#promote(current, next, { expiresAt: this.#lastExpiry() })) ? next.kid : null
  }

  /** Returns for how many milliseconds the next key has been published. Services may not know it before JWKS_MAX_AGE_MS. */
  async nextKeyAge(): Promise<number> {
    const [, next] = await this.#roles()
    return Date.now() - next.createdAt.getTime()
  }

  /**
   * Revokes a key: its tokens are rejected. If it is the current one, the next key replaces it at once.
   *
   * @returns false if there is no such key, or another process has changed the keys at the same time
   */
  async revoke(kid: string): Promise<boolean> {
    const { signingKey } = this.#database
    const [current, next] = await this.#roles()
    const revocation = { revokedAt: new Date(), encryptedKey: null, expiresAt: this.#lastExpiry() }
    if (kid === current.kid) return this.#promote(current, next, revocation)
    if (kid === next.kid) {
      return this.#tryChange(
        signingKey.updateMany({ where: { kid, role: 'next' }, data: { ...revocation, role: null } }),
        signingKey.create({ data: this.#createRow('next') })
      )
    }
    const { count } = await signingKey.updateMany({ where: { kid, role: null, revokedAt: null }, data: revocation })
    await this.reload()
    return count === 1
  }

  async #createFirstKeys(): Promise<void> {
    try {
      await this.#database.signingKey.createMany({ data: [this.#createRow('current'), this.#createRow('next')] })
    } catch (error) {
      // Another process that started at the same time has created them.
      if (!isUniqueViolation(error)) throw error
    }
    await this.#load()
  }

  async #poll(): Promise<void> {
    await this.reload()
    const { keyRotationAge } = this.#settings
    if (keyRotationAge === null) return
    const [{ activatedAt }, next] = await this.#roles()
    const isOld = Date.now() - +(activatedAt ?? 0) >= keyRotationAge * 1000
    if (isOld && Date.now() - +next.createdAt >= JWKS_MAX_AGE_MS) await this.rotate()
  }

  /** @param retirement columns of the key that was current */
  #promote(current: SigningKeyRow, next: SigningKeyRow, retirement: Partial<SigningKeyRow>): Promise<boolean> {
    const { signingKey } = this.#database
    // A secret is still needed to verify; a private key is not, and its deletion limits the damage of a leak.
    const encryptedKey = isSymmetric(current.algorithm) ? current.encryptedKey : null
    const now = new Date()
    return this.#tryChange(
      signingKey.updateMany({
        where: { kid: current.kid, role: 'current' },
        data: { encryptedKey, ...retirement, role: null }
      }),
      signingKey.updateMany({ where: { kid: next.kid, role: 'next' }, data: { role: 'current', activatedAt: now } }),
      signingKey.create({ data: this.#createRow('next') }),
      signingKey.deleteMany({ where: { role: null, expiresAt: { lt: now } } })
    )
  }

  /** Runs the changes in one transaction. `role` is unique, so that of concurrent changes one succeeds. */
  async #tryChange(...changes: Prisma.PrismaPromise<unknown>[]): Promise<boolean> {
    try {
      await this.#database.$transaction(changes)
      return true
    } catch (error) {
      if (isUniqueViolation(error)) return false
      throw error
    } finally {
      await this.reload()
    }
  }

  #createRow(role: 'current' | 'next'): SigningKeyRow {
    return createRow(this.#settings.algorithm, role, this.#encryptionKey)
  }

  #rows(): Promise<SigningKeyRow[]> {
    return this.#database.signingKey.findMany()
  }

  async #roles(): Promise<[current: SigningKeyRow, next: SigningKeyRow]> {
    const rows = await this.#rows()
    const [current, next] = ['current', 'next'].map((role) => rows.find((row) => row.role === role))
    if (!current || !next) throw new ServiceUnavailable('The signing keys are being changed.')
    return [current, next]
  }

  async #load(): Promise<void> {
    const now = Date.now()
    const rows = await this.#rows()
    const accepted = rows.filter(
      ({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || +expiresAt > now)
    )
    const keys = new Map<string, RingKey>()
    for (const row of accepted) keys.set(row.kid, await this.#verifyingKey(row))
    for (const [kid, key] of this.#keys) if (!keys.has(kid)) key.acceptedUntil = 0
    this.#keys = keys
    const current = rows.find(({ role }) => role === 'current')
    if (current === undefined) this.#current = null
    else if (current.kid !== this.#current?.kid) {
      const key = decryptRow(current, this.#encryptionKey)
      this.#current = { kid: current.kid, key: createSigningKey(current.algorithm as Algorithm, key, current.kid) }
    }
  }

  /** Keeps the object of a key that is already cached, since cached results of its tokens refer to it. */
  async #verifyingKey(row: SigningKeyRow): Promise<RingKey> {
    const acceptedUntil = row.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY
    const cached = this.#keys.get(row.kid)
    if (cached !== undefined) return Object.assign(cached, { acceptedUntil })
    const algorithm = row.algorithm as Algorithm
    const jwk = row.publicJwk === null ? null : (JSON.parse(row.publicJwk) as Jwk)
    const key = jwk === null ? decryptRow(row, this.#encryptionKey) : readJwk(jwk).key
    return { algorithm, verify: await createVerifier(algorithm, key), acceptedUntil, jwk }
  }

  /** Returns when the last token expires that is signed before every process has noticed the rotation. */
  #lastExpiry(): Date {
    const { accessTokenLifetime, refreshTokenLifetime, slidingTokenLifetime, leeway } = this.#settings
    const longest = Math.max(accessTokenLifetime, refreshTokenLifetime, slidingTokenLifetime) + leeway
    return new Date(Date.now() + longest * 1000 + RETIREMENT_MARGIN_MS)
  }
}

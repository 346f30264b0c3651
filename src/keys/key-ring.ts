/**
 * The key ring: signing keys in the database, the private parts encrypted, one current, one next, the others previous or
 * revoked. Every process follows it, and looks again before it refuses a token for a key that it does not know.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Seal } from '../crypto/encryption.ts'
import { type Algorithm, isSymmetric, type Jwk, readJwk } from '../crypto/jwa.ts'
import { isUniqueViolation } from '../database/errors.ts'
import type { Database, Prisma, SigningKeyRow } from '../database/open.ts'
import { ServiceUnavailable } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import { type KeySummary, newRow, openRow, summariesOf } from './key-ring-rows.ts'
import {
  type CreateVerifier,
  fallbackKeys,
  type KeySet,
  PUBLISHED_FOR,
  type SigningKey,
  signingKey,
  type VerifyingKey
} from './key-set.ts'

/** All in milliseconds. How often the ring is read, and the least time between two readings that are asked for. */
const FOLLOWING = 2000
const PAUSE = 100
/** How long a process may go on signing with a key that has just been retired elsewhere. */
const MARGIN = 60_000
const THUMBPRINT = /^[\w-]{43}$/

interface RingKey extends VerifyingKey {
  readonly jwk: Jwk | null
}

export class KeyRing implements KeySet {
  readonly #settings: Settings
  readonly #database: Database
  readonly #createVerifier: CreateVerifier
  readonly #seal: Seal
  #fallbacks: readonly VerifyingKey[] = []
  #keys = new Map<string, RingKey>()
  #current: { kid: string; key: SigningKey } | null = null
  #reading: Promise<void> = Promise.resolve()
  #queued: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined

  private constructor(settings: Settings, database: Database, createVerifier: CreateVerifier) {
    this.#settings = settings
    this.#database = database
    this.#createVerifier = createVerifier
    this.#seal = new Seal(settings.keyEncryptionKey as string)
  }

  /**
   * Reads the ring, and makes its first keys if there are none.
   *
   * @param onFault told when the ring cannot be followed; the keys known so far go on
   * @throws {ImproperlyConfigured} if `keyEncryptionKey` does not open the keys
   */
  static async open(
    settings: Settings,
    database: Database,
    createVerifier: CreateVerifier,
    onFault: (error: unknown) => void
  ): Promise<KeyRing> {
    const ring = new KeyRing(settings, database, createVerifier)
    ring.#fallbacks = await fallbackKeys(settings, createVerifier)
    await ring.#read()
    if (ring.#current === null) await ring.#begin()
    ring.#timer = setInterval(() => void ring.#follow().catch(onFault), FOLLOWING).unref()
    return ring
  }

  get signing(): SigningKey {
    if (this.#current === null) throw new ServiceUnavailable('No signing key is available.')
    return this.#current.key
  }

  async find(algorithm: string, kid: string | undefined): Promise<readonly VerifyingKey[]> {
    if (kid !== undefined && THUMBPRINT.test(kid)) {
      // Another process may have made it just now.
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

  /** Reads the ring, beginning after this call; of many callers at once, one reads for all. */
  reload(): Promise<void> {
    this.#queued ??= this.#reading
      .catch(() => undefined)
      .then(() => sleep(PAUSE))
      .then(() => {
        this.#queued = null
        this.#reading = this.#read()
        return this.#reading
      })
    return this.#queued
  }

  /** The current one first, then the next, then the others, the newest first. */
  async list(): Promise<KeySummary[]> {
    return summariesOf(await this.#rows())
  }

  /**
   * Makes a next key, of the algorithm that is set now, in place of the one that has signed nothing yet.
   *
   * @returns its kid, or null if another process has changed the ring at the same time
   */
  async generate(): Promise<string | null> {
    const made = this.#newRow('next')
    const { signingKey } = this.#database
    const isMade = await this.#attempt(
      signingKey.deleteMany({ where: { role: 'next' } }),
      signingKey.create({ data: made })
    )
    return isMade ? made.kid : null
  }

  /**
   * The next key signs from now on, the one that did verifies until its last token has expired, and there is a new next one.
   *
   * @returns the new current key, or null if another process has changed the ring at the same time
   */
  async rotate(): Promise<string | null> {
    const [current, next] = await this.#roles()
    return (await this.#promote(current, next, { expiresAt: this.#lastExpiry() })) ? next.kid : null
  }

  /** How long the next key has been published, in milliseconds; those who verify may not know it before PUBLISHED_FOR. */
  async nextIsKnownFor(): Promise<number> {
    const [, next] = await this.#roles()
    return Date.now() - next.createdAt.getTime()
  }

  /**
   * The key's tokens are refused from now on; if it is the current one, the next one signs.
   *
   * @returns false if there is no such key, or another process has changed the ring at the same time
   */
  async revoke(kid: string): Promise<boolean> {
    const { signingKey } = this.#database
    const [current, next] = await this.#roles()
    const fate = { revokedAt: new Date(), sealed: null, expiresAt: this.#lastExpiry() }
    if (kid === current.kid) return this.#promote(current, next, fate)
    if (kid === next.kid) {
      return this.#attempt(
        signingKey.updateMany({ where: { kid, role: 'next' }, data: { ...fate, role: null } }),
        signingKey.create({ data: this.#newRow('next') })
      )
    }
    const { count } = await signingKey.updateMany({ where: { kid, role: null, revokedAt: null }, data: fate })
    await this.reload()
    return count === 1
  }

  async #begin(): Promise<void> {
    try {
      await this.#database.signingKey.createMany({ data: [this.#newRow('current'), this.#newRow('next')] })
    } catch (error) {
      // Another process, started at the same time, was faster.
      if (!isUniqueViolation(error)) throw error
    }
    await this.#read()
  }

  async #follow(): Promise<void> {
    await this.reload()
    const { keyRotationAge } = this.#settings
    if (keyRotationAge === null) return
    const [{ activatedAt }, next] = await this.#roles()
    const isOld = Date.now() - +(activatedAt ?? 0) >= keyRotationAge * 1000
    if (isOld && Date.now() - +next.createdAt >= PUBLISHED_FOR) await this.rotate()
  }

  #promote(current: SigningKeyRow, next: SigningKeyRow, fate: Partial<SigningKeyRow>): Promise<boolean> {
    const { signingKey } = this.#database
    const sealed = isSymmetric(current.algorithm) ? current.sealed : null
    const now = new Date()
    return this.#attempt(
      signingKey.updateMany({ where: { kid: current.kid, role: 'current' }, data: { sealed, ...fate, role: null } }),
      signingKey.updateMany({ where: { kid: next.kid, role: 'next' }, data: { role: 'current', activatedAt: now } }),
      signingKey.create({ data: this.#newRow('next') }),
      signingKey.deleteMany({ where: { role: null, expiresAt: { lt: now } } })
    )
  }

  /** All or nothing: the unique role decides between processes that change the ring at the same time. */
  async #attempt(...changes: Prisma.PrismaPromise<unknown>[]): Promise<boolean> {
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

  #newRow(role: 'current' | 'next'): SigningKeyRow {
    return newRow(this.#settings.algorithm, role, this.#seal)
  }

  #rows(): Promise<SigningKeyRow[]> {
    return this.#database.signingKey.findMany()
  }

  async #roles(): Promise<[current: SigningKeyRow, next: SigningKeyRow]> {
    const rows = await this.#rows()
    const [current, next] = ['current', 'next'].map((role) => rows.find((row) => row.role === role))
    if (!current || !next) throw new ServiceUnavailable('The key ring is being changed.')
    return [current, next]
  }

  async #read(): Promise<void> {
    const now = Date.now()
    const rows = await this.#rows()
    const good = rows.filter(
      ({ revokedAt, expiresAt }) => revokedAt === null && (expiresAt === null || +expiresAt > now)
    )
    const keys = new Map<string, RingKey>()
    for (const row of good) keys.set(row.kid, await this.#verifyingKey(row))
    for (const [kid, key] of this.#keys) if (!keys.has(kid)) key.acceptedUntil = 0
    this.#keys = keys
    const current = rows.find(({ role }) => role === 'current')
    if (current === undefined) this.#current = null
    else if (current.kid !== this.#current?.kid) {
      const algorithm = current.algorithm as Algorithm
      this.#current = { kid: current.kid, key: signingKey(algorithm, openRow(current, this.#seal), current.kid) }
    }
  }

  async #verifyingKey(row: SigningKeyRow): Promise<RingKey> {
    const acceptedUntil = row.expiresAt?.getTime() ?? Number.POSITIVE_INFINITY
    const known = this.#keys.get(row.kid)
    if (known !== undefined) return Object.assign(known, { acceptedUntil })
    const algorithm = row.algorithm as Algorithm
    const jwk = row.publicJwk === null ? null : (JSON.parse(row.publicJwk) as Jwk)
    const key = jwk === null ? openRow(row, this.#seal) : readJwk(jwk).key
    return { algorithm, verify: await this.#createVerifier(algorithm, key), acceptedUntil, jwk }
  }

  /** Of tokens that are signed until all processes have heard of it. */
  #lastExpiry(): Date {
    const { accessTokenLifetime, refreshTokenLifetime, slidingTokenLifetime, leeway } = this.#settings
    const longest = Math.max(accessTokenLifetime, refreshTokenLifetime, slidingTokenLifetime) + leeway
    return new Date(Date.now() + longest * 1000 + MARGIN)
  }
}

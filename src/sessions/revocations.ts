/**
 * The list of revoked access tokens. Every process keeps it in memory, so that a request causes no query, and keeps it up
 * to date by PostgreSQL's notifications and by polling.
 */
import type { Database } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'
import { isSid, revocationEnd } from './session-rows.ts'

/** Longer than any transaction: after this time no row with a lower id can appear. */
const SETTLED_AFTER_MS = 15_000
const PRUNE_INTERVAL_MS = 60_000

/** The PostgreSQL channel that a trigger on `latchkey_revocation` notifies. */
const CHANNEL = 'latchkey_revocation'

/** The claims of a token. */
type Claims = Readonly<Record<string, unknown>>

interface Enforced {
  revoked_sid?: string
  revoked_subject?: string
  kept_sid?: string | null
}

interface Cutoff {
  /** The session whose tokens are not concerned. */
  keptSid?: string | null
  /** Whole seconds: tokens that were issued in this second or before are revoked. */
  revokedAt: number
  until: number
}

export class Revocations {
  readonly #settings: Settings
  readonly #database: Database
  readonly #onFault: (error: unknown) => void
  /** Until when, in milliseconds, by `sid`. */
  readonly #sessions = new Map<string, number>()
  readonly #subjects = new Map<string, Cutoff>()
  /** Active sessions whose older access tokens have outdated claims. */
  readonly #outdated = new Map<string, Cutoff>()
  /** Ids and when they were first seen: no row can appear below the oldest id that is not settled. */
  #recent: { id: bigint; seenAt: number }[] = []
  #settled = 0n
  /** The highest id at the last read. */
  #newest = 0n
  #lastSync = Number.NEGATIVE_INFINITY
  #isFaulty = false
  #reading: Promise<void> | null = null
  #queued: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined
  #prunedAt = 0
  #close: (() => Promise<void>) | null = null
  #isClosed = false

  /** @param onFault called once per outage when the list cannot be read; the known revocations stay in force */
  constructor(settings: Settings, database: Database, onFault: (error: unknown) => void = () => {}) {
    this.#settings = settings
    this.#database = database
    this.#onFault = onFault
  }

  /** Reads the list and keeps it up to date until `close`. */
  async start(): Promise<void> {
    await this.#read()
    const { revocationPoll } = this.#settings
    this.#close = await this.#database.listen(CHANNEL, () => void this.sync())
    const poll = async () => {
      await this.sync()
      if (!this.#isClosed) this.#timer = setTimeout(poll, revocationPoll * 1000).unref()
    }
    this.#timer = setTimeout(poll, revocationPoll * 1000).unref()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#close?.()
  }

  /** True if a token with these claims was revoked. */
  isRevoked(claims: Claims): boolean {
    const { sid } = claims
    if (typeof sid === 'string') {
      if ((this.#sessions.get(sid) ?? 0) > Date.now() || isBefore(claims, this.#outdated.get(sid))) return true
    }
    // Where every request reads the user's row, that decides.
    if (this.#subjects.size === 0 || !this.#settings.stateless) return false
    const cutoff = this.#subjects.get(String(claims[this.#settings.userIdClaim]))
    if (typeof sid === 'string' && cutoff?.keptSid === sid) return false
    // A session of our own that was started within that second is newer than what was revoked, or is revoked by its id.
    return isBefore(claims, cutoff, isSid(sid) && this.#settings.jwkUrl === null)
  }

  /**
   * Rejects from memory what a transaction of this process has revoked, so that it is enforced even if the list cannot be
   * read afterwards.
   *
   * @param results of the transaction's statements; see `endStatements`
   */
  enforce(results: readonly unknown[]): void {
    const until = revocationEnd(this.#settings, new Date()).getTime()
    const revokedAt = Math.floor(Date.now() / 1000)
    for (const row of results.flat()) {
      const { revoked_sid: sid, revoked_subject: subject, kept_sid: keptSid } = (row ?? {}) as Enforced
      if (sid) this.#sessions.set(sid, until)
      else if (subject) this.#subjects.set(subject, { revokedAt, until, keptSid: keptSid ?? null })
    }
  }

  /** Seconds since the list was last read; Infinity before the first time. */
  get secondsSinceSync(): number {
    return (performance.now() - this.#lastSync) / 1000
  }

  /** Reads new rows, starting after this call; concurrent calls share one query. Never throws. */
  sync(): Promise<void> {
    if (this.#queued !== null) return this.#queued
    this.#queued = (this.#reading ?? Promise.resolve()).then(() => {
      this.#queued = null
      this.#reading = this.#read().then(
        () => {
          this.#isFaulty = false
        },
        (error) => {
          if (!this.#isFaulty && !this.#isClosed) this.#onFault(error)
          // An outage may be a failover or a restore: everything is read again.
          this.#settled = 0n
          this.#recent = []
          this.#isFaulty = true
        }
      )
      return this.#reading
    })
    return this.#queued
  }

  async #read(): Promise<void> {
    await this.#detectRestore()
    const rows = await this.#database.revocation.findMany({
      where: { id: { gt: this.#settled }, expiresAt: { gt: new Date() } },
      orderBy: { id: 'asc' }
    })
    for (const { sid, subject, revokedAt, expiresAt } of rows) {
      const cutoff = { revokedAt: Math.floor(revokedAt.getTime() / 1000), until: expiresAt.getTime() }
      // A subject with a `sid`: all tokens of the user but those of that session.
      if (subject) this.#subjects.set(subject, { ...cutoff, keptSid: sid })
      else if (sid === null) continue
      else if (subject === null) this.#sessions.set(sid, cutoff.until)
      else this.#outdated.set(sid, cutoff)
    }
    this.#lastSync = performance.now()
    this.#settle(rows.map(({ id }) => id))
    if (this.#lastSync - this.#prunedAt > PRUNE_INTERVAL_MS) this.#prune()
  }

  /**
   * Starts over if the newest row is gone: rows that expire are deleted, but a database that was restored, or a replica that
   * lagged, issues the same ids again.
   */
  async #detectRestore(): Promise<void> {
    const { _max } = await this.#database.revocation.aggregate({ _max: { id: true } })
    const newest = _max.id ?? 0n
    if (newest < this.#newest) {
      this.#settled = 0n
      this.#recent = []
    }
    this.#newest = newest
  }

  /** A transaction can commit after another one that took a higher id. */
  #settle(ids: readonly bigint[]): void {
    const now = this.#lastSync
    const known = new Set(this.#recent.map(({ id }) => id))
    for (const id of ids) if (!known.has(id)) this.#recent.push({ id, seenAt: now })
    const settled = this.#recent.filter(({ seenAt }) => now - seenAt > SETTLED_AFTER_MS)
    for (const { id } of settled) if (id > this.#settled) this.#settled = id
    this.#recent = this.#recent.filter(({ id }) => id > this.#settled)
  }

  #prune(): void {
    this.#prunedAt = this.#lastSync
    const now = Date.now()
    for (const [sid, until] of this.#sessions) if (until <= now) this.#sessions.delete(sid)
    for (const cutoffs of [this.#subjects, this.#outdated]) {
      for (const [name, { until }] of cutoffs) if (until <= now) cutoffs.delete(name)
    }
  }
}

/** True if the token was issued before the cutoff, or in the same second unless `isExclusive`. */
const isBefore = ({ iat }: Claims, cutoff: Cutoff | undefined, isExclusive = false): boolean =>
  cutoff !== undefined &&
  cutoff.until > Date.now() &&
  !(Number(iat) > cutoff.revokedAt || (isExclusive && Number(iat) === cutoff.revokedAt))

/**
 * The list of revoked access tokens. Every process keeps it in memory, so that a request causes no query, and keeps it up
 * to date by PostgreSQL's notifications and by polling.
 */
import type { Database } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'
import { isSid, revocationEnd, subjectEnd } from './session-rows.ts'

/** Longer than any transaction: after this time no row with a lower id can appear. */
const SETTLED_AFTER_MS = 15_000
const PRUNE_INTERVAL_MS = 60_000
/** Another process deletes expired rows by its own clock. */
const CLOCK_SKEW_MS = 60_000

/** The PostgreSQL channel that a trigger on `latchkey_revocation` notifies. */
const CHANNEL = 'latchkey_revocation'

/** A row of `latchkey_revocation`. */
interface RevocationRow {
  id: bigint
  sid: string | null
  subject: string | null
  revokedAt: Date
  expiresAt: Date
}

/** The claims of a token. */
type Claims = Readonly<Record<string, unknown>>

/** The columns by which `enforce` recognizes what a transaction has revoked. */
interface Enforced {
  revoked_sid?: string
  revoked_subject?: string
  kept_sid?: string | null
  revoked_ms?: number | bigint
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
  readonly #onRestore: () => void
  /** Until when, in milliseconds, by `sid`. */
  readonly #sessions = new Map<string, number>()
  readonly #subjects = new Map<string, Cutoff>()
  /** Active sessions whose older access tokens have outdated claims. */
  readonly #outdated = new Map<string, Cutoff>()
  /** Ids and when they were first seen: no row can appear below the oldest id that is not settled. */
  #recent: { id: bigint; seenAt: number }[] = []
  #settled = 0n
  /** The row with the highest id at the last read. */
  #newest: RevocationRow | null = null
  #lastSync = Number.NEGATIVE_INFINITY
  #isFaulty = false
  #reading: Promise<void> | null = null
  #queued: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined
  #prunedAt = 0
  #close: (() => Promise<void>) | null = null
  #isClosed = false

  /**
   * @param onFault called once per outage when the list cannot be read; the known revocations stay in force
   * @param onRestore called when the database is found to be in an earlier state than before
   */
  constructor(
    settings: Settings,
    database: Database,
    onFault: (error: unknown) => void = () => {},
    onRestore: () => void = () => {}
  ) {
    this.#settings = settings
    this.#database = database
    this.#onFault = onFault
    this.#onRestore = onRestore
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

  /**
   * True if a token with these claims was revoked: where every request reads the user's row, which decides about the user,
   * only if its session was.
   */
  isRevoked(claims: Claims): boolean {
    const { sid } = claims
    if (typeof sid === 'string') {
      if ((this.#sessions.get(sid) ?? 0) > Date.now() || isBefore(claims, this.#outdated.get(sid))) return true
    }
    return this.#settings.stateless && this.isUserRevoked(claims)
  }

  /** True if all tokens of this user that were issued at that time were revoked. */
  isUserRevoked(claims: Claims): boolean {
    if (this.#subjects.size === 0) return false
    const { sid } = claims
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
    for (const result of results.flat()) {
      const row = (result ?? {}) as Enforced
      if (row.revoked_sid) {
        this.#sessions.set(row.revoked_sid, Math.max(until, this.#sessions.get(row.revoked_sid) ?? 0))
      } else if (row.revoked_subject) {
        const revokedAt = new Date(Number(row.revoked_ms))
        const cutoff = cutoffOf({ revokedAt, expiresAt: subjectEnd(this.#settings, revokedAt) })
        setCutoff(this.#subjects, row.revoked_subject, { ...cutoff, keptSid: row.kept_sid ?? null })
      }
    }
  }

  /** As enforce, for sessions whose access tokens have outdated claims. @param rows see `outdatedClaimsRow` */
  enforceOutdated(rows: readonly { sid: string; revokedAt: Date; expiresAt: Date }[]): void {
    for (const row of rows) setCutoff(this.#outdated, row.sid, cutoffOf(row))
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
    const rows: RevocationRow[] = await this.#database.revocation.findMany({
      where: { id: { gt: this.#settled }, expiresAt: { gt: new Date() } },
      orderBy: { id: 'asc' }
    })
    for (const row of rows) {
      const { sid, subject } = row
      const cutoff = cutoffOf(row)
      // A subject with a `sid`: all tokens of the user but those of that session.
      if (subject) setCutoff(this.#subjects, subject, { ...cutoff, keptSid: sid })
      else if (sid === null) continue
      else if (subject === null) this.#sessions.set(sid, Math.max(cutoff.until, this.#sessions.get(sid) ?? 0))
      else setCutoff(this.#outdated, sid, cutoff)
    }
    this.#newest = rows.at(-1) ?? this.#newest
    this.#lastSync = performance.now()
    this.#settle(rows.map(({ id }) => id))
    if (this.#lastSync - this.#prunedAt > PRUNE_INTERVAL_MS) this.#prune()
  }

  /**
   * Starts over if the newest known row is no longer there, or is another one: a database that was restored, or a replica
   * that lagged, issues the same ids again. Only rows that have expired are deleted.
   */
  async #detectRestore(): Promise<void> {
    const known = this.#newest
    if (known === null) return
    const row = await this.#database.revocation.findUnique({ where: { id: known.id } })
    if (row !== null && isSameRow(row, known)) return
    this.#newest = null
    this.#settled = 0n
    this.#recent = []
    if (row !== null || known.expiresAt.getTime() > Date.now() + CLOCK_SKEW_MS) this.#onRestore()
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

const isSameRow = (one: RevocationRow, other: RevocationRow) =>
  one.sid === other.sid && one.subject === other.subject && one.revokedAt.getTime() === other.revokedAt.getTime()

const cutoffOf = ({ revokedAt, expiresAt }: Pick<RevocationRow, 'revokedAt' | 'expiresAt'>): Cutoff => ({
  revokedAt: Math.floor(revokedAt.getTime() / 1000),
  until: expiresAt.getTime()
})

/** An older revocation, which is read later, does not shorten a newer one. */
function setCutoff(cutoffs: Map<string, Cutoff>, name: string, cutoff: Cutoff): void {
  const known = cutoffs.get(name)
  if (known === undefined) cutoffs.set(name, cutoff)
  else {
    const until = Math.max(known.until, cutoff.until)
    cutoffs.set(name, { ...(cutoff.revokedAt >= known.revokedAt ? cutoff : known), until })
  }
}

/** True if the token was issued before the cutoff, or in the same second unless `isExclusive`. */
const isBefore = ({ iat }: Claims, cutoff: Cutoff | undefined, isExclusive = false): boolean =>
  cutoff !== undefined &&
  cutoff.until > Date.now() &&
  !(Number(iat) > cutoff.revokedAt || (isExclusive && Number(iat) === cutoff.revokedAt))

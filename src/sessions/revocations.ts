/**
 * What access tokens are refused before they expire. Every process keeps the list in memory, so that a request asks no
 * database, and follows it: by a notice where the database gives one, and by looking again every now and then.
 */
import type { Database } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'

/** How long a row may be under way behind one with a higher id, in milliseconds: longer than any transaction takes. */
const SETTLED = 15_000
const PRUNING = 60_000

/** The PostgreSQL channel that a trigger on `latchkey_revocation` notifies. */
const CHANNEL = 'latchkey_revocation'

/** What of a token's claims is looked at. */
type Claims = Readonly<Record<string, unknown>>

interface Older {
  /** Whole seconds: tokens that were made in it, or before, are refused. */
  revokedAt: number
  until: number
}

export class Revocations {
  readonly #settings: Settings
  readonly #database: Database
  readonly #onFault: (error: unknown) => void
  /** Until when, in milliseconds, by `sid`. */
  readonly #sessions = new Map<string, number>()
  readonly #subjects = new Map<string, Older>()
  /** Sessions that go on, but whose older access tokens tell of rights that are others now. */
  readonly #stale = new Map<string, Older>()
  /** Ids and when they were first seen: below the oldest that is not settled, nothing new can come. */
  #recent: { id: bigint; seenAt: number }[] = []
  #settled = 0n
  #lastHeard = Number.NEGATIVE_INFINITY
  #isFaulty = false
  #reading: Promise<void> | null = null
  #queued: Promise<void> | null = null
  #timer: NodeJS.Timeout | undefined
  #prunedAt = 0
  #close: (() => Promise<void>) | null = null
  #isClosed = false

  /** @param onFault told once when the list cannot be read; what is known is refused all the same */
  constructor(settings: Settings, database: Database, onFault: (error: unknown) => void = () => {}) {
    this.#settings = settings
    this.#database = database
    this.#onFault = onFault
  }

  /** Reads the list, and follows it from now on. */
  async follow(): Promise<void> {
    await this.#read()
    const { revocationPoll } = this.#settings
    this.#close = await this.#database.listen(CHANNEL, () => void this.hear())
    const look = async () => {
      await this.hear()
      if (!this.#isClosed) this.#timer = setTimeout(look, revocationPoll * 1000).unref()
    }
    this.#timer = setTimeout(look, revocationPoll * 1000).unref()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearTimeout(this.#timer)
    await this.#close?.()
  }

  /** Is a token with these claims refused, though nothing else is wrong with it? */
  refuses(claims: Claims): boolean {
    const { sid } = claims
    if (typeof sid === 'string') {
      return (this.#sessions.get(sid) ?? 0) > Date.now() || isOlder(claims, this.#stale.get(sid))
    }
    // Where the user's row is read, that says more.
    if (this.#subjects.size === 0 || !this.#settings.stateless) return false
    return isOlder(claims, this.#subjects.get(String(claims[this.#settings.userIdClaim])))
  }

  /** For how many seconds the list could not be read; Infinity before it was for the first time. */
  get silence(): number {
    return (performance.now() - this.#lastHeard) / 1000
  }

  /** Reads what is new, beginning after this call; of many callers at once, one reads for all. Never throws. */
  hear(): Promise<void> {
    if (this.#queued !== null) return this.#queued
    this.#queued = (this.#reading ?? Promise.resolve()).then(() => {
      this.#queued = null
      this.#reading = this.#read().then(
        () => {
          this.#isFaulty = false
        },
        (error) => {
          if (!this.#isFaulty && !this.#isClosed) this.#onFault(error)
          this.#isFaulty = true
        }
      )
      return this.#reading
    })
    return this.#queued
  }

  async #read(): Promise<void> {
    const rows = await this.#database.revocation.findMany({
      where: { id: { gt: this.#settled }, expiresAt: { gt: new Date() } },
      orderBy: { id: 'asc' }
    })
    for (const { sid, subject, revokedAt, expiresAt } of rows) {
      const older = { revokedAt: Math.floor(revokedAt.getTime() / 1000), until: expiresAt.getTime() }
      if (sid === null) this.#subjects.set(subject as string, older)
      else if (subject === null) this.#sessions.set(sid, older.until)
      else this.#stale.set(sid, older)
    }
    this.#lastHeard = performance.now()
    this.#settle(rows.map(({ id }) => id))
    if (this.#lastHeard - this.#prunedAt > PRUNING) this.#prune()
  }

  /** A transaction that has taken its id before another may end after it. */
  #settle(ids: readonly bigint[]): void {
    const now = this.#lastHeard
    const known = new Set(this.#recent.map(({ id }) => id))
    for (const id of ids) if (!known.has(id)) this.#recent.push({ id, seenAt: now })
    const settled = this.#recent.filter(({ seenAt }) => now - seenAt > SETTLED)
    for (const { id } of settled) if (id > this.#settled) this.#settled = id
    this.#recent = this.#recent.filter(({ id }) => id > this.#settled)
  }

  #prune(): void {
    this.#prunedAt = this.#lastHeard
    const now = Date.now()
    for (const [sid, until] of this.#sessions) if (until <= now) this.#sessions.delete(sid)
    for (const older of [this.#subjects, this.#stale]) {
      for (const [name, { until }] of older) if (until <= now) older.delete(name)
    }
  }
}

/** Was this token made before that, or in the same second? */
const isOlder = ({ iat }: Claims, than: Older | undefined): boolean =>
  than !== undefined && than.until > Date.now() && !(Number(iat) > than.revokedAt)

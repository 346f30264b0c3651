/**
 * Logins and their lives: one row each, which decides every race. The jti that may be used next is swapped by one
 * conditional statement; who comes second with the same token is given the same successor, and who comes with an older
 * one has ended the session.
 */
import type { Database, Prisma, SessionRow } from '../database/open.ts'
import { AuthenticationFailed, InvalidToken, ServiceUnavailable, ValidationError } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import { flushExpired } from './cleanup.ts'
import type { Revocations } from './revocations.ts'
import {
  adoptedSid,
  boundedOf,
  type Device,
  endingOf,
  endingsOfUser,
  insertSession,
  isSid,
  newRow,
  staleClaims,
  type Turn
} from './session-rows.ts'

/** Why a session has ended; `reuse` of the token before (without grace), or of an older one; `staff` has ended it. */
export type EndReason =
  | 'logout'
  | 'staff'
  | 'password'
  | 'inactive'
  | 'deleted'
  | 'limit'
  | 'reuse_previous'
  | 'reuse_older'

/** A session as its user sees it. */
export type SessionSummary = Pick<
  SessionRow,
  'id' | 'label' | 'userAgent' | 'address' | 'createdAt' | 'refreshedAt' | 'expiresAt'
>

/** Told of a refresh token that was used again by another than its owner, or by its owner after somebody else. */
export type OnReuse = (reuse: { sid: string; userId: number; kind: 'previous' | 'older' }) => void

const NO_ACCOUNT = 'No active account found for the given token.'
const MOST = 500
const MAX_ATTEMPTS = 5
const NOWHERE: Device = { userAgent: '', address: '' }

const SUMMARY = {
  ...{ id: true, label: true, userAgent: true, address: true, createdAt: true, refreshedAt: true, expiresAt: true }
} as const

export class Sessions {
  readonly #database: Database
  readonly #settings: Settings
  readonly #revocations: Revocations
  readonly #onReuse: OnReuse
  readonly #tellsRights: boolean

  /** @param tellsRights whether access tokens have claims that a refresh makes afresh */
  constructor(
    database: Database,
    settings: Settings,
    revocations: Revocations,
    { onReuse = () => {}, tellsRights = false }: { onReuse?: OnReuse; tellsRights?: boolean } = {}
  ) {
    this.#tellsRights = tellsRights
    this.#database = database
    this.#settings = settings
    this.#revocations = revocations
    this.#onReuse = onReuse
  }

  /** When a session that begins now ends at the latest. */
  endOf(now: Date): Date {
    return new Date(now.getTime() + this.#settings.sessionMaxAge * 1000)
  }

  /**
   * Begins a session, unless the user has been deactivated, deleted or given another password since it was read.
   *
   * @param user with the stored password that was found right
   * @returns whether it has begun
   */
  async start(
    sid: string,
    user: { id: number; password: string },
    turn: Turn,
    device: Device = NOWHERE
  ): Promise<boolean> {
    const row = { ...newRow(sid, user.id, turn, this.endOf(turn.issuedAt)), ...boundedOf(device) }
    const password = user.password
    const isActive = this.#settings.checkUserIsActive
    if ((await insertSession(this.#database, row, { password, isActive })) === 0) {
      return false
    }
    if (this.#settings.sessionLimit !== null) await this.#endBeyond(user.id, this.#settings.sessionLimit)
    return true
  }

  /**
   * A session for a refresh token that was made without one, by SimpleJWT or before there were sessions.
   *
   * @param alongside what else is to happen, or nothing of it
   * @throws a unique violation if it was adopted already
   */
  async adopt(
    userId: number,
    jti: string,
    turn: Turn,
    alongside: Prisma.PrismaPromise<unknown>[],
    device: Device = NOWHERE
  ): Promise<void> {
    const row = newRow(adoptedSid(jti), userId, turn, this.endOf(turn.issuedAt))
    const data = { ...row, ...boundedOf(device), previousJti: jti }
    await this.#database.$transaction([this.#database.session.create({ data, select: { id: true } }), ...alongside])
  }

  /** True if a token that names no session has one since it was adopted. */
  async isAdopted(jti: string): Promise<boolean> {
    const where = { id: adoptedSid(jti) }
    return (await this.#database.session.findUnique({ where, select: { id: true } })) !== null
  }

  /**
   * Exchanges the token for the next one, in one statement. Of parallel uses one makes the next, and the others get the same.
   *
   * @param next what the next one is to be; it ends with the session at the latest
   * @returns what it is
   * @throws {InvalidToken} if the session has ended, or ends here since the token is an older one
   * @throws {AuthenticationFailed} if its user is gone or inactive
   */
  async rotate(sid: string, jti: string, next: Turn): Promise<Turn> {
    for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts++) {
      const change = { previousJti: jti, jti: next.jti, refreshedAt: next.issuedAt, idleExpiresAt: next.expiresAt }
      if (await this.#swap({ id: sid, jti, expiresAt: { gte: next.expiresAt } }, change)) return next
      const row = await this.#live(sid)
      if (row.jti !== jti) return this.#answerAgain(row, jti)
      // In the last days of the session.
      if (row.expiresAt <= next.issuedAt) throw new InvalidToken('Token is expired')
      if (row.expiresAt < next.expiresAt) next = { ...next, expiresAt: row.expiresAt }
    }
    throw new ServiceUnavailable()
  }

  /**
   * The same for a token that stays as it is: only the time of its last use is noted.
   *
   * @throws as rotate
   */
  async touch(sid: string, jti: string, now: Date): Promise<void> {
    if (await this.#swap({ id: sid, jti, expiresAt: { gt: now } }, { refreshedAt: now })) return
    const row = await this.#live(sid)
    if (row.jti !== jti) await this.#answerAgain(row, jti)
    if (row.expiresAt <= now) throw new InvalidToken('Token is expired')
  }

  /** Would this refresh token be good for anything? */
  async isLive(sid: string, jti: string): Promise<boolean> {
    const row = await this.#database.session.findUnique({ where: { id: sid } })
    if (row === null || row.endedAt !== null) return false
    return row.jti === jti || (row.previousJti === jti && this.#settings.rotationGrace > 0)
  }

  /**
   * Ends a session: its refresh token is good no more, its access tokens are refused everywhere within a second.
   *
   * @param userId only if it is this user's
   * @returns false if there is none that has not ended
   */
  async end(sid: string, reason: EndReason, userId?: number): Promise<boolean> {
    const where = { id: sid, endedAt: null, ...(userId !== undefined && { userId }) }
    const [{ count }] = await this.#database.$transaction(endingOf(this.#database, this.#settings, where, reason))
    if (count === 1) await this.#revocations.hear()
    return count === 1
  }

  /** Ends a user's sessions. @param except the one that stays */
  async endAll(userId: number, reason: EndReason, except: string | null = null): Promise<void> {
    await this.#database.$transaction(this.endings(userId, reason, except))
    await this.hear()
  }

  /**
   * The same for the transaction of somebody else's change to the user; behind it, so that no login slips in, and before the
   * user is deleted. Call hear when that is done.
   */
  endings(userId: number, reason: EndReason, except: string | null = null): Prisma.PrismaPromise<unknown>[] {
    return endingsOfUser(this.#database, this.#settings, userId, reason, except)
  }

  /**
   * Makes a change to the rights of these users; access tokens from before it, which may tell of other rights, are refused
   * from now on, and renewed by a refresh.
   */
  async changeRights<Result>(users: Prisma.UserWhereInput, change: () => Promise<Result>): Promise<Result> {
    if (!this.#tellsRights) return change()
    const before = await this.#sidsOf(users)
    const result = await change()
    // Who was in a group, and who is.
    const sids = new Set([...before, ...(await this.#sidsOf(users))])
    const data = [...sids].map((sid) => staleClaims(this.#settings, sid))
    if (data.length > 0) await this.#database.revocation.createMany({ data })
    await this.hear()
    return result
  }

  /** Has what has just ended refused here, too. */
  hear(): Promise<void> {
    return this.#revocations.hear()
  }

  /** Those that have not ended, the one used last first. At most 500. */
  async list(userId: number): Promise<SessionSummary[]> {
    const where = { userId, endedAt: null, idleExpiresAt: { gt: new Date() } }
    return this.#database.session.findMany({
      ...{ where, select: SUMMARY, take: MOST },
      orderBy: [{ refreshedAt: 'desc' }, { id: 'asc' }]
    })
  }

  /** @returns null if the user has no such session that has not ended */
  async get(userId: number, sid: string): Promise<SessionSummary | null> {
    if (!isSid(sid)) return null
    const where = { id: sid, userId, endedAt: null, idleExpiresAt: { gt: new Date() } }
    return this.#database.session.findFirst({ where, select: SUMMARY })
  }

  /** @param label at most 100 characters, by which the user knows the device */
  async rename(userId: number, sid: string, label: string): Promise<void> {
    if ([...label].length > 100 || label.includes('\0') || !label.isWellFormed()) {
      throw new ValidationError({ label: ['Ensure this field has no more than 100 characters.'] })
    }
    await this.#database.session.updateMany({ where: { id: sid, userId, endedAt: null }, data: { label } })
  }

  /** Deletes what has expired; how many sessions were. */
  flushExpired(): Promise<number> {
    return flushExpired(this.#database)
  }

  async #sidsOf(users: Prisma.UserWhereInput): Promise<string[]> {
    const where = { endedAt: null, idleExpiresAt: { gt: new Date() }, user: users }
    return (await this.#database.session.findMany({ where, select: { id: true } })).map(({ id }) => id)
  }

  async #swap(where: Prisma.SessionWhereInput, data: Partial<SessionRow>): Promise<boolean> {
    const user = this.#settings.checkUserIsActive ? { isActive: true } : {}
    const live = { ...where, endedAt: null, user: { is: user } }
    return (await this.#database.session.updateMany({ where: live, data })).count === 1
  }

  /** Why the statement has found nothing to change, if the session cannot be gone on with. */
  async #live(sid: string): Promise<SessionRow> {
    const row = await this.#database.session.findUnique({ where: { id: sid } })
    if (row === null || row.endedAt !== null) throw new InvalidToken('Token is blacklisted')
    const user = await this.#database.user.findUnique({ where: { id: row.userId }, select: { isActive: true } })
    if (user === null || (this.#settings.checkUserIsActive && !user.isActive)) {
      throw new AuthenticationFailed(NO_ACCOUNT)
    }
    return row
  }

  /** The same successor for the token before; an older one has been used by two, and nobody can tell which is the thief. */
  async #answerAgain(row: SessionRow, jti: string): Promise<Turn> {
    const isPrevious = row.previousJti === jti
    if (isPrevious && this.#settings.rotationGrace > 0) {
      return { jti: row.jti, issuedAt: row.refreshedAt, expiresAt: row.idleExpiresAt }
    }
    const kind = isPrevious ? 'previous' : 'older'
    // Committed by itself: the error that reports it must not take it back.
    if (await this.end(row.id, `reuse_${kind}`)) this.#onReuse({ sid: row.id, userId: row.userId, kind })
    throw new InvalidToken('Token is blacklisted')
  }

  /** The oldest go. After each login's own row is there: whichever of parallel logins comes here last sees them all. */
  async #endBeyond(userId: number, limit: number): Promise<void> {
    const where = { userId, endedAt: null, idleExpiresAt: { gt: new Date() } }
    const beyond = await this.#database.session.findMany({
      ...{ where, select: { id: true }, skip: limit, take: MOST },
      orderBy: [{ createdAt: 'desc' }, { id: 'desc' }]
    })
    for (const { id } of beyond) await this.end(id, 'limit')
  }
}

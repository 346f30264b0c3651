/**
 * Login sessions: one row of `latchkey_session` for each login, which decides every race. A refresh swaps the jti that may be
 * used next by one conditional statement. A concurrent or repeated use of the same token gets the same successor; use of an
 * older token is reuse, and ends the session.
 */
import type { Database, Prisma, SessionRow } from '../database/open.ts'
import { AuthenticationFailed, InvalidToken, ServiceUnavailable, ValidationError } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import { deleteExpired } from './cleanup.ts'
import type { Revocations } from './revocations.ts'
import {
  adoptedSid,
  type Device,
  endStatements,
  endStatementsForUser,
  insertSession,
  isSid,
  newRow,
  outdatedClaimsRow,
  type TokenState,
  truncateDevice
} from './session-rows.ts'

/** Why a session ended. `reuse_previous`: the rotated token was used again without a grace period; `staff`: ended by staff. */
export type EndReason =
  | 'logout'
  | 'staff'
  | 'password'
  | 'inactive'
  | 'deleted'
  | 'limit'
  | 'reuse_previous'
  | 'reuse_older'

/** A session as shown to its user. */
export type SessionSummary = Pick<
  SessionRow,
  'id' | 'label' | 'userAgent' | 'address' | 'createdAt' | 'refreshedAt' | 'expiresAt'
>

/** Called when reuse of a refresh token is detected. */
export type OnReuse = (reuse: { sid: string; userId: number; kind: 'previous' | 'older' }) => void

const NO_ACCOUNT = 'No active account found for the given token.'
const MAX_LISTED = 500
const MAX_ATTEMPTS = 5
const UNKNOWN_DEVICE: Device = { userAgent: '', address: '' }

const SUMMARY = {
  id: true,
  label: true,
  userAgent: true,
  address: true,
  createdAt: true,
  refreshedAt: true,
  expiresAt: true
} as const

export class Sessions {
  readonly #database: Database
  readonly #settings: Settings
  readonly #revocations: Revocations
  readonly #onReuse: OnReuse
  readonly #hasRenewedClaims: boolean

  /** @param hasRenewedClaims true if access tokens have custom claims that each refresh renews; they may name rights */
  constructor(
    database: Database,
    settings: Settings,
    revocations: Revocations,
    { onReuse = () => {}, hasRenewedClaims = false }: { onReuse?: OnReuse; hasRenewedClaims?: boolean } = {}
  ) {
    this.#hasRenewedClaims = hasRenewedClaims
    this.#database = database
    this.#settings = settings
    this.#revocations = revocations
    this.#onReuse = onReuse
  }

  /** When a session that starts now ends at the latest. */
  expiryOf(now: Date): Date {
    return new Date(now.getTime() + this.#settings.sessionMaxAge * 1000)
  }

  /**
   * Starts a session, unless the user was deactivated, deleted or given another password since it was read.
   *
   * @param user with the password hash that the credentials were checked against
   * @returns whether it was started
   */
  async start(
    sid: string,
    user: { id: number; password: string },
    state: TokenState,
    device: Device = UNKNOWN_DEVICE
  ): Promise<boolean> {
    const row = { ...newRow(sid, user.id, state, this.expiryOf(state.issuedAt)), ...truncateDevice(device) }
    const password = user.password
    const isActive = this.#settings.checkUserIsActive
    if ((await insertSession(this.#database, row, { password, isActive })) === 0) {
      return false
    }
    if (this.#settings.sessionLimit !== null) await this.#endBeyond(user.id, this.#settings.sessionLimit)
    return true
  }

  /**
   * Creates the session of a refresh token without `sid`, issued by SimpleJWT or before sessions were in use.
   *
   * @param alongside statements of the same transaction
   * @throws a unique violation if the token was adopted before
   */
  async adopt(
    userId: number,
    jti: string,
    state: TokenState,
    alongside: Prisma.PrismaPromise<unknown>[],
    device: Device = UNKNOWN_DEVICE
  ): Promise<void> {
    const row = newRow(adoptedSid(jti), userId, state, this.expiryOf(state.issuedAt))
    const data = { ...row, ...truncateDevice(device), previousJti: jti }
    await this.#database.$transaction([this.#database.session.create({ data, select: { id: true } }), ...alongside])
  }

  /** True if a token without `sid` was adopted into a session. */
  async isAdopted(jti: string): Promise<boolean> {
    const where = { id: adoptedSid(jti) }
    return (await this.#database.session.findUnique({ where, select: { id: true } })) !== null
  }

  /**
   * Exchanges the current token for the next one, in one statement. Concurrent calls with the same token get the same result.
   *
   * @param next the proposed next token; its lifetime is cut to that of the session
   * @returns the token that is valid from now on
   * @throws {InvalidToken} if the session has ended, or ends here because of reuse
   * @throws {AuthenticationFailed} if its user was deleted or is inactive
   */
  async rotate(sid: string, jti: string, next: TokenState): Promise<TokenState> {
    for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts++) {
      const change = { previousJti: jti, jti: next.jti, refreshedAt: next.issuedAt, idleExpiresAt: next.expiresAt }
      if (await this.#swap({ id: sid, jti, expiresAt: { gte: next.expiresAt } }, change)) return next
      const row = await this.#findActive(sid)
      if (row.jti !== jti) return this.#handleUsedToken(row, jti)
      // The session ends before the next token would: a shorter token is tried.
      if (row.expiresAt <= next.issuedAt) throw new InvalidToken('Token is expired')
      if (row.expiresAt < next.expiresAt) next = { ...next, expiresAt: row.expiresAt }
    }
    throw new ServiceUnavailable()
  }

  /**
   * Records the use of a token that is not rotated.
   *
   * @throws as rotate
   */
  async touch(sid: string, jti: string, now: Date): Promise<void> {
    if (await this.#swap({ id: sid, jti, expiresAt: { gt: now } }, { refreshedAt: now })) return
    const row = await this.#findActive(sid)
    if (row.jti !== jti) await this.#handleUsedToken(row, jti)
    if (row.expiresAt <= now) throw new InvalidToken('Token is expired')
  }

  /** True if `rotate` would accept this refresh token. */
  async isActive(sid: string, jti: string): Promise<boolean> {
    const row = await this.#database.session.findUnique({ where: { id: sid } })
    if (row === null || row.endedAt !== null) return false
    return row.jti === jti || (row.previousJti === jti && this.#settings.rotationGrace > 0)
  }

  /**
   * Ends a session: its refresh token becomes invalid, its access tokens are revoked in all processes within a second.
   *
   * @param userId if given, the session must be of this user
   * @returns false if there is no such active session
   */
  async end(sid: string, reason: EndReason, userId?: number): Promise<boolean> {
    const where = { id: sid, endedAt: null, ...(userId !== undefined && { userId }) }
    const [{ count }] = await this.#database.$transaction(endStatements(this.#database, this.#settings, where, reason))
    if (count === 1) await this.#revocations.sync()
    return count === 1
  }

  /** Ends a user's sessions. @param except id of the one that stays */
  async endAll(userId: number, reason: EndReason, except: string | null = null): Promise<void> {
    await this.#database.$transaction(this.endStatements(userId, reason, except))
    await this.sync()
  }

  /**
   * Returns the statements of endAll, for a transaction that changes the user. They come after the change of the user's row,
   * whose lock keeps concurrent logins out, and before its deletion. Call `sync` after the commit.
   */
  endStatements(userId: number, reason: EndReason, except: string | null = null): Prisma.PrismaPromise<unknown>[] {
    return endStatementsForUser(this.#database, this.#settings, userId, reason, except)
  }

  /**
   * Runs a change of these users' rights. If access tokens have renewed claims, those issued before the change are revoked,
   * so that clients refresh them.
   */
  async changeRights<Result>(users: Prisma.UserWhereInput, change: () => Promise<Result>): Promise<Result> {
    if (!this.#hasRenewedClaims) return change()
    const before = await this.#sidsOf(users)
    const result = await change()
    // Users before and after the change, which may be one of group membership.
    const sids = new Set([...before, ...(await this.#sidsOf(users))])
    const data = [...sids].map((sid) => outdatedClaimsRow(this.#settings, sid))
    if (data.length > 0) await this.#database.revocation.createMany({ data })
    await this.sync()
    return result
  }

  /** Reads the revocation list, so that this process enforces what it has just committed. */
  sync(): Promise<void> {
    return this.#revocations.sync()
  }

  /** Lists the active sessions of a user, the one used last first; at most 500. */
  async list(userId: number): Promise<SessionSummary[]> {
    const where = { userId, endedAt: null, idleExpiresAt: { gt: new Date() } }
    return this.#database.session.findMany({
      where,
      select: SUMMARY,
      take: MAX_LISTED,
      orderBy: [{ refreshedAt: 'desc' }, { id: 'asc' }]
    })
  }

  /** @returns null if the user has no such active session */
  async get(userId: number, sid: string): Promise<SessionSummary | null> {
    if (!isSid(sid)) return null
    const where = { id: sid, userId, endedAt: null, idleExpiresAt: { gt: new Date() } }
    return this.#database.session.findFirst({ where, select: SUMMARY })
  }

  /** @param label at most 100 characters, the user's name for the device */
  async rename(userId: number, sid: string, label: string): Promise<void> {
    if ([...label].length > 100 || label.includes('\0') || !label.isWellFormed()) {
      throw new ValidationError({ label: ['Ensure this field has no more than 100 characters.'] })
    }
    await this.#database.session.updateMany({ where: { id: sid, userId, endedAt: null }, data: { label } })
  }

  /** Deletes expired sessions and revocations. @returns the number of sessions */
  deleteExpired(): Promise<number> {
    return deleteExpired(this.#database)
  }

  async #sidsOf(users: Prisma.UserWhereInput): Promise<string[]> {
    const where = { endedAt: null, idleExpiresAt: { gt: new Date() }, user: users }
    return (await this.#database.session.findMany({ where, select: { id: true } })).map(({ id }) => id)
  }

  async #swap(where: Prisma.SessionWhereInput, data: Partial<SessionRow>): Promise<boolean> {
    const user = this.#settings.checkUserIsActive ? { isActive: true } : {}
    const active = { ...where, endedAt: null, user: { is: user } }
    return (await this.#database.session.updateMany({ where: active, data })).count === 1
  }

  /** Finds out why the swap changed nothing. @throws if the session has ended or its user cannot sign in */
  async #findActive(sid: string): Promise<SessionRow> {
    const row = await this.#database.session.findUnique({ where: { id: sid } })
    if (row === null || row.endedAt !== null) throw new InvalidToken('Token is blacklisted')
    const user = await this.#database.user.findUnique({ where: { id: row.userId }, select: { isActive: true } })
    if (user === null || (this.#settings.checkUserIsActive && !user.isActive)) {
      throw new AuthenticationFailed(NO_ACCOUNT)
    }
    return row
  }

  /** The previous token gets the same successor again. An older one is reuse: of two clients one has a stolen token. */
  async #handleUsedToken(row: SessionRow, jti: string): Promise<TokenState> {
    const isPrevious = row.previousJti === jti
    if (isPrevious && this.#settings.rotationGrace > 0) {
      return { jti: row.jti, issuedAt: row.refreshedAt, expiresAt: row.idleExpiresAt }
    }
    const kind = isPrevious ? 'previous' : 'older'
    // A transaction of its own: the error that follows must not roll it back.
    if (await this.end(row.id, `reuse_${kind}`)) this.#onReuse({ sid: row.id, userId: row.userId, kind })
    throw new InvalidToken('Token is blacklisted')
  }

  /** Ends the oldest sessions beyond the limit. It runs after the insert, so that the last of concurrent logins sees all rows. */
  async #endBeyond(userId: number, limit: number): Promise<void> {
    const where = { userId, endedAt: null, idleExpiresAt: { gt: new Date() } }
    const beyond = await this.#database.session.findMany({
      where,
      select: { id: true },
      skip: limit,
      take: MAX_LISTED,
      orderBy: [{ createdAt: 'desc' }, { id: 'desc' }]
    })
    for (const { id } of beyond) await this.end(id, 'limit')
  }
}

/**
 * Login sessions: one row of `latchkey_session` for each login. They start, are listed, and end here; `SessionStore` decides
 * which refresh token of a session may be used next.
 */
import type { Database, Prisma, SessionRow } from '../database/open.ts'
import { InvalidToken, ValidationError } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import { deleteExpired } from './cleanup.ts'
import type { Revocations } from './revocations.ts'
import {
  adoptedSid,
  awaitEnd,
  type Device,
  endStatements,
  endStatementsForUser,
  insertSession,
  isSid,
  type KeptCredentials,
  lockUser,
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
  | 'username'
  | 'inactive'
  | 'deleted'
  | 'limit'
  | 'reuse_previous'
  | 'reuse_older'

/** A session as shown to its user. */
export type SessionSummary = Pick<
  SessionRow,
  'id' | 'label' | 'userAgent' | 'address' | 'lastAddress' | 'lastUserAgent' | 'createdAt' | 'refreshedAt' | 'expiresAt'
>

/** What names the user of a session. */
export type Owner = { id: number } | { username: string }

export interface Reuse {
  sid: string
  userId: number
  kind: 'previous' | 'older'
  /** The client that presented the token. */
  address: string
  userAgent: string
  /** The client of the last refresh. One of the two has a stolen token. */
  lastAddress: string
  lastUserAgent: string
}

export interface SessionsOptions {
  /** Called when reuse of a refresh token is detected. */
  onReuse?: (reuse: Reuse) => void
  /** Called after each change of the rights of these users. */
  onRightsChanged?: (users: Prisma.UserWhereInput) => void
  /** True if access tokens have custom claims that each refresh renews; they may name rights. */
  hasRenewedClaims?: boolean
}

const MAX_LISTED = 500
const UNKNOWN_DEVICE: Device = { userAgent: '', address: '' }

const SUMMARY = {
  id: true,
  label: true,
  userAgent: true,
  address: true,
  lastAddress: true,
  lastUserAgent: true,
  createdAt: true,
  refreshedAt: true,
  expiresAt: true
} as const

export class Sessions {
  readonly #database: Database
  readonly #settings: Settings
  readonly #revocations: Revocations
  readonly #onReuse: (reuse: Reuse) => void
  readonly #onRightsChanged: (users: Prisma.UserWhereInput) => void
  readonly #hasRenewedClaims: boolean

  constructor(
    database: Database,
    settings: Settings,
    revocations: Revocations,
    { onReuse = () => {}, onRightsChanged = () => {}, hasRenewedClaims = false }: SessionsOptions = {}
  ) {
    this.#onRightsChanged = onRightsChanged
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
   * Starts a session, unless the user was deactivated, deleted, renamed or given another password since it was read.
   *
   * @param user with the password hash that the credentials were checked against
   * @returns whether it was started
   */
  async start(
    sid: string,
    user: { id: number; password: string; username: string },
    state: TokenState,
    device: Device = UNKNOWN_DEVICE
  ): Promise<boolean> {
    const row = { ...newRow(sid, user.id, state, this.expiryOf(state.issuedAt)), ...truncateDevice(device) }
    const { password, username } = user
    const isActive = this.#settings.checkUserIsActive
    if ((await insertSession(this.#database, row, { password, username, isActive })) === 0) return false
    if (this.#settings.sessionLimit !== null) await this.#endBeyond(user.id, this.#settings.sessionLimit)
    return true
  }

  /**
   * Creates the session of a refresh token without `sid`, issued by SimpleJWT or before sessions were in use.
   *
   * @param alongside statements of the same transaction
   * @throws a unique violation if the token was adopted before
   * @throws {InvalidToken} if everything of the user was ended after the token was issued
   */
  async adopt(
    userId: number,
    { jti, issuedAt }: Pick<TokenState, 'jti' | 'issuedAt'>,
    state: TokenState,
    alongside: Prisma.PrismaPromise<unknown>[],
    device: Device = UNKNOWN_DEVICE
  ): Promise<void> {
    const row = newRow(adoptedSid(jti), userId, state, this.expiryOf(state.issuedAt))
    // Without rotation the token stays the same: it must not start again after its session was deleted as expired.
    if (row.expiresAt <= new Date()) throw new InvalidToken('Token is expired')
    const data = { ...row, ...truncateDevice(device), previousJti: jti }
    const create = this.#database.session.create({ data, select: { id: true } })
    await this.#database.$transaction([awaitEnd(this.#database, userId), create, ...alongside])
    // An end or a deletion that was committed before the row was inserted has not seen it.
    const isThere = (await this.#database.user.count({ where: { id: userId } })) > 0
    if (isThere && issuedAt.getTime() > (await this.endedAt(userId))) return
    await this.end(row.id, 'logout')
    throw new InvalidToken('Token is blacklisted')
  }

  /** True if a token without `sid` was adopted into a session. */
  async isAdopted(jti: string): Promise<boolean> {
    return (await this.#database.session.count({ where: { id: adoptedSid(jti) } })) > 0
  }

  /**
   * Ends a session: its refresh token becomes invalid, its access tokens are revoked in all processes within a second.
   *
   * @param owner if given, the session must be of this user
   * @returns false if there is no such active session
   */
  async end(sid: string, reason: EndReason, owner?: Owner): Promise<boolean> {
    const where = { id: sid, endedAt: null, ...(owner !== undefined && { user: { is: owner } }) }
    const results = await this.#database.$transaction(endStatements(this.#database, this.#settings, where, reason))
    this.enforce(results)
    return results[0].count === 1
  }

  /** Ends everything of a user; see `endStatementsForUser`. */
  async endAll(userId: number, reason: EndReason, kept: KeptCredentials = {}): Promise<void> {
    const statements = [lockUser(this.#database, userId), ...this.endStatements(userId, reason, kept)]
    this.enforce(await this.#database.$transaction(statements))
  }

  /**
   * Returns the statements of endAll, for a transaction that changes the user. They come after the change of the user's row,
   * whose lock keeps concurrent logins out, and before its deletion. Call `enforce` with the results after the commit.
   */
  endStatements(
    userId: number,
    reason: EndReason,
    kept: KeptCredentials = {},
    username?: string
  ): Prisma.PrismaPromise<unknown>[] {
    return endStatementsForUser(this.#database, this.#settings, userId, reason, kept, username)
  }

  /**
   * Runs a change of these users' rights. If access tokens have renewed claims, those issued before the change are revoked,
   * so that clients refresh them.
   */
  async changeRights<Result>(users: Prisma.UserWhereInput, change: () => Promise<Result>): Promise<Result> {
    const before = this.#hasRenewedClaims ? await this.#sidsOf(users) : []
    const result = await change()
    this.#onRightsChanged(users)
    if (!this.#hasRenewedClaims) return result
    // Users before and after the change, which may be one of group membership.
    const sids = new Set([...before, ...(await this.#sidsOf(users))])
    const data = [...sids].map((sid) => outdatedClaimsRow(this.#settings, sid))
    if (data.length > 0) await this.#database.revocation.createMany({ data })
    this.#revocations.enforceOutdated(data)
    return result
  }

  /** Makes this process reject at once what a transaction has ended. @param results of all its statements */
  enforce(results: readonly unknown[]): void {
    this.#revocations.enforce(results)
  }

  /**
   * Returns when everything of this user was last ended; credentials that were issued at this time or before are invalid.
   *
   * @param username of credentials that name the user by username: also of a former user of this name
   * @returns milliseconds since the epoch, or 0
   */
  async endedAt(userId: number, username?: string): Promise<number> {
    const epoch = await this.#database.credentialEpoch.findUnique({ where: { userId } })
    const own = epoch?.notBefore.getTime() ?? 0
    if (username === undefined) return own
    const released = await this.#database.revocation.findFirst({
      where: { subject: username, expiresAt: { gt: new Date() } },
      orderBy: { revokedAt: 'desc' }
    })
    return Math.max(own, released?.revokedAt.getTime() ?? 0)
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

  /** Ends a session because one of its used refresh tokens was presented. @param device of the client that presented it */
  async endForReuse(row: SessionRow, kind: Reuse['kind'], device: Device): Promise<void> {
    // A transaction of its own: the error that follows must not roll it back.
    if (!(await this.end(row.id, `reuse_${kind}`))) return
    const { id: sid, userId, lastAddress, lastUserAgent } = row
    this.#onReuse({ sid, userId, kind, ...truncateDevice(device), lastAddress, lastUserAgent })
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

/**
 * `JWT_REFRESH_STORE=session`, the default: every login is a row of `latchkey_session`, and its refresh tokens name it in
 * their `sid` claim. The row decides every race: a refresh swaps the jti that may be used next by one conditional statement.
 * A concurrent or repeated use of the same token gets the same successor; use of an older token is reuse, and ends the
 * session.
 *
 * A refresh token without `sid`, issued by SimpleJWT or before sessions were in use, is adopted: it becomes a session at its
 * first refresh, and is blacklisted so that a Django on the same database rejects it.
 */
import { isUniqueViolation } from '../../database/errors.ts'
import type { Database, Prisma, SessionRow, User as UserRow } from '../../database/open.ts'
import { AuthenticationFailed, InvalidToken, ServiceUnavailable } from '../../errors.ts'
import { adoptedSid, type Device, newSid, type TokenState, truncateDevice } from '../../sessions/session-rows.ts'
import type { EndReason, Owner, Sessions } from '../../sessions/sessions.ts'
import type { Settings } from '../../settings/schema.ts'
import { isName, primaryKeyOf } from '../../users/user.ts'
import type { Users } from '../../users/users.ts'
import type { Claims } from '../jwt.ts'
import type { BlacklistStore } from './blacklist-store.ts'
import type { IssuedToken, RefreshStore, UsedToken } from './refresh-store.ts'

/** A refresh token that a client presents. */
interface PresentedToken {
  sid: string
  jti: string
  /** The user that the token names. The session must be of this user. */
  user: Owner
}

const NO_ACCOUNT = 'No active account found for the given token.'
const MAX_ATTEMPTS = 5
const UNKNOWN_DEVICE: Device = { userAgent: '', address: '' }

export class SessionStore implements RefreshStore {
  readonly hasLoginSessions = true
  readonly #database: Database
  readonly #settings: Settings
  readonly #sessions: Sessions
  readonly #users: Users
  readonly #blacklist: BlacklistStore
  readonly #encode: (claims: Claims) => string

  /**
   * @param blacklist of tokens without `sid`
   * @param encode signs the claims of a token
   */
  constructor(
    database: Database,
    settings: Settings,
    sessions: Sessions,
    users: Users,
    blacklist: BlacklistStore,
    encode: (claims: Claims) => string
  ) {
    this.#database = database
    this.#settings = settings
    this.#sessions = sessions
    this.#users = users
    this.#blacklist = blacklist
    this.#encode = encode
  }

  knowsUser({ sid }: Claims): boolean {
    return typeof sid === 'string'
  }

  async issue(claims: Claims, user: UserRow, device: Device): Promise<IssuedToken> {
    const end = secondsOf(this.#sessions.expiryOf(new Date((claims.iat as number) * 1000)))
    const sid = newSid()
    const first = { ...claims, exp: Math.min(claims.exp as number, end), sid }
    const state = this.#stateOf(first)
    const isStarted =
      (await this.#sessions.start(sid, user, state, device)) || (await this.#startRehashed(sid, user, state, device))
    if (!isStarted) throw new AuthenticationFailed('No active account found with the given credentials')
    return this.#issued(first)
  }

  async rotate(used: UsedToken, successor: Claims | null, device: Device): Promise<IssuedToken> {
    const { claims } = used
    const jti = this.#jtiOf(claims)
    const sid = typeof claims.sid === 'string' ? claims.sid : await this.#adopt(used, successor, device)
    if (sid === null) return this.#issued({ ...(successor ?? claims), sid: adoptedSid(jti) })
    const presented = { sid, jti, user: this.#userOf(claims) }
    if (successor === null) {
      await this.#recordUse(presented, device)
      return typeof claims.sid === 'string' ? used : this.#issued({ ...claims, sid })
    }
    const state = await this.#rotate(presented, this.#stateOf(successor), device)
    const [exp, iat] = [secondsOf(state.expiresAt), secondsOf(state.issuedAt)]
    return this.#issued({ ...successor, exp, iat, [this.#settings.jtiClaim as string]: state.jti, sid })
  }

  async touch(claims: Claims): Promise<void> {
    if (typeof claims.sid !== 'string') return
    const token = { sid: claims.sid, jti: this.#jtiOf(claims), user: this.#userOf(claims) }
    await this.#recordUse(token, UNKNOWN_DEVICE)
  }

  async assertActive(claims: Claims, isForRotation = false): Promise<void> {
    const { tokenTypeClaim } = this.#settings
    const isRefresh = tokenTypeClaim !== null && claims[tokenTypeClaim] === 'refresh'
    if (typeof claims.sid !== 'string') {
      // Adopted tokens are in the blacklist, too: only `rotate` can tell whether they are valid.
      if (!(isForRotation && isRefresh)) await this.#blacklist.assertActive(claims)
      return
    }
    if (isForRotation || !isRefresh) return
    const presented = { sid: claims.sid, jti: this.#jtiOf(claims), user: this.#userOf(claims) }
    if (!(await this.#isActive(presented))) throw new InvalidToken('Token is blacklisted')
  }

  async revoke(token: IssuedToken, reason: EndReason): Promise<void> {
    if (await this.#end(token.claims, reason)) return
    try {
      await this.#blacklist.revoke(token)
    } catch (error) {
      // A concurrent refresh has blacklisted the token because it was adopted into a session.
      if (!(error instanceof InvalidToken && (await this.#end(token.claims, reason)))) throw error
    }
  }

  async deleteExpired(): Promise<number> {
    return (await this.#sessions.deleteExpired()) + (await this.#blacklist.deleteExpired())
  }

  /**
   * Exchanges the current token for the next one, in one statement. Concurrent calls with the same token get the same result.
   *
   * The previous token gets the same successor within the grace period. After it, it gets one that replaces the current token:
   * a client that lost a response can continue, and of a client and a thief, the one who presents the replaced token ends the
   * session.
   *
   * @param next the proposed next token; its lifetime is cut to that of the session
   * @returns the token that is valid from now on
   * @throws {InvalidToken} if the session has ended, is of another user, or ends here because of reuse
   * @throws {AuthenticationFailed} if its user was deleted or is inactive
   */
  async #rotate(token: PresentedToken, next: TokenState, device: Device): Promise<TokenState> {
    const { address: lastAddress, userAgent: lastUserAgent } = truncateDevice(device)
    for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts++) {
      const change = {
        jti: next.jti,
        refreshedAt: preciseTime(next.issuedAt),
        idleExpiresAt: next.expiresAt,
        lastAddress,
        lastUserAgent
      }
      const until = { expiresAt: { gte: next.expiresAt } }
      if (await this.#swap(token, { jti: token.jti, ...until }, { ...change, previousJti: token.jti })) return next
      const row = await this.#findActive(token)
      if (row.jti !== token.jti) {
        if (!this.#isReplaceable(row, token.jti)) return this.#handleUsedToken(row, token.jti, device)
        if (await this.#swap(token, { jti: row.jti, previousJti: token.jti, ...until }, change)) return next
      }
      // The session ends before the next token would: a shorter token is tried.
      if (row.expiresAt <= next.issuedAt) throw new InvalidToken('Token is expired')
      if (row.expiresAt < next.expiresAt) next = { ...next, expiresAt: row.expiresAt }
    }
    throw new ServiceUnavailable()
  }

  /**
   * Records the use of a token that is not rotated. The previous token, of a time when tokens were rotated, replaces the
   * current one after the grace period.
   *
   * @throws as #rotate
   */
  async #recordUse(token: PresentedToken, device: Device): Promise<void> {
    const now = new Date()
    const { address: lastAddress, userAgent: lastUserAgent } = truncateDevice(device)
    const change = { refreshedAt: now, lastAddress, lastUserAgent }
    const until = { expiresAt: { gt: now } }
    if (await this.#swap(token, { jti: token.jti, ...until }, change)) return
    const row = await this.#findActive(token)
    if (row.jti !== token.jti) {
      if (!this.#isReplaceable(row, token.jti)) await this.#handleUsedToken(row, token.jti, device)
      else if (await this.#swap(token, { jti: row.jti, ...until }, { ...change, jti: token.jti })) return
    }
    if (row.expiresAt <= now) throw new InvalidToken('Token is expired')
  }

  /** True if `rotate` would accept this refresh token. As there, reuse ends the session. */
  async #isActive({ sid, jti, user }: PresentedToken): Promise<boolean> {
    const row = await this.#database.session.findFirst({ where: { id: sid, endedAt: null, user: { is: user } } })
    if (row === null) return false
    if (row.jti === jti) return true
    if (row.previousJti === jti) return this.#settings.rotationGrace > 0
    // Otherwise a thief could find out by verifying, without being noticed, when the owner's token has replaced the stolen one.
    await this.#sessions.endForReuse(row, 'older', UNKNOWN_DEVICE)
    return false
  }

  async #swap({ sid, user }: PresentedToken, where: Prisma.SessionWhereInput, data: Partial<SessionRow>) {
    const owner = { ...user, ...(this.#settings.checkUserIsActive && { isActive: true }) }
    const active = { ...where, id: sid, endedAt: null, user: { is: owner } }
    return (await this.#database.session.updateMany({ where: active, data })).count === 1
  }

  /** Finds out why the swap changed nothing. @throws if the session has ended or the user cannot use it */
  async #findActive({ sid, user: named }: PresentedToken): Promise<SessionRow> {
    const row = await this.#database.session.findUnique({ where: { id: sid } })
    if (row === null || row.endedAt !== null) throw new InvalidToken('Token is blacklisted')
    if ('id' in named && named.id !== row.userId) throw new InvalidToken()
    const select = { username: true, isActive: true }
    const user = await this.#database.user.findUnique({ where: { id: row.userId }, select })
    if (user !== null && 'username' in named && named.username !== user.username) throw new InvalidToken()
    if (user === null || (this.#settings.checkUserIsActive && !user.isActive)) {
      throw new AuthenticationFailed(NO_ACCOUNT)
    }
    return row
  }

  /** True for the previous token after the grace period. */
  #isReplaceable(row: SessionRow, jti: string): boolean {
    const { rotationGrace } = this.#settings
    return rotationGrace > 0 && row.previousJti === jti && !this.#isInGrace(row)
  }

  #isInGrace({ refreshedAt }: SessionRow): boolean {
    const { rotationGrace } = this.#settings
    // Without a grace period the clock of the process that rotated the token does not matter.
    return rotationGrace > 0 && Date.now() - refreshedAt.getTime() < rotationGrace * 1000
  }

  /** Within the grace period, the previous token gets the same successor again. Any other used token is reuse. */
  async #handleUsedToken(row: SessionRow, jti: string, device: Device): Promise<TokenState> {
    const isPrevious = row.previousJti === jti
    if (isPrevious && this.#isInGrace(row)) {
      await this.#recordDevice(row, device)
      const issuedAt = new Date(Math.floor(row.refreshedAt.getTime() / 1000) * 1000)
      return { jti: row.jti, issuedAt, expiresAt: row.idleExpiresAt }
    }
    await this.#sessions.endForReuse(row, isPrevious ? 'previous' : 'older', device)
    throw new InvalidToken('Token is blacklisted')
  }

  /** Shows the user that two clients use the session. */
  async #recordDevice(row: SessionRow, device: Device): Promise<void> {
    const { address: lastAddress, userAgent: lastUserAgent } = truncateDevice(device)
    if (row.lastAddress === lastAddress && row.lastUserAgent === lastUserAgent) return
    const where = { id: row.id, endedAt: null }
    await this.#database.session.updateMany({ where, data: { lastAddress, lastUserAgent } })
  }

  /** A concurrent login may have rehashed the same password, which changes the stored hash but not the password. */
  async #startRehashed(sid: string, user: UserRow, state: TokenState, device: Device): Promise<boolean> {
    const rehashed = await this.#users.findUnchanged(user)
    return rehashed !== null && this.#sessions.start(sid, rehashed, state, device)
  }

  /**
   * Makes a session of a token without `sid`.
   *
   * @returns its id if the token was adopted before; null if it was adopted here, and its successor is recorded
   */
  async #adopt(used: UsedToken, successor: Claims | null, device: Device): Promise<string | null> {
    const { claims, user } = used
    const jti = this.#jtiOf(claims)
    if (await this.#sessions.isAdopted(jti)) return adoptedSid(jti)
    if (await this.#blacklist.isBlacklisted(jti)) return this.#adoptedElsewhere(jti)
    if (user === null) throw new InvalidToken('Token contained no recognizable user identification')
    const blacklisting = successor === null ? [] : await this.#blacklist.blacklisting(used, user.id)
    try {
      const next = this.#stateOf(successor ?? claims)
      await this.#sessions.adopt(user.id, this.#stateOf(claims), next, blacklisting, device)
      return null
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      return this.#adoptedElsewhere(jti)
    }
  }

  /** A concurrent request has adopted the token, or Django has rotated it. */
  async #adoptedElsewhere(jti: string): Promise<string> {
    if (await this.#sessions.isAdopted(jti)) return adoptedSid(jti)
    throw new InvalidToken('Token is blacklisted')
  }

  /** @returns false if the token has no session @throws {InvalidToken} if its session has ended before */
  async #end(claims: Claims, reason: EndReason): Promise<boolean> {
    const jti = this.#jtiOf(claims)
    const isAdopted = typeof claims.sid !== 'string' && (await this.#sessions.isAdopted(jti))
    const sid = isAdopted ? adoptedSid(jti) : claims.sid
    if (typeof sid !== 'string') return false
    if (!(await this.#sessions.end(sid, reason, this.#userOf(claims)))) throw new InvalidToken('Token is blacklisted')
    return true
  }

  /** The user that a token names; the session's statement checks that it is the owner. */
  #userOf(claims: Claims): PresentedToken['user'] {
    const { userIdClaim, userIdField } = this.#settings
    const id = claims[userIdClaim]
    if (userIdField === 'username' && isName(id)) return { username: id }
    const key = userIdField === 'id' ? primaryKeyOf(id) : null
    if (key === null) throw new InvalidToken()
    return { id: key }
  }

  #issued(claims: Claims): IssuedToken {
    return { token: this.#encode(claims), claims }
  }

  #jtiOf(claims: Claims): string {
    return claims[this.#settings.jtiClaim as string] as string
  }

  /** The session of a sliding token lasts until the token can no longer be renewed. */
  #stateOf(claims: Claims): TokenState {
    const { [this.#settings.slidingTokenRefreshExpClaim]: end = claims.exp, iat } = claims
    return { jti: this.#jtiOf(claims), issuedAt: dateOf(iat), expiresAt: dateOf(end) }
  }
}

/** Converts to and from NumericDate, RFC 7519 §2, in whole seconds. */
const secondsOf = (date: Date) => Math.floor(date.getTime() / 1000)
const dateOf = (seconds: unknown) => new Date(Math.floor(seconds as number) * 1000)

/** The current time within the second of `iat`, so that the grace period is exact and a repeated successor is identical. */
const preciseTime = (issuedAt: Date) => new Date(Math.min(Math.max(Date.now(), +issuedAt), +issuedAt + 999))

/**
 * `JWT_REFRESH_STORE=session`, the default: every login is a row of `latchkey_session`, and its refresh tokens name it in
 * their `sid` claim.
 *
 * A refresh token without `sid`, issued by SimpleJWT or before sessions were in use, is adopted: it becomes a session at its
 * first refresh, and is blacklisted so that a Django on the same database rejects it.
 */
import { isUniqueViolation } from '../../database/errors.ts'
import type { User as UserRow } from '../../database/open.ts'
import { AuthenticationFailed, InvalidToken } from '../../errors.ts'
import { adoptedSid, type Device, newSid, type TokenState } from '../../sessions/session-rows.ts'
import type { EndReason, PresentedToken, Sessions } from '../../sessions/sessions.ts'
import type { Settings } from '../../settings/schema.ts'
import { isName, primaryKeyOf } from '../../users/user.ts'
import type { Users } from '../../users/users.ts'
import type { Claims } from '../jwt.ts'
import type { BlacklistStore } from './blacklist-store.ts'
import type { IssuedToken, RefreshStore, UsedToken } from './refresh-store.ts'

export class SessionStore implements RefreshStore {
  readonly hasLoginSessions = true
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
    settings: Settings,
    sessions: Sessions,
    users: Users,
    blacklist: BlacklistStore,
    encode: (claims: Claims) => string
  ) {
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
      await this.#sessions.touch(presented, new Date(), device)
      return typeof claims.sid === 'string' ? used : this.#issued({ ...claims, sid })
    }
    const state = await this.#sessions.rotate(presented, this.#stateOf(successor), device)
    const [exp, iat] = [secondsOf(state.expiresAt), secondsOf(state.issuedAt)]
    return this.#issued({ ...successor, exp, iat, [this.#settings.jtiClaim as string]: state.jti, sid })
  }

  async touch(claims: Claims): Promise<void> {
    if (typeof claims.sid !== 'string') return
    const token = { sid: claims.sid, jti: this.#jtiOf(claims), user: this.#userOf(claims) }
    await this.#sessions.touch(token, new Date())
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
    if (!(await this.#sessions.isActive(presented))) throw new InvalidToken('Token is blacklisted')
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

/** SimpleJWT's views without their HTTP: obtain, refresh and blacklist tokens; what a reader can, they can as well. */

import type { User as UserRow } from '../database/open.ts'
import { AuthenticationFailed, InvalidToken, PasswordChanged } from '../errors.ts'
import type { Device } from '../sessions/session-rows.ts'
import type { Settings } from '../settings/schema.ts'
import { isUserId, type User, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'
import { type CustomClaimsOptions, Mint } from './claims.ts'
import type { Claims, Jwt } from './jwt.ts'
import { type Blacklist, NO_ACCOUNT } from './stores/blacklist-store.ts'
import { SessionTokens } from './stores/session-store.ts'
import { type Memory, TokenReader } from './verifier.ts'

export interface Credentials {
  username: string
  password: string
}
export interface Pair {
  refresh: string
  access: string
}

type Awaitable<Value> = Value | Promise<Value>

/** SimpleJWT's settings that are callables. `request` is the one that a token is made for, if it is made for one. */
export interface TokenOptions extends CustomClaimsOptions {
  /** USER_AUTHENTICATION_RULE: may this user obtain and refresh tokens? By default those who are active. */
  userAuthenticationRule?(user: User): Awaitable<boolean>
  /** ON_LOGIN_SUCCESS, in place of setting `last_login`; asked only if `updateLastLogin` is on. */
  onLoginSuccess?(user: User, request: unknown): Awaitable<void>
  /** ON_LOGIN_FAILED. What may be a secret has become asterisks. */
  onLoginFailed?(credentials: Record<string, string>, request: unknown): Awaitable<void>
  /** Claims of one's own, such as `{ plan: 'pro' }`. */
  claims?(user: User, request: unknown): Awaitable<Claims>
}

export class Tokens extends TokenReader {
  readonly #settings: Settings
  readonly #jwt: Jwt
  readonly #users: Users
  readonly #blacklist: Blacklist | null
  readonly #sessions: SessionTokens | null
  readonly #options: TokenOptions
  readonly #mint: Mint

  constructor(settings: Settings, jwt: Jwt, users: Users, memory: Memory<Blacklist>, options: TokenOptions = {}) {
    super(settings, jwt, memory)
    this.#settings = settings
    this.#jwt = jwt
    this.#users = users
    this.#blacklist = memory.blacklist
    this.#options = options
    this.#mint = new Mint(settings, options)
    this.#sessions =
      memory.sessions && new SessionTokens(settings, this.#mint, memory.sessions, memory.blacklist as Blacklist)
  }

  /** @throws {AuthenticationFailed} if no user who may sign in has these credentials */
  async obtainPair(credentials: Credentials, request: unknown = null): Promise<Pair> {
    const user = await this.#authenticate(credentials, request)
    const now = Date.now()
    const custom = await this.#customClaims(user, request)
    const { claims, token: refresh } = await this.#hand(this.#mint.refreshFor(user, now, custom), user, now, request)
    await this.#loggedIn(user, request)
    return { refresh, access: this.#jwt.encode(this.#mint.accessOf(claims, now, custom)) }
  }

  /** One token for both purposes. @throws {AuthenticationFailed} as obtainPair */
  async obtainSliding(credentials: Credentials, request: unknown = null): Promise<{ token: string }> {
    const user = await this.#authenticate(credentials, request)
    const now = Date.now()
    const custom = await this.#customClaims(user, request)
    const { token } = await this.#hand(this.#mint.slidingFor(user, now, custom), user, now, request)
    await this.#loggedIn(user, request)
    return { token }
  }

  /**
   * A new access token and, with rotation, a new refresh token in place of this one. Of parallel uses one wins; where logins
   * are sessions, the others are given the same successor.
   *
   * @throws {InvalidToken | AuthenticationFailed} if the token, or its user, is no longer good
   */
  async refresh(token: string, request: unknown = null): Promise<{ access: string; refresh?: string }> {
    const { claims, user, custom } = await this.#readToRefresh(token, 'refresh', request)
    const now = Date.now()
    const successor = this.#settings.rotateRefreshTokens ? this.#mint.successorOf(claims, now, custom) : null
    if (this.#sessions !== null) {
      const next = await this.#sessions.next({ token, claims, user, device: deviceOf(request) }, successor)
      const access = this.#jwt.encode(this.#mint.accessOf(next, now, custom))
      return successor === null ? { access } : { access, refresh: this.#jwt.encode(next) }
    }
    const access = this.#jwt.encode(this.#mint.accessOf(claims, now, custom))
    if (successor === null) return { access }
    return { access, refresh: await this.#rotate(token, claims, successor, user?.id ?? null, now) }
  }

  /**
   * The same token for a while longer. The original's documentation notwithstanding, one that has expired is not renewed.
   *
   * @throws {InvalidToken | AuthenticationFailed} as refresh
   */
  async refreshSliding(token: string, request: unknown = null): Promise<{ token: string }> {
    const { claims, custom } = await this.#readToRefresh(token, 'sliding', request)
    const now = Date.now()
    const { slidingTokenRefreshExpClaim: name, leeway } = this.#settings
    const end = claims[name]
    if (end === undefined) throw new InvalidToken(`Token has no '${name}' claim`)
    if (typeof end !== 'number') throw new InvalidToken()
    if (end <= now / 1000 - leeway) throw new InvalidToken(`Token '${name}' claim has expired`)
    await this.#sessions?.touch(claims, now)
    return { token: this.#jwt.encode(this.#mint.renewed(claims, now, custom)) }
  }

  /** @throws {InvalidToken} if it is no refresh token or not good any more */
  async blacklist(token: string): Promise<void> {
    const { userIdClaim, userIdField } = this.#settings
    const claims = await this.read(token, 'refresh')
    const named = claims[userIdClaim] ?? null
    // Only a user who can be named can be gone; the original crashes here.
    if (named !== null && !isUserId(userIdField, named)) throw new InvalidToken()
    if (this.#blacklist === null || (await this.#sessions?.end(claims, 'logout'))) return
    const user = named === null ? null : await this.#users.get(userIdField, named)
    try {
      await this.#blacklist.blacklist(this.#mint.recordOf(token, claims, user?.id ?? null, Date.now()))
    } catch (error) {
      // A refresh under way has put it there, and made it a session.
      if (!(error instanceof InvalidToken && (await this.#sessions?.end(claims, 'logout')))) throw error
    }
  }

  /** Deletes what is recorded of expired tokens and sessions; how many were. */
  async flushExpiredTokens(): Promise<number> {
    const { refreshTokenLifetime, slidingTokenRefreshLifetime } = this.#settings
    await this.#users.forgetRenewals(Math.max(refreshTokenLifetime, slidingTokenRefreshLifetime))
    const sessions = (await this.#sessions?.flushExpired()) ?? 0
    return sessions + ((await this.#blacklist?.flushExpired()) ?? 0)
  }

  async #authenticate({ username, password }: Credentials, request: unknown): Promise<UserRow> {
    const user = await this.#users.authenticate(username, password)
    if (user !== null && (await this.#mayAuthenticate(user))) return user
    const masked = { [this.#settings.loginField]: username, password: '*'.repeat(20) }
    await this.#options.onLoginFailed?.(masked, request)
    throw new AuthenticationFailed(NO_CREDENTIALS)
  }

  async #loggedIn(user: UserRow, request: unknown): Promise<void> {
    if (!this.#settings.updateLastLogin) return
    if (this.#options.onLoginSuccess) await this.#options.onLoginSuccess(withoutPassword(user), request)
    else await this.#users.updateLastLogin(user.id)
  }

  /** Records a token and signs it. @throws {AuthenticationFailed} if the user has changed since its password was looked at */
  async #hand(
    claims: Claims,
    user: UserRow,
    now: number,
    request: unknown
  ): Promise<{ claims: Claims; token: string }> {
    if (this.#sessions !== null) {
      const first = await this.#begin(this.#sessions, claims, user, request)
      if (first === null) throw new AuthenticationFailed(NO_CREDENTIALS)
      return { claims: first, token: this.#jwt.encode(first) }
    }
    const token = this.#jwt.encode(claims)
    await this.#blacklist?.outstand(this.#mint.recordOf(token, claims, user.id, now))
    return { claims, token }
  }

  /** Another login may have renewed the hash since, which is no change of the password. */
  async #begin(sessions: SessionTokens, claims: Claims, user: UserRow, request: unknown): Promise<Claims | null> {
    const device = deviceOf(request)
    const first = await sessions.begin(claims, user, device)
    if (first !== null) return first
    const renewed = await this.#users.renewalOf(user)
    return renewed && sessions.begin(claims, renewed, device)
  }

  async #rotate(token: string, claims: Claims, successor: Claims, userId: number | null, now: number): Promise<string> {
    const rotated = this.#jwt.encode(successor)
    const record = this.#mint.recordOf(rotated, successor, userId, now)
    if (this.#settings.blacklistAfterRotation) {
      await this.#blacklist?.blacklist(this.#mint.recordOf(token, claims, userId, now), record)
    } else {
      await this.#blacklist?.outstand(record)
    }
    return rotated
  }

  async #readToRefresh(token: string, kind: 'refresh' | 'sliding', request: unknown) {
    const claims = await this.read(token, kind)
    const user = this.#asksForUser(claims) ? await this.#userOf(claims) : null
    if (user && !(await this.#users.isOfCurrentPassword(user, claims[this.#settings.revokeTokenClaim]))) {
      const isEnded = await this.#sessions?.end(claims, 'password')
      if (!isEnded) await this.#blacklist?.blacklist(this.#mint.recordOf(token, claims, user.id, Date.now()))
      throw new AuthenticationFailed(PasswordChanged.detail)
    }
    const custom = user && this.#mint.makesClaimsAtRefresh ? await this.#customClaims(user, request) : {}
    return { claims, user, custom }
  }

  /** A session knows whose it is, and its statement asks whether that user is active; anything else has to be read. */
  #asksForUser({ sid }: Claims): boolean {
    if (this.#sessions === null || typeof sid !== 'string') return true
    const { userAuthenticationRule, claims } = this.#options
    const makesClaims = claims !== undefined && this.#mint.makesClaimsAtRefresh
    return userAuthenticationRule !== undefined || makesClaims || this.#settings.checkRevokeToken
  }

  /** Null for a token that names nobody, which SimpleJWT refreshes; what it gets opens nothing. */
  async #userOf(claims: Claims): Promise<UserRow | null> {
    const named = claims[this.#settings.userIdClaim]
    if (named === undefined || named === null || named === '' || named === 0) return null
    const user = await this.#users.get(this.#settings.userIdField, named)
    if (user === null || !(await this.#mayAuthenticate(user))) throw new AuthenticationFailed(NO_ACCOUNT)
    return user
  }

  #mayAuthenticate(user: UserRow): Awaitable<boolean> {
    const rule = this.#options.userAuthenticationRule
    return rule ? rule(withoutPassword(user)) : user.isActive || !this.#settings.checkUserIsActive
  }

  async #customClaims(user: UserRow, request: unknown): Promise<Claims> {
    return this.#mint.checkCustom((await this.#options.claims?.(withoutPassword(user), request)) ?? {})
  }
}

const NO_CREDENTIALS = 'No active account found with the given credentials'

/** Of a request that a token is made for, if it is made for one. */
function deviceOf(request: unknown): Device {
  const { ip = '', headers = {} } = (request ?? {}) as { ip?: string; headers?: Record<string, unknown> }
  return { address: ip, userAgent: String(headers['user-agent'] ?? '') }
}

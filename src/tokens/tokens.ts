/** SimpleJWT's serializers without their HTTP: obtains, refreshes and blacklists tokens. */
import { setTimeout } from 'node:timers/promises'
import type { User as UserRow } from '../database/open.ts'
import { AuthenticationFailed, InvalidToken, PasswordChanged } from '../errors.ts'
import type { Device } from '../sessions/session-rows.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Settings } from '../settings/schema.ts'
import { isUserId, type User, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'
import type { CustomClaimsOptions, TokenClaims } from './claims.ts'
import type { Claims, Jwt } from './jwt.ts'
import type { RequestInfo } from './request-info.ts'
import { NO_ACCOUNT } from './stores/blacklist-store.ts'
import type { IssuedToken, RefreshStore } from './stores/refresh-store.ts'
import type { TokenVerifier } from './verifier.ts'

export interface Credentials {
  /** The value of `loginField`. */
  username: string
  password: string
}
export interface Pair {
  refresh: string
  access: string
}

type Awaitable<Value> = Value | Promise<Value>

/** SimpleJWT's settings that are callables. `request` is null for a token that is issued outside of a request. */
export interface TokenOptions extends CustomClaimsOptions {
  /** USER_AUTHENTICATION_RULE: may this user obtain and refresh tokens? By default active users may. */
  userAuthenticationRule?(user: User): Awaitable<boolean>
  /** ON_LOGIN_SUCCESS, called instead of setting `last_login`, and only with `updateLastLogin`. */
  onLoginSuccess?(user: User, request: RequestInfo | null): Awaitable<void>
  /** ON_LOGIN_FAILED. Secrets in the credentials are replaced by asterisks. */
  onLoginFailed?(credentials: Record<string, string>, request: RequestInfo | null): Awaitable<void>
}

/** What `Tokens` works with. */
export interface TokenParts {
  settings: Settings
  jwt: Jwt
  verifier: TokenVerifier
  claims: TokenClaims
  store: RefreshStore
  users: Users
  sessions: Sessions
}

const NO_CREDENTIALS = 'No active account found with the given credentials'
const UNKNOWN_DEVICE: Device = { address: '', userAgent: '' }

export class Tokens {
  readonly #settings: Settings
  readonly #jwt: Jwt
  readonly #verifier: TokenVerifier
  readonly #claims: TokenClaims
  readonly #store: RefreshStore
  readonly #users: Users
  readonly #sessions: Sessions
  readonly #options: TokenOptions

  constructor({ settings, jwt, verifier, claims, store, users, sessions }: TokenParts, options: TokenOptions = {}) {
    this.#settings = settings
    this.#jwt = jwt
    this.#verifier = verifier
    this.#claims = claims
    this.#store = store
    this.#users = users
    this.#sessions = sessions
    this.#options = options
  }

  /** @throws {AuthenticationFailed} for invalid credentials and for users who may not sign in */
  async obtainPair(credentials: Credentials, request: RequestInfo | null = null): Promise<Pair> {
    const user = await this.#authenticate(credentials, request)
    const pair = await this.issuePair(user, request)
    await this.#recordLogin(user, request)
    return pair
  }

  /** Issues a pair for a user who has just been authenticated. @throws {AuthenticationFailed} if the user was changed since */
  async issuePair(user: UserRow, request: RequestInfo | null = null): Promise<Pair> {
    const now = await this.#timeOfIssue(user)
    const custom = await this.#claims.customFor(user, request)
    const first = this.#claims.refreshFor(user, now, custom)
    const { claims, token } = await this.#issue(first, user, request)
    return { refresh: token, access: this.#jwt.encode(this.#claims.accessOf(claims, now, custom)) }
  }

  /** Issues one token for both purposes. @throws {AuthenticationFailed} as obtainPair */
  async obtainSliding(credentials: Credentials, request: RequestInfo | null = null): Promise<{ token: string }> {
    const user = await this.#authenticate(credentials, request)
    const now = await this.#timeOfIssue(user)
    const custom = await this.#claims.customFor(user, request)
    const first = this.#claims.slidingFor(user, now, custom)
    const { token } = await this.#issue(first, user, request)
    await this.#recordLogin(user, request)
    return { token }
  }

  /**
   * Exchanges a refresh token for an access token and, with rotation, its successor.
   *
   * @throws {InvalidToken | AuthenticationFailed} if the token, or its user, is no longer valid
   */
  async refresh(token: string, request: RequestInfo | null = null): Promise<{ access: string; refresh?: string }> {
    // Before the user is read: if everything of the user is ended meanwhile, the new tokens are from before that, too.
    const now = Date.now()
    const { claims, user, custom } = await this.#readToRefresh(token, 'refresh', request)
    const successor = this.#settings.rotateRefreshTokens ? this.#claims.successorOf(claims, now, custom) : null
    const next = await this.#store.rotate({ token, claims, user }, successor, request ?? UNKNOWN_DEVICE)
    const access = this.#jwt.encode(this.#claims.accessOf(next.claims, now, custom))
    return successor === null ? { access } : { access, refresh: next.token }
  }

  /**
   * Extends the lifetime of a sliding token. Unlike the original's documentation says, but as it behaves, an expired one is
   * not renewed.
   *
   * @throws {InvalidToken | AuthenticationFailed} as refresh
   */
  async refreshSliding(token: string, request: RequestInfo | null = null): Promise<{ token: string }> {
    const now = Date.now()
    const { claims, custom } = await this.#readToRefresh(token, 'sliding', request)
    const { slidingTokenRefreshExpClaim: name, leeway } = this.#settings
    const end = claims[name]
    if (end === undefined) throw new InvalidToken(`Token has no '${name}' claim`)
    if (typeof end !== 'number') throw new InvalidToken()
    if (end <= now / 1000 - leeway) throw new InvalidToken(`Token '${name}' claim has expired`)
    await this.#store.touch(claims)
    return { token: this.#jwt.encode(this.#claims.renewed(claims, now, custom)) }
  }

  /** Makes a refresh token unusable: a logout. @throws {InvalidToken} for any other token, and if it already is unusable */
  async blacklist(token: string): Promise<void> {
    const { userIdClaim, userIdField } = this.#settings
    const claims = await this.#verifier.read(token, 'refresh')
    const id = claims[userIdClaim] ?? null
    // The original fails with a 500 for an id that no user can have.
    if (id !== null && !isUserId(userIdField, id)) throw new InvalidToken()
    await this.#store.revoke({ token, claims }, 'logout')
  }

  /** Deletes the records of expired tokens and sessions; SimpleJWT's flushexpiredtokens. @returns how many */
  async flushExpiredTokens(): Promise<number> {
    const { refreshTokenLifetime, slidingTokenRefreshLifetime } = this.#settings
    await this.#users.deleteRehashRecords(Math.max(refreshTokenLifetime, slidingTokenRefreshLifetime))
    return this.#store.deleteExpired()
  }

  async #authenticate({ username, password }: Credentials, request: RequestInfo | null): Promise<UserRow> {
    const user = await this.#users.authenticate(username, password, request)
    if (user !== null && (await this.#mayAuthenticate(user))) return user
    const masked = { [this.#settings.loginField]: username, password: '*'.repeat(20) }
    await this.#options.onLoginFailed?.(masked, request)
    throw new AuthenticationFailed(NO_CREDENTIALS)
  }

  /**
   * Returns the time for `iat`, in milliseconds.
   *
   * Without login sessions, tokens of the second in which everything of the user was ended count as ended, since `iat` has
   * whole seconds. After a change of the password a login therefore waits for the next second.
   */
  async #timeOfIssue(user: UserRow): Promise<number> {
    const now = Date.now()
    if (this.#store.hasLoginSessions) return now
    const next = (Math.floor((await this.#endedAt(user)) / 1000) + 1) * 1000
    if (now >= next) return now
    await setTimeout(Math.min(next - now, 1000))
    return Date.now()
  }

  /** @throws {AuthenticationFailed} if the user was changed since it was read; a store with login sessions checks that itself */
  async #issue(claims: Claims, user: UserRow, request: RequestInfo | null): Promise<IssuedToken> {
    const issued = await this.#store.issue(claims, user, request ?? UNKNOWN_DEVICE)
    if (this.#store.hasLoginSessions || (await this.#users.findUnchanged(user)) !== null) return issued
    throw new AuthenticationFailed(NO_CREDENTIALS)
  }

  #endedAt({ id, username }: UserRow): Promise<number> {
    return this.#sessions.endedAt(id, this.#settings.userIdField === 'username' ? username : undefined)
  }

  async #recordLogin(user: UserRow, request: RequestInfo | null): Promise<void> {
    if (!this.#settings.updateLastLogin) return
    if (this.#options.onLoginSuccess) await this.#options.onLoginSuccess(withoutPassword(user), request)
    else await this.#users.updateLastLogin(user.id)
  }

  async #readToRefresh(token: string, type: 'refresh' | 'sliding', request: RequestInfo | null) {
    const claims = await this.#verifier.read(token, type)
    const user = this.#needsUser(claims) ? await this.#userOf(claims) : null
    if (user && !(await this.#users.isOfCurrentPassword(user, claims[this.#settings.revokeTokenClaim]))) {
      await this.#store.revoke({ token, claims }, 'password')
      throw new AuthenticationFailed(PasswordChanged.detail)
    }
    if (user && !this.#store.knowsUser(claims)) {
      const endedAt = await this.#endedAt(user)
      // Also a token without `iat` is from before.
      if (endedAt > 0 && !(Number(claims.iat) * 1000 > endedAt)) throw new InvalidToken('Token is blacklisted')
    }
    const custom = user && this.#claims.areRenewed ? await this.#claims.customFor(user, request) : {}
    return { claims, user, custom }
  }

  #needsUser(claims: Claims): boolean {
    if (!this.#store.knowsUser(claims)) return true
    const { userAuthenticationRule } = this.#options
    return userAuthenticationRule !== undefined || this.#claims.areRenewed || this.#settings.checkRevokeToken
  }

  /** Null for a token without a user id, which SimpleJWT refreshes; the tokens that it yields authenticate no request. */
  async #userOf(claims: Claims): Promise<UserRow | null> {
    const id = claims[this.#settings.userIdClaim]
    if (id === undefined || id === null || id === '' || id === 0) return null
    const user = await this.#users.get(this.#settings.userIdField, id)
    if (user === null || !(await this.#mayAuthenticate(user))) throw new AuthenticationFailed(NO_ACCOUNT)
    return user
  }

  #mayAuthenticate(user: UserRow): Awaitable<boolean> {
    const rule = this.#options.userAuthenticationRule
    return rule ? rule(withoutPassword(user)) : user.isActive || !this.#settings.checkUserIsActive
  }
}

/** SimpleJWT's views without their HTTP: obtain, refresh, verify and blacklist tokens, and accept them from a caller. */

import type { User as UserRow } from '../database/open.ts'
import { AuthenticationFailed, InvalidToken, PasswordChanged, ValidationError } from '../errors.ts'
import type { Settings } from '../settings.ts'
import { isUserId, type User, type Users, withoutPassword } from '../users/users.ts'
import { type Blacklist, NO_ACCOUNT } from './blacklist.ts'
import type { Claims, Jwt } from './jwt.ts'
import { type CustomClaimsOptions, Mint } from './mint.ts'

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

const KINDS = { AccessToken: 'access', SlidingToken: 'sliding' } as const

export class Tokens {
  readonly #settings: Settings
  readonly #jwt: Jwt
  readonly #users: Users
  readonly #blacklist: Blacklist | null
  readonly #options: TokenOptions
  readonly #mint: Mint

  /** @param blacklist null where refresh tokens are not remembered */
  constructor(settings: Settings, jwt: Jwt, users: Users, blacklist: Blacklist | null, options: TokenOptions = {}) {
    this.#settings = settings
    this.#jwt = jwt
    this.#users = users
    this.#blacklist = blacklist
    this.#options = options
    this.#mint = new Mint(settings, options)
  }

  /** @throws {AuthenticationFailed} if no user who may sign in has these credentials */
  async obtainPair(credentials: Credentials, request: unknown = null): Promise<Pair> {
    const user = await this.#authenticate(credentials, request)
    const now = Date.now()
    const custom = await this.#customClaims(user, request)
    const claims = this.#mint.refreshFor(user, now, custom)
    const refresh = await this.#hand(claims, user, now)
    await this.#loggedIn(user, request)
    return { refresh, access: this.#jwt.encode(this.#mint.accessOf(claims, now, custom)) }
  }

  /** One token for both purposes. @throws {AuthenticationFailed} as obtainPair */
  async obtainSliding(credentials: Credentials, request: unknown = null): Promise<{ token: string }> {
    const user = await this.#authenticate(credentials, request)
    const now = Date.now()
    const token = await this.#hand(this.#mint.slidingFor(user, now, await this.#customClaims(user, request)), user, now)
    await this.#loggedIn(user, request)
    return { token }
  }

  /**
   * A new access token and, with rotation, a new refresh token in place of this one. Of parallel uses one wins.
   *
   * @throws {InvalidToken | AuthenticationFailed} if the token, or its user, is no longer good
   */
  async refresh(token: string, request: unknown = null): Promise<{ access: string; refresh?: string }> {
    const { claims, user, custom } = await this.#readToRefresh(token, 'refresh', request)
    const now = Date.now()
    const access = this.#jwt.encode(this.#mint.accessOf(claims, now, custom))
    if (!this.#settings.rotateRefreshTokens) return { access }
    const successor = this.#mint.successorOf(claims, now, custom)
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
    return { token: this.#jwt.encode(this.#mint.renewed(claims, now, custom)) }
  }

  /** @throws {InvalidToken | ValidationError} if the token, of whatever kind, is not good */
  async verify(token: string): Promise<void> {
    const claims = this.#jwt.decode(token)
    this.#checkPresence(claims)
    if (this.#settings.blacklistAfterRotation && (await this.#isBlacklisted(claims))) {
      throw new ValidationError({ non_field_errors: ['Token is blacklisted'] })
    }
  }

  /** @throws {InvalidToken} if it is no refresh token or not good any more */
  async blacklist(token: string): Promise<void> {
    const { userIdClaim, userIdField } = this.#settings
    const claims = await this.#read(token, 'refresh')
    const named = claims[userIdClaim] ?? null
    // Only a user who can be named can be gone; the original crashes here.
    if (named !== null && !isUserId(userIdField, named)) throw new InvalidToken()
    if (this.#blacklist === null) return
    const user = named === null ? null : await this.#users.get(userIdField, named)
    await this.#blacklist.blacklist(this.#mint.recordOf(token, claims, user?.id ?? null, Date.now()))
  }

  /**
   * The claims of a token that comes in a header, which is of one of the accepted classes.
   *
   * @throws {InvalidToken} with SimpleJWT's `messages`, one for each class
   */
  async authenticate(token: string): Promise<Claims> {
    const messages = []
    for (const tokenClass of this.#settings.authTokenClasses) {
      const kind = KINDS[tokenClass]
      try {
        const claims = this.#jwt.decode(token)
        if (kind === 'sliding') await this.#checkBlacklist(claims)
        this.#checkPresence(claims)
        this.#checkKind(claims, kind)
        return claims
      } catch (error) {
        if (!(error instanceof InvalidToken)) throw error
        messages.push({ token_class: tokenClass, token_type: kind, message: error.message })
      }
    }
    throw new InvalidToken('Given token not valid for any token type', { messages })
  }

  /** Deletes what is recorded of expired tokens; how many were. */
  async flushExpiredTokens(): Promise<number> {
    const { refreshTokenLifetime, slidingTokenRefreshLifetime } = this.#settings
    await this.#users.forgetRenewals(Math.max(refreshTokenLifetime, slidingTokenRefreshLifetime))
    return (await this.#blacklist?.flushExpired()) ?? 0
  }

  async #authenticate({ username, password }: Credentials, request: unknown): Promise<UserRow> {
    const user = await this.#users.authenticate(username, password)
    if (user !== null && (await this.#mayAuthenticate(user))) return user
    await this.#options.onLoginFailed?.({ username, password: '*'.repeat(20) }, request)
    throw new AuthenticationFailed('No active account found with the given credentials')
  }

  async #loggedIn(user: UserRow, request: unknown): Promise<void> {
    if (!this.#settings.updateLastLogin) return
    if (this.#options.onLoginSuccess) await this.#options.onLoginSuccess(withoutPassword(user), request)
    else await this.#users.updateLastLogin(user.id)
  }

  /** Signs a token and records it. */
  async #hand(claims: Claims, user: UserRow, now: number): Promise<string> {
    const token = this.#jwt.encode(claims)
    await this.#blacklist?.outstand(this.#mint.recordOf(token, claims, user.id, now))
    return token
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
    const claims = await this.#read(token, kind)
    const user = await this.#userOf(claims)
    if (user && !(await this.#users.isOfCurrentPassword(user, claims[this.#settings.revokeTokenClaim]))) {
      await this.#blacklist?.blacklist(this.#mint.recordOf(token, claims, user.id, Date.now()))
      throw new AuthenticationFailed(PasswordChanged.detail)
    }
    const custom = user && this.#mint.makesClaimsAtRefresh ? await this.#customClaims(user, request) : {}
    return { claims, user, custom }
  }

  /** SimpleJWT's order: a blacklisted token says so even if it is of the wrong kind. */
  async #read(token: string, kind: 'refresh' | 'sliding'): Promise<Claims> {
    const claims = this.#jwt.decode(token)
    await this.#checkBlacklist(claims)
    this.#checkPresence(claims)
    this.#checkKind(claims, kind)
    return claims
  }

  async #checkBlacklist(claims: Claims): Promise<void> {
    if (await this.#isBlacklisted(claims)) throw new InvalidToken('Token is blacklisted')
  }

  async #isBlacklisted(claims: Claims): Promise<boolean> {
    const { jtiClaim } = this.#settings
    const jti = jtiClaim === null ? undefined : claims[jtiClaim]
    return this.#blacklist !== null && typeof jti === 'string' && this.#blacklist.isBlacklisted(jti)
  }

  #checkPresence(claims: Claims): void {
    if (claims.exp === undefined) throw new InvalidToken("Token has no 'exp' claim")
    const { jtiClaim } = this.#settings
    if (jtiClaim !== null && claims[jtiClaim] === undefined) throw new InvalidToken('Token has no id')
  }

  #checkKind(claims: Claims, wanted: string): void {
    const { tokenTypeClaim } = this.#settings
    if (tokenTypeClaim === null) return
    const kind = claims[tokenTypeClaim]
    if (kind === undefined) throw new InvalidToken('Token has no type')
    if (kind !== wanted) throw new InvalidToken('Token has wrong type')
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

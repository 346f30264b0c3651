/** The claims of new tokens, as SimpleJWT writes them. All times that come in are in milliseconds. */
import { uuidHex } from '../crypto/random.ts'
import type { User as UserRow } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'
import { fingerprintOf } from '../users/rehash.ts'
import { type User, withoutPassword } from '../users/user.ts'
import type { Claims } from './jwt.ts'
import type { RequestInfo } from './request-info.ts'

/** Claims that name rights, which guards of `latchkey/verify` read. They are made anew at each refresh. */
const RIGHTS = ['is_staff', 'is_superuser', 'permissions']

export type TokenType = 'access' | 'refresh' | 'sliding'

export interface CustomClaimsOptions {
  /** Returns additional claims for a user, such as `{ plan: 'pro' }`. */
  claims?(user: User, request: RequestInfo | null): Claims | Promise<Claims>
  /** Which tokens have them; by default `both`. */
  claimsIn?: 'both' | 'access' | 'refresh'
  /** True: `claims` is called again at each refresh. By default they stay as they were at login. */
  freshClaims?: boolean
}

export class TokenClaims {
  readonly #settings: Settings
  readonly #claims: CustomClaimsOptions['claims']
  readonly #claimsIn: 'both' | 'access' | 'refresh'
  readonly #freshClaims: boolean
  /** Claims that an access token does not take over from its refresh token. */
  readonly #perToken: Set<string | null>
  /** Claims that an access token takes over in any case. */
  readonly #identity: Set<string>
  /** Names that custom claims cannot have. */
  readonly #reserved: Set<string | null>

  constructor(settings: Settings, { claims, claimsIn = 'both', freshClaims = false }: CustomClaimsOptions) {
    const { tokenTypeClaim, jtiClaim, userIdClaim, revokeTokenClaim, slidingTokenRefreshExpClaim } = settings
    this.#settings = settings
    this.#claims = claims
    this.#claimsIn = claimsIn
    this.#freshClaims = freshClaims
    this.#perToken = new Set([tokenTypeClaim, jtiClaim, 'jti', 'exp', 'iat'])
    this.#identity = new Set([userIdClaim, revokeTokenClaim, 'sid'])
    const others = ['nbf', 'aud', 'iss', slidingTokenRefreshExpClaim]
    this.#reserved = new Set([...this.#perToken, ...this.#identity, ...others])
  }

  /** True if a refresh calls `claims` again, because the refresh token lacks custom claims or has outdated ones. */
  get areRenewed(): boolean {
    return this.#claims !== undefined && (this.#freshClaims || this.#claimsIn === 'access')
  }

  /** Calls `claims`. @throws {TypeError} if it returns a reserved name */
  async customFor(user: UserRow, request: RequestInfo | null): Promise<Claims> {
    const custom = (await this.#claims?.(withoutPassword(user), request)) ?? {}
    const taken = Object.keys(custom).find((name) => this.#reserved.has(name))
    if (taken !== undefined) throw new TypeError(`claims: "${taken}" is a reserved claim`)
    const right = this.areRenewed ? undefined : RIGHTS.find((name) => name in custom)
    if (right !== undefined) {
      throw new TypeError(
        `claims: "${right}" needs freshClaims: true or claimsIn: 'access', or it would outlive a change`
      )
    }
    return custom
  }

  refreshFor(user: UserRow, now: number, custom: Claims): Claims {
    return { ...this.#newClaims('refresh', now), ...this.#userClaims(user), ...(this.#claimsIn !== 'access' && custom) }
  }

  slidingFor(user: UserRow, now: number, custom: Claims): Claims {
    const { slidingTokenRefreshExpClaim: name, slidingTokenRefreshLifetime } = this.#settings
    const end = { [name]: Math.floor(now / 1000) + slidingTokenRefreshLifetime }
    return { ...this.#newClaims('sliding', now), ...end, ...this.#userClaims(user), ...custom }
  }

  /** The claims of a rotated refresh token: other claims keep their values and their order. */
  successorOf(claims: Claims, now: number, custom: Claims): Claims {
    if (!this.#freshClaims) return { ...claims, ...this.#times('refresh', now), ...this.#newId() }
    return {
      ...this.#newClaims('refresh', now),
      ...this.#inherited(claims),
      ...(this.#claimsIn !== 'access' && custom)
    }
  }

  /** The claims of a renewed sliding token: its id and the end of its renewals stay. */
  renewed(sliding: Claims, now: number, custom: Claims): Claims {
    return { ...sliding, ...this.#times('sliding', now), ...(this.areRenewed && custom) }
  }

  /** The claims of an access token for this refresh token. */
  accessOf(refresh: Claims, now: number, custom: Claims): Claims {
    return {
      ...this.#newClaims('access', now),
      ...this.#inherited(refresh),
      ...(this.#claimsIn !== 'refresh' && custom)
    }
  }

  /** Without the custom claims where they are outdated or not for access tokens. */
  #inherited(claims: Claims): Claims {
    const isIdentityOnly = this.#freshClaims || this.#claimsIn === 'refresh'
    const isInherited = (name: string) => (isIdentityOnly ? this.#identity.has(name) : !this.#perToken.has(name))
    return Object.fromEntries(Object.entries(claims).filter(([name]) => isInherited(name)))
  }

  #newClaims(type: TokenType, now: number): Claims {
    const { tokenTypeClaim } = this.#settings
    return { ...(tokenTypeClaim !== null && { [tokenTypeClaim]: type }), ...this.#times(type, now), ...this.#newId() }
  }

  #times(type: TokenType, now: number): Claims {
    const { accessTokenLifetime, refreshTokenLifetime, slidingTokenLifetime } = this.#settings
    const lifetimes = { access: accessTokenLifetime, refresh: refreshTokenLifetime, sliding: slidingTokenLifetime }
    const iat = Math.floor(now / 1000)
    return { exp: iat + lifetimes[type], iat }
  }

  #newId(): Claims {
    const { jtiClaim } = this.#settings
    return jtiClaim === null ? {} : { [jtiClaim]: uuidHex() }
  }

  #userClaims(user: UserRow): Claims {
    const { userIdClaim, userIdField, checkRevokeToken, revokeTokenClaim } = this.#settings
    return {
      [userIdClaim]: String(user[userIdField]),
      ...(checkRevokeToken && { [revokeTokenClaim]: fingerprintOf(user.password) })
    }
  }
}

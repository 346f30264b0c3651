/** What goes into a token, and what is recorded of it. */
import { uuidHex } from '../crypto/random.ts'
import type { User as UserRow } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'
import { fingerprintOf } from '../users/rehash.ts'
import type { Claims } from './jwt.ts'
import type { TokenRecord } from './stores/blacklist-store.ts'

export type TokenKind = 'access' | 'refresh' | 'sliding'

/** Which tokens have the claims of one's own, and whether a refresh makes them afresh. */
export interface CustomClaimsOptions {
  /** By default `both`. */
  claimsIn?: 'both' | 'access' | 'refresh'
  /** By default they stay as they were at the login. */
  freshClaims?: boolean
}

/** All times are in milliseconds. */
export class Mint {
  readonly #settings: Settings
  readonly #claimsIn: 'both' | 'access' | 'refresh'
  readonly #freshClaims: boolean
  /** What an access token does not take over from its refresh token. */
  readonly #ownClaims: Set<string | null>
  /** What no claim of one's own may be called. */
  readonly #reserved: Set<string | null>
  /** What an access token takes over whatever else it does not. */
  readonly #always: Set<string>

  constructor(settings: Settings, { claimsIn = 'both', freshClaims = false }: CustomClaimsOptions) {
    const { tokenTypeClaim, jtiClaim, userIdClaim, revokeTokenClaim, slidingTokenRefreshExpClaim } = settings
    this.#settings = settings
    this.#claimsIn = claimsIn
    this.#freshClaims = freshClaims
    this.#ownClaims = new Set([tokenTypeClaim, jtiClaim, 'jti', 'exp', 'iat'])
    const others = ['nbf', 'aud', 'iss', slidingTokenRefreshExpClaim]
    this.#always = new Set([userIdClaim, revokeTokenClaim, ...(settings.refreshStore === 'session' ? ['sid'] : [])])
    this.#reserved = new Set([...this.#ownClaims, ...others, ...this.#always])
  }

  /** True if a refresh has to make the claims of one's own, which the refresh token does not have or has from before. */
  get makesClaimsAtRefresh(): boolean {
    return this.#freshClaims || this.#claimsIn === 'access'
  }

  /** @throws {TypeError} for a claim that is not one's own */
  checkCustom(custom: Claims): Claims {
    const taken = Object.keys(custom).find((name) => this.#reserved.has(name))
    if (taken !== undefined) throw new TypeError(`claims: "${taken}" is not a claim of one's own`)
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

  /** What else a token has stays, in its place. */
  successorOf(claims: Claims, now: number, custom: Claims): Claims {
    if (!this.#freshClaims) return { ...claims, ...this.#times('refresh', now), ...this.#newId() }
    return { ...this.#newClaims('refresh', now), ...this.#handedOn(claims), ...(this.#claimsIn !== 'access' && custom) }
  }

  /** The same token for a while longer: its id stays, and so does the end of its renewals. */
  renewed(sliding: Claims, now: number, custom: Claims): Claims {
    return { ...sliding, ...this.#times('sliding', now), ...(this.#freshClaims && custom) }
  }

  accessOf(refresh: Claims, now: number, custom: Claims): Claims {
    return {
      ...this.#newClaims('access', now),
      ...this.#handedOn(refresh),
      ...(this.#claimsIn !== 'refresh' && custom)
    }
  }

  recordOf(token: string, claims: Claims, userId: number | null, now: number): TokenRecord {
    const expiresAt = new Date(Math.trunc(claims.exp as number) * 1000)
    return {
      token,
      jti: claims[this.#settings.jtiClaim as string] as string,
      userId,
      createdAt: new Date(now),
      expiresAt
    }
  }

  /** All that is not a token's own; where claims of one's own may be stale or are not to be seen, only whose it is. */
  #handedOn(claims: Claims): Claims {
    const isPicky = this.#freshClaims || this.#claimsIn === 'refresh'
    const goesOn = (name: string) => (isPicky ? this.#always.has(name) : !this.#ownClaims.has(name))
    return Object.fromEntries(Object.entries(claims).filter(([name]) => goesOn(name)))
  }

  #newClaims(kind: TokenKind, now: number): Claims {
    const { tokenTypeClaim } = this.#settings
    return { ...(tokenTypeClaim !== null && { [tokenTypeClaim]: kind }), ...this.#times(kind, now), ...this.#newId() }
  }

  #times(kind: TokenKind, now: number): Claims {
    const { accessTokenLifetime, refreshTokenLifetime, slidingTokenLifetime } = this.#settings
    const lifetimes = { access: accessTokenLifetime, refresh: refreshTokenLifetime, sliding: slidingTokenLifetime }
    const iat = Math.floor(now / 1000)
    return { exp: iat + lifetimes[kind], iat }
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

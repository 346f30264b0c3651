/** Tells whether a token is good, of what kind and whose: all that needs no user. */
import { InvalidToken, ValidationError } from '../errors.ts'
import type { Revocations } from '../sessions/revocations.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Settings } from '../settings/schema.ts'
import type { Claims, Jwt } from './jwt.ts'

const KINDS = { AccessToken: 'access', SlidingToken: 'sliding' } as const

/** What knows which refresh tokens can be used no more. */
interface Refused {
  isBlacklisted: (jti: string) => Promise<boolean>
}

/** What is remembered of tokens. */
export interface Memory<Blacklist extends Refused = Refused> {
  /** Null where refresh tokens are not remembered. Beside sessions it is of tokens from before there were any. */
  blacklist: Blacklist | null
  /** Null where logins are not sessions. */
  sessions: Sessions | null
  /** Null where nobody can tell what was revoked. */
  revocations: Pick<Revocations, 'refuses'> | null
}

export const NO_MEMORY: Memory = { blacklist: null, sessions: null, revocations: null }

export class TokenReader {
  readonly #settings: Settings
  readonly #jwt: Jwt
  readonly #memory: Memory

  constructor(settings: Settings, jwt: Jwt, memory: Memory) {
    this.#settings = settings
    this.#jwt = jwt
    this.#memory = memory
  }

  /** @throws {InvalidToken | ValidationError} if the token, of whatever kind, is not good */
  async verify(token: string): Promise<void> {
    const claims = await this.#jwt.decode(token)
    this.#checkPresence(claims)
    if (await this.#isRefused(claims)) {
      throw new ValidationError({ non_field_errors: ['Token is blacklisted'] })
    }
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
        const claims = await this.#jwt.decode(token)
        if (kind === 'sliding') await this.#checkBlacklist(claims)
        this.#checkPresence(claims)
        this.#checkKind(claims, kind)
        if (this.#memory.revocations?.refuses(claims)) throw new InvalidToken('Token is blacklisted')
        return claims
      } catch (error) {
        if (!(error instanceof InvalidToken)) throw error
        messages.push({ token_class: tokenClass, token_type: kind, message: error.message })
      }
    }
    throw new InvalidToken('Given token not valid for any token type', { messages })
  }

  /**
   * SimpleJWT's order: a blacklisted token says so even if it is of the wrong kind. Where logins are sessions, it is for them
   * to say of a refresh token whether it is good.
   */
  protected async read(token: string, kind: 'refresh' | 'sliding'): Promise<Claims> {
    const claims = await this.#jwt.decode(token)
    if (this.#memory.sessions === null || kind === 'sliding') await this.#checkBlacklist(claims)
    this.#checkPresence(claims)
    this.#checkKind(claims, kind)
    return claims
  }

  async #checkBlacklist(claims: Claims): Promise<void> {
    if (await this.#isBlacklisted(claims)) throw new InvalidToken('Token is blacklisted')
  }

  async #isBlacklisted(claims: Claims): Promise<boolean> {
    const { blacklist, sessions } = this.#memory
    if (blacklist === null || (sessions !== null && typeof claims.sid === 'string')) return false
    const jti = this.#jtiOf(claims)
    return typeof jti === 'string' && blacklist.isBlacklisted(jti)
  }

  async #isRefused(claims: Claims): Promise<boolean> {
    const { sessions, revocations } = this.#memory
    if (revocations?.refuses(claims)) return true
    if (sessions === null || typeof claims.sid !== 'string') {
      return this.#settings.blacklistAfterRotation && this.#isBlacklisted(claims)
    }
    const { tokenTypeClaim } = this.#settings
    const isRefresh = tokenTypeClaim !== null && claims[tokenTypeClaim] === 'refresh'
    return isRefresh && !(await sessions.isLive(claims.sid, String(this.#jtiOf(claims))))
  }

  #jtiOf(claims: Claims): unknown {
    const { jtiClaim } = this.#settings
    return jtiClaim === null ? undefined : claims[jtiClaim]
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
}

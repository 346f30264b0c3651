/** Tells whether a token is good, of what kind and whose: all that needs no user. */
import { InvalidToken, ValidationError } from '../errors.ts'
import type { Settings } from '../settings.ts'
import type { Claims, Jwt } from './jwt.ts'

const KINDS = { AccessToken: 'access', SlidingToken: 'sliding' } as const

/** What knows which refresh tokens can be used no more. */
interface Refused {
  isBlacklisted: (jti: string) => Promise<boolean>
}

export class TokenReader {
  readonly #settings: Settings
  readonly #jwt: Jwt
  readonly #blacklist: Refused | null

  /** @param blacklist null where refresh tokens are not remembered */
  constructor(settings: Settings, jwt: Jwt, blacklist: Refused | null) {
    this.#settings = settings
    this.#jwt = jwt
    this.#blacklist = blacklist
  }

  /** @throws {InvalidToken | ValidationError} if the token, of whatever kind, is not good */
  async verify(token: string): Promise<void> {
    const claims = await this.#jwt.decode(token)
    this.#checkPresence(claims)
    if (this.#settings.blacklistAfterRotation && (await this.#isBlacklisted(claims))) {
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
        return claims
      } catch (error) {
        if (!(error instanceof InvalidToken)) throw error
        messages.push({ token_class: tokenClass, token_type: kind, message: error.message })
      }
    }
    throw new InvalidToken('Given token not valid for any token type', { messages })
  }

  /** SimpleJWT's order: a blacklisted token says so even if it is of the wrong kind. */
  protected async read(token: string, kind: 'refresh' | 'sliding'): Promise<Claims> {
    const claims = await this.#jwt.decode(token)
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
}

/** Verifies tokens: signature and times, type, revocation. It needs no user, and no database where nothing can be revoked. */
import { InvalidToken, ValidationError } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import type { Claims, Jwt } from './jwt.ts'

const TOKEN_TYPES = { AccessToken: 'access', SlidingToken: 'sliding' } as const

/** What can make a token unusable before it expires. */
export interface VerifierSources {
  /** See `Revocations`: revoked access tokens, in memory. */
  revocations: Record<'isRevoked' | 'isUserRevoked', (claims: Claims) => boolean>
  /** See `RefreshStore`. */
  store: { assertActive(claims: Claims, isForRotation?: boolean): Promise<void> }
}

const NOTHING_REVOKED: VerifierSources = {
  revocations: { isRevoked: () => false, isUserRevoked: () => false },
  store: { assertActive: async () => undefined }
}

export class TokenVerifier {
  readonly #settings: Settings
  readonly #jwt: Jwt
  readonly #sources: VerifierSources

  /** @param sources left out where only expiry ends a token, as in `latchkey/verify` */
  constructor(settings: Settings, jwt: Jwt, sources: VerifierSources = NOTHING_REVOKED) {
    this.#settings = settings
    this.#jwt = jwt
    this.#sources = sources
  }

  /**
   * Checks a token of any type; SimpleJWT's TokenVerifySerializer.
   *
   * @throws {InvalidToken | ValidationError}
   */
  async verify(token: string): Promise<void> {
    const claims = await this.#jwt.decode(token)
    this.#checkPresence(claims)
    if (await this.#isRevoked(claims)) throw new ValidationError({ non_field_errors: ['Token is blacklisted'] })
  }

  /**
   * Verifies the token of an `Authorization` header, which must be of one of `authTokenClasses`.
   *
   * @throws {InvalidToken} with SimpleJWT's `messages`, one for each class
   */
  async authenticate(token: string): Promise<Claims> {
    const messages = []
    for (const tokenClass of this.#settings.authTokenClasses) {
      const type = TOKEN_TYPES[tokenClass]
      try {
        const claims = await this.#jwt.decode(token)
        if (type === 'sliding') await this.#sources.store.assertActive(claims, true)
        this.#checkPresence(claims)
        this.#checkType(claims, type)
        if (this.#sources.revocations.isRevoked(claims)) throw new InvalidToken('Token is blacklisted')
        return claims
      } catch (error) {
        if (!(error instanceof InvalidToken)) throw error
        messages.push({ token_class: tokenClass, token_type: type, message: error.message })
      }
    }
    throw new InvalidToken('Given token not valid for any token type', { messages })
  }

  /** True if another service has signed the token, so that it names none of our users. @param claims of `authenticate` */
  isForeign(claims: Claims): boolean {
    return this.#jwt.isForeign(claims)
  }

  /**
   * Verifies a token that is about to be rotated, renewed or revoked.
   *
   * SimpleJWT's order: a blacklisted token is reported as such even if it is of the wrong type.
   */
  async read(token: string, type: 'refresh' | 'sliding'): Promise<Claims> {
    const claims = await this.#jwt.decode(token)
    // Only the service that has issued a token can renew or revoke it.
    if (this.isForeign(claims)) throw new InvalidToken()
    await this.#sources.store.assertActive(claims, true)
    this.#checkPresence(claims)
    this.#checkType(claims, type)
    // A renewal would move `iat`, by which revocations go.
    if (type === 'sliding' && this.#sources.revocations.isRevoked(claims)) {
      throw new InvalidToken('Token is blacklisted')
    }
    return claims
  }

  /**
   * @throws {InvalidToken} if all tokens of the user were revoked after this one was issued
   */
  assertUserNotRevoked(claims: Claims): void {
    if (this.#sources.revocations.isUserRevoked(claims)) throw new InvalidToken('Token is blacklisted')
  }

  async #isRevoked(claims: Claims): Promise<boolean> {
    const { revocations, store } = this.#sources
    if (revocations.isRevoked(claims)) return true
    // A username may be another user's now.
    if (this.#settings.userIdField === 'username' && revocations.isUserRevoked(claims)) return true
    // As in SimpleJWT, where the view looks at the blacklist only with this setting.
    if (!this.#settings.blacklistAfterRotation && typeof claims.sid !== 'string') return false
    try {
      await store.assertActive(claims)
      return false
    } catch (error) {
      if (error instanceof InvalidToken) return true
      throw error
    }
  }

  #checkPresence(claims: Claims): void {
    if (claims.exp === undefined) throw new InvalidToken("Token has no 'exp' claim")
    const { jtiClaim } = this.#settings
    if (jtiClaim !== null && claims[jtiClaim] === undefined) throw new InvalidToken('Token has no id')
  }

  #checkType(claims: Claims, expected: string): void {
    const { tokenTypeClaim } = this.#settings
    if (tokenTypeClaim === null) return
    const type = claims[tokenTypeClaim]
    if (type === undefined) throw new InvalidToken('Token has no type')
    if (type !== expected) throw new InvalidToken('Token has wrong type')
  }
}

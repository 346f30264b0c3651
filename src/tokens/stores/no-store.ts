/** `JWT_REFRESH_STORE=none`: SimpleJWT without its blacklist app. A refresh token stays valid until it expires. */
import type { Claims } from '../jwt.ts'
import type { IssuedToken, RefreshStore, UsedToken } from './refresh-store.ts'

export class NoStore implements RefreshStore {
  readonly hasLoginSessions = false
  readonly #encode: (claims: Claims) => string

  /** @param encode signs the claims of a token */
  constructor(encode: (claims: Claims) => string) {
    this.#encode = encode
  }

  knowsUser(): boolean {
    return false
  }

  async issue(claims: Claims): Promise<IssuedToken> {
    return { token: this.#encode(claims), claims }
  }

  async rotate(used: UsedToken, successor: Claims | null): Promise<IssuedToken> {
    return successor === null ? used : this.issue(successor)
  }

  async touch(): Promise<void> {}

  async assertActive(): Promise<void> {}

  async revoke(): Promise<void> {}

  async deleteExpired(): Promise<number> {
    return 0
  }
}

/** What `Tokens` needs of a store of refresh and sliding tokens. `JWT_REFRESH_STORE` chooses one of three at start-up. */
import type { User as UserRow } from '../../database/open.ts'
import type { Device } from '../../sessions/session-rows.ts'
import type { EndReason } from '../../sessions/sessions.ts'
import type { Claims } from '../jwt.ts'

export interface IssuedToken {
  /** The encoded JWT. */
  readonly token: string
  readonly claims: Claims
}

/** A refresh token that a client presents for rotation; its signature, times and type have been checked. */
export interface UsedToken extends IssuedToken {
  /** Its user; null if the token names none, or if the store `knowsUser`. */
  readonly user: UserRow | null
}

export interface RefreshStore {
  /** True if every login is a row that users can list and end. */
  readonly hasLoginSessions: boolean

  /** True if `rotate` itself checks that the user of this token exists and is active, so that no query has to. */
  knowsUser(claims: Claims): boolean

  /**
   * Records and encodes the first refresh or sliding token of a login.
   *
   * @param claims may be extended or shortened in lifetime by the store
   * @param user with the password hash that the credentials were checked against
   * @throws {AuthenticationFailed} by a store with login sessions, if the user was deactivated, deleted or given another
   *   password meanwhile
   */
  issue(claims: Claims, user: UserRow, device: Device): Promise<IssuedToken>

  /**
   * Exchanges a refresh token for its successor. The database decides between concurrent calls.
   *
   * @param successor claims of the next token; null if refresh tokens are not rotated
   * @returns the refresh token that is valid from now on
   * @throws {InvalidToken} `Token is blacklisted`, if the token can no longer be used
   * @throws {AuthenticationFailed} if the user no longer exists or is inactive
   */
  rotate(used: UsedToken, successor: Claims | null, device: Device): Promise<IssuedToken>

  /** Records the use of a sliding token, which stays the same. @throws as rotate */
  touch(claims: Claims): Promise<void>

  /**
   * Checks that a token of any type can still be used.
   *
   * @param isForRotation true if `rotate` or `revoke` follows; a store whose statement decides leaves the check to it
   * @throws {InvalidToken} `Token is blacklisted`
   */
  assertActive(claims: Claims, isForRotation?: boolean): Promise<void>

  /** Makes a refresh token unusable. @throws {InvalidToken} if it already is */
  revoke(token: IssuedToken, reason: EndReason): Promise<void>

  /** Deletes the records of expired tokens. @returns how many */
  deleteExpired(): Promise<number>
}

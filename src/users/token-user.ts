import type { User, UserIdField } from './user.ts'

/** SimpleJWT's TokenUser: a caller as the token says, without a look at the database. */
export class TokenUser {
  /** The user id claim as it stands in the token: text. */
  readonly id: string
  readonly username: string
  readonly isStaff: boolean
  readonly isSuperuser: boolean
  readonly isActive = true
  /** Which column `id` is of. */
  readonly idField: UserIdField
  readonly claims: Readonly<Record<string, unknown>>

  constructor(id: unknown, idField: UserIdField, claims: Readonly<Record<string, unknown>>) {
    this.id = String(id)
    this.idField = idField
    this.claims = claims
    this.username = typeof claims.username === 'string' ? claims.username : ''
    this.isStaff = claims.is_staff === true
    this.isSuperuser = claims.is_superuser === true
  }
}

/** Who makes a request: a row of `auth_user`, or what a token says of one. */
export type Caller = User | TokenUser

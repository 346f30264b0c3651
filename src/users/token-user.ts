import type { User, UserIdField } from './user.ts'

/** SimpleJWT's TokenUser: a caller as the token says, without a look at the database. */
export class TokenUser {
  /** The user id claim as it stands in the token: text. */
  readonly id: string
  readonly username: string
  readonly isStaff: boolean
  readonly isSuperuser: boolean
  readonly isActive = true
  /** Which column `id` is of; null for a user of another service, who is not in the database whatever the id. */
  readonly idField: UserIdField | null
  readonly claims: Readonly<Record<string, unknown>>

  constructor(id: unknown, idField: UserIdField | null, claims: Readonly<Record<string, unknown>>) {
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

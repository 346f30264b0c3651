import type { User, UserIdField } from './user.ts'

/** SimpleJWT's TokenUser: a caller that is known by its token only. */
export class TokenUser {
  /** The user id claim, as text. */
  readonly id: string
  readonly username: string
  readonly isStaff: boolean
  readonly isSuperuser: boolean
  readonly isActive = true
  /** The column that `id` is of; null for a user of another service, who is not in the database. */
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

/** The caller of a request: a row of `auth_user`, or a user that is known by its token only. */
export type Caller = User | TokenUser

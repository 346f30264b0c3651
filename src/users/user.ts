/** Users without password hashes, and the values that identify them in tokens. */
import type { User as UserRow } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'

/** A user without the password hash. */
export type User = Omit<UserRow, 'password'>
/** The columns that can identify a user in a token. */
export type UserIdField = Settings['userIdField']

/** The request of a login. */
export interface LoginRequest {
  id: string
  address: string
  userAgent: string
  /** True if the client has closed the connection. */
  isAbandoned?: () => boolean
}

/** A password was checked for a login. */
export interface LoginOutcome {
  /** Null if there is no such user. */
  userId: number | null
  isAccepted: boolean
  request: LoginRequest | null
}

export interface UsersOptions {
  onLogin?: (outcome: LoginOutcome) => void
  /** Called after every change of an email address, with the user as it was. */
  onEmailChanged?: (before: User) => void
}

export function withoutPassword({ password: _, ...user }: UserRow): User {
  return user
}

/**
 * Reads a primary key in a token: an integer, or its canonical text.
 *
 * @returns null for any other value, such as `"1e0"`, `"１"`, `true`, or a number that is too large for an integer
 *   column
 */
export function primaryKeyOf(value: unknown): number | null {
  const key = typeof value === 'string' && /^[1-9]\d{0,9}$/.test(value) ? Number(value) : value
  return typeof key === 'number' && Number.isInteger(key) && key > 0 && key <= 2_147_483_647 ? key : null
}

/** True for a value that can be a user's id or username, whether or not the user exists. */
export const isUserId = (field: UserIdField, value: unknown): boolean =>
  field === 'username' ? isName(value) : primaryKeyOf(value) !== null

/** Excludes NUL, which PostgreSQL cannot store, and lone surrogates, which UTF-8 cannot encode. */
export const isName = (value: unknown): value is string =>
  typeof value === 'string' && fitsColumn(value) && !value.includes('\0') && value.isWellFormed()

const MAX_CHARACTERS = 150
/** Django and PostgreSQL count code points, of one or two UTF-16 units each. */
export const fitsColumn = (name: string) => name.length <= 2 * MAX_CHARACTERS && [...name].length <= MAX_CHARACTERS

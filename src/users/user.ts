/** A user as the rest sees one, and what names one. */
import type { User as UserRow } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'

/** A user without the password hash, which never leaves this module unless asked for by name. */
export type User = Omit<UserRow, 'password'>
/** The columns that a token may name a user by. */
export type UserIdField = Settings['userIdField']

/** The request of a login, for the log. */
export interface LoginRequest {
  id: string
  address: string
  userAgent: string
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
 * Reads a primary key as a token writes it: a whole number, or its canonical text.
 *
 * @returns null for everything else, such as `"1e0"`, `"１"`, `true` or what no integer column holds
 */
export function primaryKeyOf(value: unknown): number | null {
  const key = typeof value === 'string' && /^[1-9]\d{0,9}$/.test(value) ? Number(value) : value
  return typeof key === 'number' && Number.isInteger(key) && key > 0 && key <= 2_147_483_647 ? key : null
}

/** True for what may be a user's id or name, whether there is such a user or not. */
export const isUserId = (field: UserIdField, value: unknown): boolean =>
  field === 'username' ? isName(value) : primaryKeyOf(value) !== null

/** PostgreSQL stores no NUL, and a lone surrogate has no UTF-8. */
export const isName = (value: unknown): value is string =>
  typeof value === 'string' && fitsColumn(value) && !value.includes('\0') && value.isWellFormed()

const MAX_CHARACTERS = 150
/** Django and PostgreSQL count code points, each of which is one or two units of a string. */
export const fitsColumn = (name: string) => name.length <= 2 * MAX_CHARACTERS && [...name].length <= MAX_CHARACTERS

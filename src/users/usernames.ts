/** Normalizes and validates usernames and email addresses. */
import { isMissingRow, isUniqueViolation } from '../database/errors.ts'
import { UserNotFound, ValidationError } from '../errors.ts'
import { EMAIL_INDEX, EMAIL_TAKEN } from './addresses.ts'
import { fitsColumn } from './user.ts'

const USERNAME = /^[\p{L}\p{N}_.@+-]+$/u
/** Django's message. */
export const TAKEN = 'A user with that username already exists.'

/**
 * Returns the username in NFKC form, as it is stored.
 *
 * @throws {ValidationError} `{ username: […] }` for a missing or malformed username
 */
export function cleanUsername(username: string): string {
  if (!username) throw new ValidationError({ username: ['The given username must be set'] })
  const { name, faults } = normalizeUsername(username)
  if (faults.length > 0) throw new ValidationError({ username: faults })
  return name
}

/** Returns the normalized username and the messages of Django's validators. */
export function normalizeUsername(username: string): { name: string; faults: string[] } {
  const name = username.slice(0, 1000).normalize('NFKC')
  const faults: string[] = []
  if (!fitsColumn(name)) faults.push('Ensure this field has no more than 150 characters.')
  if (!USERNAME.test(name)) {
    faults.push('Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.')
  }
  return { name, faults }
}

/** Converts a unique violation: usernames and, with `loginField: 'email'`, addresses are the unique values of a user. */
export async function named<Row>(change: Promise<Row>): Promise<Row> {
  try {
    return await change
  } catch (error) {
    if (isUniqueViolation(error, EMAIL_INDEX)) throw new ValidationError({ email: [EMAIL_TAKEN] })
    if (isUniqueViolation(error, 'auth_user')) throw new ValidationError({ username: [TAKEN] })
    throw error
  }
}

/** Converts the error for a user who was deleted meanwhile. */
export async function existing<Row>(change: Promise<Row>): Promise<Row> {
  try {
    return await change
  } catch (error) {
    throw isMissingRow(error) ? new UserNotFound() : error
  }
}

/** Django's normalize_email: trims, and lowercases the domain. Text without `@` stays unchanged. */
export function normalizeEmail(email: string): string {
  const address = email.trim()
  const at = address.lastIndexOf('@')
  return at < 0 ? email : address.slice(0, at + 1) + address.slice(at + 1).toLowerCase()
}

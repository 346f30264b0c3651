/** Names and addresses as they are stored. */
import { isMissingRow, isUniqueViolation } from '../database/errors.ts'
import { UserNotFound, ValidationError } from '../errors.ts'
import { fitsColumn } from './user.ts'

const USERNAME = /^[\p{L}\p{N}_.@+-]+$/u
/** In Django's words. */
export const TAKEN = 'A user with that username already exists.'

/**
 * A name as it is stored, in NFKC form.
 *
 * @throws {ValidationError} `{ username: […] }` for one that is missing or malformed
 */
export function cleanUsername(username: string): string {
  if (!username) throw new ValidationError({ username: ['The given username must be set'] })
  const { name, faults } = normalizeUsername(username)
  if (faults.length > 0) throw new ValidationError({ username: faults })
  return name
}

/** The name, and what Django's validators say of it. */
export function normalizeUsername(username: string): { name: string; faults: string[] } {
  const name = username.slice(0, 1000).normalize('NFKC')
  const faults: string[] = []
  if (!fitsColumn(name)) faults.push('Ensure this field has no more than 150 characters.')
  if (!USERNAME.test(name)) {
    faults.push('Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.')
  }
  return { name, faults }
}

/** Of a row's unique columns a name is the only one that is chosen. */
export async function named<Row>(change: Promise<Row>): Promise<Row> {
  try {
    return await change
  } catch (error) {
    if (!isUniqueViolation(error)) throw error
    throw new ValidationError({ username: [TAKEN] })
  }
}

/** Whoever it was may have been deleted since we looked. */
export async function existing<Row>(change: Promise<Row>): Promise<Row> {
  try {
    return await change
  } catch (error) {
    throw isMissingRow(error) ? new UserNotFound() : error
  }
}

/** Trimmed, with the domain in lower case; without an `@` it stays as it is, as in Django. */
export function normalizeEmail(email: string): string {
  const address = email.trim()
  const at = address.lastIndexOf('@')
  return at < 0 ? email : address.slice(0, at + 1) + address.slice(at + 1).toLowerCase()
}

/** What users may be called, and addresses: how they are cleaned, and what is said of those that are taken or gone. */
import { isMissing, isUniqueViolation } from '../database/errors.ts'
import { UserNotFound, ValidationError } from '../errors.ts'
import { fitsColumn } from './user.ts'

/** Django's, against addresses that look the same and are not. */
export const folded = (email: string) => email.normalize('NFKC').toLowerCase()

/** Of a row's unique columns a name is the only one that is chosen. */
export async function named<Row>(change: Promise<Row>): Promise<Row> {
  try {
    return await change
  } catch (error) {
    throw isUniqueViolation(error) ? taken() : error
  }
}

export const taken = () => new ValidationError({ username: ['A user with that username already exists.'] })

/** Whoever it was may have been deleted since we looked. */
export async function existing<Row>(change: Promise<Row>): Promise<Row> {
  try {
    return await change
  } catch (error) {
    throw isMissing(error) ? new UserNotFound() : error
  }
}

const USERNAME = /^[\p{L}\p{N}_.@+-]+$/u

/** In NFKC form. @throws {ValidationError} for what Django's validator does not take */
export function cleanUsername(username: string): string {
  if (!username) throw new ValidationError({ username: ['The given username must be set'] })
  const name = username.slice(0, 1000).normalize('NFKC')
  const faults: string[] = []
  if (!fitsColumn(name)) faults.push('Ensure this field has no more than 150 characters.')
  if (!USERNAME.test(name)) {
    faults.push('Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.')
  }
  if (faults.length > 0) throw new ValidationError({ username: faults })
  return name
}

/** Trimmed, with the domain in lower case; without an `@` it stays as it is, as in Django. */
export function normalizeEmail(email: string): string {
  const address = email.trim()
  const at = address.lastIndexOf('@')
  return at < 0 ? email : address.slice(0, at + 1) + address.slice(at + 1).toLowerCase()
}

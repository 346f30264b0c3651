/** Valid names of permissions, groups and models, and DRF's messages about keys and names that do not exist. */
import { ValidationError } from '../errors.ts'
import { primaryKeyOf } from '../users/user.ts'

/** The length of `django_content_type.app_label` and `auth_permission.codename`. */
export const MAX_LABEL = 100
/** The maximum length of `app_label.codename`. */
const MAX_SHOWN = 2 * MAX_LABEL + 1

/**
 * Returns DRF's message if text does not fit a column of `max` characters.
 *
 * @returns null for valid text
 */
export function textFault(value: unknown, maxCharacters: number): string | null {
  if (typeof value !== 'string' || !value.isWellFormed()) return 'Not a valid string.'
  if (value === '') return 'This field may not be blank.'
  if (value.includes('\0')) return 'Null characters are not allowed.'
  // Django and PostgreSQL count code points, each of which is one or two units of a string.
  const fits = value.length <= 2 * maxCharacters && [...value].length <= maxCharacters
  return fits ? null : `Ensure this field has no more than ${maxCharacters} characters.`
}

/** @throws {ValidationError} with the message under the name of the field */
export function checkText(field: string, value: unknown, maxCharacters: number): asserts value is string {
  const fault = textFault(value, maxCharacters)
  if (fault !== null) throw new ValidationError({ [field]: [fault] })
}

/** The columns of a Prisma query that `nameOf` needs. */
export const NAME = { codename: true, contentType: { select: { appLabel: true } } } as const

export const nameOf = ({ codename, contentType }: { codename: string; contentType: { appLabel: string } }): string =>
  `${contentType.appLabel}.${codename}`

/**
 * Splits `app_label.codename` at the first dot; an app label contains none.
 *
 * @returns null for a name that no row can have
 */
export function partsOf(name: unknown): { appLabel: string; codename: string } | null {
  if (typeof name !== 'string') return null
  const dot = name.indexOf('.')
  const [appLabel, codename] = [name.slice(0, Math.max(dot, 0)), name.slice(dot + 1)]
  const isPossible = textFault(appLabel, MAX_LABEL) === null && textFault(codename, MAX_LABEL) === null
  return isPossible ? { appLabel, codename } : null
}

/**
 * Reads a primary key from a number or its canonical text.
 *
 * @throws {ValidationError} for any other value
 */
export function checkKey(field: string, value: unknown): number {
  const key = primaryKeyOf(value)
  if (key === null) throw noSuchKey(field, value)
  return key
}

/** DRF's message for a primary key without a row. */
export function noSuchKey(field: string, value: unknown): ValidationError {
  const isScalar = typeof value === 'number' || typeof value === 'string'
  const fault = isScalar
    ? `Invalid pk "${shown(value)}" - object does not exist.`
    : `Incorrect type. Expected pk value, received ${value === null ? 'null' : typeof value}.`
  return new ValidationError({ [field]: [fault] })
}

/** DRF's message for a name without a row. */
export const noSuchName = (field: string, name: unknown): ValidationError =>
  new ValidationError({ [field]: [noSuch('name', name)] })

/** DRF's message for names of permissions without a row. */
export const noSuchPermissions = (names: readonly unknown[]): ValidationError =>
  new ValidationError({ permissions: names.map((name) => noSuch('permission', name)) })

function noSuch(what: string, name: unknown): string {
  return typeof name === 'string' ? `Object with ${what}=${shown(name)} does not exist.` : 'Not a valid string.'
}

/** Shortens a value of a request, which may be a megabyte. */
function shown(value: number | string): string {
  const text = String(value).toWellFormed()
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN).toWellFormed()}…` : text
}

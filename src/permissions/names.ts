/** What permissions, groups and models may be called, and how one is told that something is not there. */
import { ValidationError } from '../errors.ts'
import { primaryKeyOf } from '../users/user.ts'

/** As `django_content_type.app_label` and `auth_permission.codename` hold them. */
export const MAX_LABEL = 100
/** The longest name of a permission, with its dot. */
const MAX_SHOWN = 2 * MAX_LABEL + 1

/**
 * What is wrong with a text for a column of so many characters, in DRF's words.
 *
 * @returns null if nothing is
 */
export function textFault(value: unknown, maxCharacters: number): string | null {
  if (typeof value !== 'string' || !value.isWellFormed()) return 'Not a valid string.'
  if (value === '') return 'This field may not be blank.'
  if (value.includes('\0')) return 'Null characters are not allowed.'
  // Django and PostgreSQL count code points, each of which is one or two units of a string.
  const fits = value.length <= 2 * maxCharacters && [...value].length <= maxCharacters
  return fits ? null : `Ensure this field has no more than ${maxCharacters} characters.`
}

/** @throws {ValidationError} with the fault under this field's name */
export function checkText(field: string, value: unknown, maxCharacters: number): asserts value is string {
  const fault = textFault(value, maxCharacters)
  if (fault !== null) throw new ValidationError({ [field]: [fault] })
}

/** What a query has to select of a permission so that it can be called by its name. */
export const NAME = { codename: true, contentType: { select: { appLabel: true } } } as const

export const nameOf = ({ codename, contentType }: { codename: string; contentType: { appLabel: string } }): string =>
  `${contentType.appLabel}.${codename}`

/**
 * Takes `app_label.codename` apart, at the first dot: an app label has none.
 *
 * @returns null for what no row can be called
 */
export function partsOf(name: unknown): { appLabel: string; codename: string } | null {
  if (typeof name !== 'string') return null
  const dot = name.indexOf('.')
  const [appLabel, codename] = [name.slice(0, Math.max(dot, 0)), name.slice(dot + 1)]
  const isPossible = textFault(appLabel, MAX_LABEL) === null && textFault(codename, MAX_LABEL) === null
  return isPossible ? { appLabel, codename } : null
}

/**
 * A primary key, from a number or its canonical text.
 *
 * @throws {ValidationError} for what can be none
 */
export function checkKey(field: string, value: unknown): number {
  const key = primaryKeyOf(value)
  if (key === null) throw noSuchKey(field, value)
  return key
}

/** As DRF says it of a key without a row. */
export function noSuchKey(field: string, value: unknown): ValidationError {
  const isScalar = typeof value === 'number' || typeof value === 'string'
  const fault = isScalar
    ? `Invalid pk "${shown(value)}" - object does not exist.`
    : `Incorrect type. Expected pk value, received ${value === null ? 'null' : typeof value}.`
  return new ValidationError({ [field]: [fault] })
}

/** As DRF says it of a name without a row. */
export const noSuchName = (field: string, name: unknown): ValidationError =>
  new ValidationError({ [field]: [noSuch('name', name)] })

/** As DRF says it of the natural keys of permissions. */
export const noSuchPermissions = (names: readonly unknown[]): ValidationError =>
  new ValidationError({ permissions: names.map((name) => noSuch('permission', name)) })

function noSuch(what: string, name: unknown): string {
  return typeof name === 'string' ? `Object with ${what}=${shown(name)} does not exist.` : 'Not a valid string.'
}

/** Somebody may have sent a megabyte of it. */
function shown(value: number | string): string {
  const text = String(value).toWellFormed()
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN).toWellFormed()}…` : text
}

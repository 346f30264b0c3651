/**
 * Django's four password validators: too similar, too short, too common, entirely numeric. And, if asked for, one of ours.
 *
 * Nothing here looks at settings or rows: what makes or changes a password asks, and decides how to answer.
 */
import { strip } from '../python-strip.ts'

export interface PasswordFault {
  message: string
  code: `password_${'too_similar' | 'too_short' | 'too_common' | 'entirely_numeric' | 'breached'}`
}

export interface PasswordRules {
  /** In characters, which are code points as in Python; at least 1. */
  minLength: number
  /** Asked of a password in which nothing else is wrong; see password-rules.ts. */
  isBreached?: (password: string) => Promise<boolean>
}

/** What a password must not be like. */
export interface PasswordOwner {
  username?: string
  firstName?: string
  lastName?: string
  email?: string
}

/** What Django has unless a setting says otherwise. */
const DEFAULT_RULES: PasswordRules = { minLength: 8 }
const MAX_SIMILARITY = 0.7
/** Django's fields in Django's order, under the names that its messages give them. */
const PERSONAL: [field: keyof PasswordOwner, name: string][] = [
  ['username', 'username'],
  ['firstName', 'first name'],
  ['lastName', 'last name'],
  ['email', 'email address']
]

/** Django's password_validators_help_texts. */
export const passwordHelpTexts = ({ minLength }: PasswordRules = DEFAULT_RULES): readonly string[] => [
  'Your password can’t be too similar to your other personal information.',
  `Your password must contain at least ${inCharacters(minLength)}.`,
  'Your password can’t be a commonly used password.',
  'Your password can’t be entirely numeric.'
]

/** The help texts of a site that asks for 8 characters. */
export const PASSWORD_HELP_TEXTS = passwordHelpTexts()

/**
 * Django's validate_password, which runs all four and reports all that is wrong, in this order. The first call loads
 * the list of common passwords, which takes some 0.1 s and 4 MB. Only what all four find good is looked up among breaches.
 *
 * @param user null: there is nobody to be similar to
 * @returns an empty list for a good password
 */
export async function faultsOfPassword(
  password: string,
  user: PasswordOwner | null,
  { minLength, isBreached }: PasswordRules = DEFAULT_RULES
): Promise<PasswordFault[]> {
  const like = user === null ? undefined : nameOfSimilar(password, user)
  const short = `This password is too short. It must contain at least ${inCharacters(minLength)}.`
  const faults = [
    ...faultIf(like !== undefined, 'password_too_similar', `The password is too similar to the ${like}.`),
    ...faultIf([...password].length < minLength, 'password_too_short', short),
    ...faultIf(await isCommon(password), 'password_too_common', 'This password is too common.'),
    ...faultIf(NUMERIC.test(password), 'password_entirely_numeric', 'This password is entirely numeric.')
  ]
  if (faults.length > 0 || !(await isBreached?.(password))) return faults
  return [{ message: 'This password has appeared in a data breach.', code: 'password_breached' }]
}

const faultIf = (wrong: boolean, code: PasswordFault['code'], message: string): PasswordFault[] =>
  wrong ? [{ message, code }] : []

function inCharacters(count: number): string {
  return `${count} character${count === 1 ? '' : 's'}`
}

function nameOfSimilar(password: string, user: PasswordOwner): string | undefined {
  const characters = [...password.toLowerCase()]
  const found = PERSONAL.find(([field]) => partsOf(user[field] ?? '').some((part) => isSimilar(characters, part)))
  return found?.[1]
}

/** What Python's `\W+` leaves of a value in lower case, and the value itself; nothing of a value that is empty. */
export function partsOf(value: string): string[] {
  const lower = value.toLowerCase()
  return lower === '' ? [] : [...lower.split(/[^\p{L}\p{N}_]+/u), lower]
}

function isSimilar(password: string[], part: string): boolean {
  const characters = [...part]
  return !isTooShortToCompare(password.length, characters.length) && quickRatio(password, characters) >= MAX_SIMILARITY
}

/**
 * Django's exceeds_maximum_length_ratio, of the lengths of a password and a part. It is also what keeps a long password
 * against many parts quick: only what is less than ten times as long as a part is compared to it.
 */
export const isTooShortToCompare = (password: number, part: number, maxSimilarity = MAX_SIMILARITY): boolean =>
  password >= 10 * part && part < (maxSimilarity / 2) * password

/** Python's SequenceMatcher.quick_ratio: which characters there are and how often, wherever they stand. */
export function quickRatio(a: readonly string[], b: readonly string[]): number {
  const length = a.length + b.length
  if (length === 0) return 1
  const left = new Map<string, number>()
  for (const character of b) left.set(character, (left.get(character) ?? 0) + 1)
  let matches = 0
  for (const character of a) {
    const count = left.get(character) ?? 0
    if (count > 0) matches++
    left.set(character, count - 1)
  }
  return (2 * matches) / length
}

/** Python's str.isdigit: decimal digits of any script, and the characters of Unicode's `Numeric_Type=Digit`. */
const NUMERIC = new RegExp(
  '^[' +
    '\\p{Nd}²³¹⁰⁴-⁹₀-₉①-⑨⑴-⑼⒈-⒐⓪⓵-⓽⓿❶-❾➀-➈➊-➒\\u1369-\\u1371\\u19da' +
    '\\u{10a40}-\\u{10a43}\\u{10e60}-\\u{10e68}\\u{11052}-\\u{1105a}\\u{1f100}-\\u{1f10a}' +
    ']+$',
  'u'
)

const isCommon = async (password: string): Promise<boolean> =>
  (await commonPasswords()).has(strip(password.toLowerCase()))

let common: Promise<ReadonlySet<string>> | undefined

/**
 * Passwords that are guessed first, in lower case: the list of zxcvbn-ts. Django's own list is Django's, so that a
 * password may be common here and not there, or the other way round.
 */
export function commonPasswords(): Promise<ReadonlySet<string>> {
  common ??= loadCommonPasswords()
  return common
}

async function loadCommonPasswords(): Promise<ReadonlySet<string>> {
  const { dictionary } = await import('@zxcvbn-ts/language-common')
  return new Set(dictionary['passwords-common'])
}

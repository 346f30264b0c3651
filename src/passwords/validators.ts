/**
 * Django's four password validators (UserAttributeSimilarityValidator, MinimumLengthValidator, CommonPasswordValidator
 * and NumericPasswordValidator) with their messages, and an optional check for breached passwords.
 */
import { strip } from '../python-strip.ts'

export interface PasswordFault {
  message: string
  code: `password_${'too_similar' | 'too_short' | 'too_common' | 'entirely_numeric' | 'breached'}`
}

export interface PasswordRules {
  /** In code points, as in Python; at least 1. */
  minLength: number
  /** Called for passwords that pass the other validators. */
  isBreached?: (password: string) => Promise<boolean>
}

/** The attributes of a user that a password must not be similar to. */
export interface PasswordOwner {
  username?: string
  firstName?: string
  lastName?: string
  email?: string
}

/** Django's defaults. */
const DEFAULT_RULES: PasswordRules = { minLength: 8 }
const MAX_SIMILARITY = 0.7
/** Django's DEFAULT_USER_ATTRIBUTES, with their names in messages. */
const USER_ATTRIBUTES: [attribute: keyof PasswordOwner, name: string][] = [
  ['username', 'username'],
  ['firstName', 'first name'],
  ['lastName', 'last name'],
  ['email', 'email address']
]

/** Django's password_validators_help_texts. */
export const passwordValidatorsHelpTexts = ({ minLength }: PasswordRules = DEFAULT_RULES): readonly string[] => [
  'Your password can’t be too similar to your other personal information.',
  `Your password must contain at least ${formatCharacters(minLength)}.`,
  'Your password can’t be a commonly used password.',
  'Your password can’t be entirely numeric.'
]

/**
 * Runs Django's four validators and returns the faults in its order. The breach check only runs for a password that
 * passes them. The first call loads the list of common passwords, which takes about 0.1 s and 4 MB.
 *
 * @param user null to skip the similarity validator
 * @returns an empty list for a valid password
 */
export async function findPasswordFaults(
  password: string,
  user: PasswordOwner | null,
  { minLength, isBreached }: PasswordRules = DEFAULT_RULES
): Promise<PasswordFault[]> {
  const similar = user === null ? undefined : findSimilarAttribute(password, user)
  const tooShort = `This password is too short. It must contain at least ${formatCharacters(minLength)}.`
  const faults = [
    ...faultIf(similar !== undefined, 'password_too_similar', `The password is too similar to the ${similar}.`),
    ...faultIf([...password].length < minLength, 'password_too_short', tooShort),
    ...faultIf(await isCommon(password), 'password_too_common', 'This password is too common.'),
    ...faultIf(NUMERIC.test(password), 'password_entirely_numeric', 'This password is entirely numeric.')
  ]
  if (faults.length > 0 || !(await isBreached?.(password))) return faults
  return [{ message: 'This password has appeared in a data breach.', code: 'password_breached' }]
}

const faultIf = (isFault: boolean, code: PasswordFault['code'], message: string): PasswordFault[] =>
  isFault ? [{ message, code }] : []

function formatCharacters(count: number): string {
  return `${count} character${count === 1 ? '' : 's'}`
}

/** Returns the name of the first attribute that the password is similar to. */
function findSimilarAttribute(password: string, user: PasswordOwner): string | undefined {
  const characters = [...password.toLowerCase()]
  const found = USER_ATTRIBUTES.find(([attribute]) =>
    splitAttribute(user[attribute] ?? '').some((part) => isSimilar(characters, part))
  )
  return found?.[1]
}

/** Splits a value in lower case at Python's `\W+`, and appends the whole value; empty for an empty value. */
export function splitAttribute(value: string): string[] {
  const lower = value.toLowerCase()
  return lower === '' ? [] : [...lower.split(/[^\p{L}\p{N}_]+/u), lower]
}

function isSimilar(password: string[], part: string): boolean {
  const characters = [...part]
  return (
    !exceedsMaximumLengthRatio(password.length, characters.length) && quickRatio(password, characters) >= MAX_SIMILARITY
  )
}

/**
 * Django's exceeds_maximum_length_ratio. It also bounds the time for a long password and an attribute with many parts:
 * parts that are much shorter than the password are not compared.
 */
export const exceedsMaximumLengthRatio = (
  passwordLength: number,
  partLength: number,
  maxSimilarity = MAX_SIMILARITY
): boolean => passwordLength >= 10 * partLength && partLength < (maxSimilarity / 2) * passwordLength

/** Python's SequenceMatcher.quick_ratio, which compares the counts of characters and ignores their positions. */
export function quickRatio(a: readonly string[], b: readonly string[]): number {
  const length = a.length + b.length
  if (length === 0) return 1
  const unmatched = new Map<string, number>()
  for (const character of b) unmatched.set(character, (unmatched.get(character) ?? 0) + 1)
  let matches = 0
  for (const character of a) {
    const count = unmatched.get(character) ?? 0
    if (count > 0) matches++
    unmatched.set(character, count - 1)
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
 * Returns the common passwords in lower case: the list of zxcvbn-ts. Django has another list, so that a password may be
 * common in only one of the two.
 */
export function commonPasswords(): Promise<ReadonlySet<string>> {
  common ??= loadCommonPasswords()
  return common
}

async function loadCommonPasswords(): Promise<ReadonlySet<string>> {
  const { dictionary } = await import('@zxcvbn-ts/language-common')
  return new Set(dictionary['passwords-common'])
}

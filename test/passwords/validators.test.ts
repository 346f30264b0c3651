/** Django's password validators with their messages, and the list of common passwords. */
import t from 'tap'
import {
  commonPasswords,
  exceedsMaximumLengthRatio,
  findPasswordFaults,
  type PasswordFault,
  type PasswordOwner,
  passwordValidatorsHelpTexts,
  quickRatio,
  splitAttribute
} from '../../src/passwords/validators.ts'
import vectors from './validator-vectors.json' with { type: 'json' }

interface Vector {
  password: string
  user: { username?: string; first_name?: string; last_name?: string; email?: string }
  errors: PasswordFault[]
}

/** A password that is not in Django's own list of common passwords. */
const ONLY_OURS = 'short'
const judgedByDjango = (vectors.password_validators as Vector[]).filter(({ password }) => password !== ONLY_OURS)
/** Sorts the keys, whose order is not compared. */
const inOrder = ({ code, message }: PasswordFault) => ({ code, message })

const ownerOf = ({ first_name: firstName = '', last_name: lastName = '', ...user }: Vector['user']): PasswordOwner => ({
  ...user,
  ...{ firstName, lastName }
})

async function codesOf(password: string, user: PasswordOwner | null = null): Promise<string[]> {
  return (await findPasswordFaults(password, user)).map(({ code }) => code)
}

/** Names a character, because line separators would break the report. */
const codePointOf = (character: string) => `U+${character.codePointAt(0)?.toString(16)}`

const isNumeric = async (password: string) => (await codesOf(password)).includes('password_entirely_numeric')

t.test('all recorded passwords have the errors and messages of Django', async (t) => {
  for (const { password, user, errors } of judgedByDjango) {
    const faults = await findPasswordFaults(password, ownerOf(user))
    t.strictSame(faults.map(inOrder), errors.map(inOrder), JSON.stringify(password.slice(0, 40)))
  }
})

t.test("passwords that are in Latchkey's list and not in Django's are too common", async (t) => {
  t.strictSame(await codesOf(ONLY_OURS), ['password_too_short', 'password_too_common'])
})

t.test('all errors are reported at once: similar, short, common, numeric', async (t) => {
  t.strictSame(await findPasswordFaults('123456', { username: '123456' }), [
    { code: 'password_too_similar', message: 'The password is too similar to the username.' },
    {
      code: 'password_too_short',
      message: 'This password is too short. It must contain at least 8 characters.'
    },
    { code: 'password_too_common', message: 'This password is too common.' },
    { code: 'password_entirely_numeric', message: 'This password is entirely numeric.' }
  ])
})

t.test('similarity is not checked without a user, and ignores empty fields', async (t) => {
  t.strictSame(await codesOf('wonderland-9'), [])
  for (const user of [{}, { username: '', email: '' }]) t.strictSame(await codesOf('wonderland-9', user), [])
  t.strictSame(await codesOf('wonderland-9', { lastName: 'Wonderland' }), ['password_too_similar'])
})

t.test('only the first similar field is reported, in the order of Django', async (t) => {
  const name = 'Wonderland'
  const fields = { email: `x@${name}.org`, lastName: name, firstName: name, username: name }
  const messages: string[] = []

  for (const field of ['username', 'firstName', 'lastName', 'email'] as const) {
    const faults = await findPasswordFaults('WONDERLAND-9', fields)
    messages.push(...faults.map(({ message }) => message))
    delete (fields as PasswordOwner)[field]
  }

  const names = ['username', 'first name', 'last name', 'email address']
  t.strictSame(
    messages,
    names.map((field) => `The password is too similar to the ${field}.`)
  )
})

t.test("similarity is computed as in Python's difflib, with Django's limit on the length ratio", async (t) => {
  for (const { a, b, ratio } of vectors.quick_ratio) t.equal(quickRatio([...a], [...b]), ratio, `${a} and ${b}`)
  for (const { password_len, value_len, max_similarity, result } of vectors.exceeds_maximum_length_ratio)
    t.equal(
      exceedsMaximumLengthRatio(password_len, value_len, max_similarity),
      result,
      `${password_len} and ${value_len}`
    )
  t.equal(exceedsMaximumLengthRatio(10, 1), true, 'the default is 0.7')
  t.equal(quickRatio(['🔑'], ['🔒']), 0, 'surrogates are not compared')
})

t.test('a similarity of 0.7 is rejected, and a lower one accepted', async (t) => {
  t.strictSame(await codesOf('abcdefgxyz', { username: 'abcdefg123' }), ['password_too_similar'])
  t.strictSame(await codesOf('abcdefghiwxyz', { username: 'abcdefghi1234' }), [], '18 of 26')
})

t.test("values are split into words as by Python's regular expressions", async (t) => {
  for (const { value, parts } of vectors.split)
    t.strictSame(splitAttribute(value), [...parts, value.toLowerCase()], value)
  t.strictSame(splitAttribute(''), [])
  t.strictSame(await codesOf('', { username: '@x' }), ['password_too_similar', 'password_too_short'], 'empty word')
})

t.test('the length is counted in code points, as in Python', async (t) => {
  t.strictSame(await codesOf('🔑'.repeat(7)), ['password_too_short'])
  t.strictSame(await codesOf('🔑'.repeat(8)), [])
})

t.test('a configured minimum length is enforced and named in the message, with singular for 1', async (t) => {
  const messagesOf = async (password: string, minLength: number) =>
    (await findPasswordFaults(password, null, { minLength })).map(({ message }) => message)

  t.strictSame(await messagesOf('x7-kq', 5), [])
  t.strictSame(await messagesOf('x7-kqz', 12), ['This password is too short. It must contain at least 12 characters.'])
  t.strictSame(await messagesOf('', 1), ['This password is too short. It must contain at least 1 character.'])
})

t.test("a password is entirely numeric if it consists of the digits of Python's isdigit, in any script", async (t) => {
  t.equal(await isNumeric(vectors.isdigit_and_not_decimal), true)
  for (const digit of [...vectors.isdigit_and_not_decimal, '7', '٣', '𝟘', '９'])
    t.equal(await isNumeric(digit), true, digit)
  for (const other of vectors.isnumeric_and_not_digit) t.equal(await isNumeric(`12${other}`), false, other)
  for (const password of ['', '12345678a', '-1234567', '1234 5678', '12345678\n', '1234.567'])
    t.equal(await isNumeric(password), false, JSON.stringify(password))
})

t.test('common passwords are compared after trimming and in lower case', async (t) => {
  const isCommon = async (password: string) => (await codesOf(password)).includes('password_too_common')

  for (const space of vectors.stripped)
    t.equal(await isCommon(`${space}${space}PassWord${space}`), true, codePointOf(space))
  for (const other of vectors.not_stripped) t.equal(await isCommon(`${other}password`), false, codePointOf(other))
  t.equal(await isCommon('pass word'), false)
  t.equal(await isCommon(vectors.stripped), false)
})

t.test('the list of common passwords has over 10,000 lower-case entries and is loaded once', async (t) => {
  const [list, again] = await Promise.all([commonPasswords(), commonPasswords()])

  t.ok(list === again, 'the same object')
  t.ok(list.size > 10_000)
  for (const password of ['password', '12345678', 'qwertyuiop']) t.ok(list.has(password), password)
  for (const password of ['s3cret-pass!', 'Password', '']) t.notOk(list.has(password), password)
  t.strictSame(
    [...list].filter((password) => password !== password.toLowerCase().trim()),
    []
  )
})

t.test('null characters, lone surrogates and long strings are validated without errors', async (t) => {
  const user = { username: 'alice', email: 'alice@example.com' }
  const fine = ['\0'.repeat(8), '\ud800'.repeat(8), '\udc00\ud800'.repeat(8), 'x'.repeat(1000), '\u0301'.repeat(8)]

  for (const password of fine) t.strictSame(await codesOf(password, user), [], JSON.stringify(password.slice(0, 12)))
  t.strictSame(await codesOf('', user), ['password_too_short'])
  t.strictSame(await codesOf(' '.repeat(1000), user), [])
  t.strictSame(await codesOf('1'.repeat(1000), user), ['password_entirely_numeric'])
  t.strictSame(await codesOf('\ud800'.repeat(8), { username: '\ud800'.repeat(8) }), ['password_too_similar'])
})

t.test('very long passwords and attributes with many parts are validated', async (t) => {
  const names = ['a.'.repeat(75), 'x'.repeat(150), `${'ab '.repeat(49)}abc`, `${'q'.repeat(75)}.${'r'.repeat(74)}`]
  const [username = '', firstName = '', lastName = '', email = ''] = names
  const user = { username, firstName, lastName, email }

  t.strictSame(await codesOf('z7'.repeat(500), user), [])
  t.strictSame(await codesOf(`z${' '.repeat(1_000_000)}z`, user), [], 'inner spaces')
  t.strictSame(await codesOf('z.'.repeat(100_000), { email: 'y.'.repeat(100_000) }), [])
})

t.test('the help texts are those of Django with the configured minimum length', async (t) => {
  t.strictSame(passwordValidatorsHelpTexts(), [
    'Your password can’t be too similar to your other personal information.',
    'Your password must contain at least 8 characters.',
    'Your password can’t be a commonly used password.',
    'Your password can’t be entirely numeric.'
  ])
  t.equal(passwordValidatorsHelpTexts({ minLength: 12 })[1], 'Your password must contain at least 12 characters.')
  t.equal(passwordValidatorsHelpTexts({ minLength: 1 })[1], 'Your password must contain at least 1 character.')
})

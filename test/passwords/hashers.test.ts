import fc from 'fast-check'
import t from 'tap'
import { ValidationError } from '../../src/errors.ts'
import { isPasswordUsable, MAX_PASSWORD_BYTES, makeUnusablePassword } from '../../src/passwords/hashers.ts'
import { HASHERS, type HasherName } from '../../src/settings/schema.ts'
import vectors from './hasher-vectors.json' with { type: 'json' }
import {
  argon2Text,
  bcryptText,
  CORRECT,
  hashersOf,
  INCORRECT,
  OUTDATED,
  pbkdf2Text,
  preferring,
  recordWork,
  scryptText,
  vectorOf,
  withOtherHash
} from './hashing.ts'

const LONGEST_OF_BCRYPT = 'x'.repeat(72)
const TOO_LONG_FOR_BCRYPT = 'x'.repeat(73)
const UNHASHABLE = ['nul\0', '\ud800', 'x\udfff', 'x'.repeat(MAX_PASSWORD_BYTES + 1), '€'.repeat(342)]

t.test('wrong passwords are incorrect with every algorithm', async (t) => {
  const wrongs = ['correct horse battery stapl', 'Correct horse battery staple', 'correct horse battery staple ']

  for (const [index, algorithm] of HASHERS.entries()) {
    const check = await preferring(algorithm).checkPassword(wrongs[index % 3] as string, vectorOf(algorithm))

    t.strictSame(check, INCORRECT, algorithm)
  }
})

t.test('unusable and malformed stored passwords are incorrect and cost one dummy hash', async (t) => {
  const work = recordWork(t)
  const hashers = preferring('bcrypt_sha256', 12)
  const stored = [null, makeUnusablePassword(), ...vectors.hasher_failures]

  for (const encoded of stored) {
    work.length = 0
    const check = await hashers.checkPassword('x', encoded)

    t.strictSame(check, INCORRECT, String(encoded))
    t.strictSame(work, [{ by: 'bcrypt', cost: 12 }], String(encoded))
  }
})

t.test('hashes of disabled algorithms are incorrect and cost one dummy hash', async (t) => {
  const work = recordWork(t)
  const encoded = await hashersOf(['md5']).makePassword('secret')

  const check = await hashersOf(['scrypt', 'pbkdf2_sha1']).checkPassword('secret', encoded)

  t.strictSame(check, INCORRECT)
  t.strictSame(work, [{ by: 'scrypt', cost: 16_384 * 8 * 5 }])
})

t.test('arbitrary stored strings never make checkPassword throw', async () => {
  const hashers = hashersOf(['md5', 'bcrypt'])
  const looksLikeHash = fc.tuple(fc.constantFrom('md5', 'bcrypt', 'argon2', ''), fc.string({ unit: 'binary' }))
  const stored = fc.oneof(
    fc.string({ unit: 'binary' }),
    looksLikeHash.map((parts) => parts.join('$'))
  )

  await fc.assert(
    fc.asyncProperty(stored, fc.string({ unit: 'binary' }), async (encoded, password) => {
      const { correct } = await hashers.checkPassword(password, encoded)
      return !correct
    })
  )
})

t.test('a wrong password costs a full hash, even if a stored pbkdf2 or bcrypt hash has a lower cost', async (t) => {
  const work = recordWork(t)
  const cases: [HasherName, string, number[]][] = [
    ['pbkdf2_sha256', pbkdf2Text('870000'), [870_000, 130_000]],
    ['pbkdf2_sha256', pbkdf2Text('1500000'), [1_500_000]],
    ['pbkdf2_sha256', pbkdf2Text('1000000', 'short'), [1_000_000]],
    ['bcrypt_sha256', withOtherHash(bcryptText('09')), [9, 9, 10, 11]],
    ['bcrypt_sha256', withOtherHash(bcryptText('13')), [13]],
    ['bcrypt_sha256', pbkdf2Text('870000'), [870_000]],
    ['scrypt', scryptText(1024, 8, 1), [8192]],
    ['argon2', argon2Text('m=64,t=1,p=1', 'c29tZXNhbHQ', 'B'.repeat(43)), [64]]
  ]

  for (const [preferred, encoded, expected] of cases) {
    work.length = 0
    const check = await preferring(preferred, 12).checkPassword('secret', encoded)

    t.strictSame(check, INCORRECT, encoded)
    t.strictSame(
      work.map(({ cost }) => cost),
      expected,
      encoded
    )
  }
})

t.test('a correct password costs only its own hash, even if it is outdated', async (t) => {
  const work = recordWork(t)

  const check = await preferring('bcrypt_sha256', 12).checkPassword('secret', bcryptText('09'))

  t.strictSame(check, OUTDATED)
  t.strictSame(work, [{ by: 'bcrypt', cost: 9 }])
})

t.test('a dummy hash for an unknown user costs as much as a wrong password', async (t) => {
  const work = recordWork(t)

  for (const name of HASHERS) {
    const hashers = preferring(name, 12)
    const encoded = await hashers.makePassword('secret')
    work.length = 0
    const check = await hashers.checkPassword('wrong', withOtherHash(encoded))
    const ofCheck = work.splice(0)
    await hashers.runDummyHash('wrong')

    t.strictSame(check, INCORRECT, name)
    t.strictSame(work, ofCheck, name)
    t.equal(work.length, name === 'md5' ? 0 : 1, name)
  }
})

t.test('plain bcrypt rejects passwords over 72 bytes instead of truncating them', async (t) => {
  const hashers = preferring('bcrypt')
  const encoded = await hashers.makePassword(LONGEST_OF_BCRYPT)

  await t.rejects(hashers.makePassword(TOO_LONG_FOR_BCRYPT), {
    name: 'ValidationError',
    body: { password: ['Ensure this field has no more than 72 bytes.'] }
  })
  t.strictSame(await hashers.checkPassword(LONGEST_OF_BCRYPT, encoded), CORRECT)
  t.strictSame(await hashers.checkPassword(TOO_LONG_FOR_BCRYPT, encoded), INCORRECT)
})

t.test('plain bcrypt has the same cost for passwords over 72 bytes, with and without a stored hash', async (t) => {
  const work = recordWork(t)
  const hashers = preferring('bcrypt', 12)

  await hashers.checkPassword(TOO_LONG_FOR_BCRYPT, bcryptText('12').replace('_sha256', ''))
  await hashers.checkPassword(TOO_LONG_FOR_BCRYPT, null)
  await hashers.runDummyHash(TOO_LONG_FOR_BCRYPT)

  t.strictSame(work, Array(3).fill({ by: 'bcrypt', cost: 12 }))
})

t.test('a hash is not outdated if the preferred algorithm does not accept its password', async (t) => {
  const encoded = await preferring('md5').makePassword(TOO_LONG_FOR_BCRYPT)

  const check = await preferring('bcrypt').checkPassword(TOO_LONG_FOR_BCRYPT, encoded)

  t.strictSame(check, CORRECT)
})

t.test('passwords with null characters, surrogates or over 1024 bytes cannot be hashed', async (t) => {
  const messages = [
    'Null characters are not allowed.',
    'Surrogate characters are not allowed: U+D800.',
    'Surrogate characters are not allowed: U+DFFF.',
    'Ensure this field has no more than 1024 bytes.',
    'Ensure this field has no more than 1024 bytes.'
  ]

  for (const [index, password] of UNHASHABLE.entries()) {
    const refusal = await preferring('md5')
      .makePassword(password)
      .catch((error) => error)

    t.type(refusal, ValidationError)
    t.strictSame(refusal.body, { password: [messages[index]] })
  }
})

t.test('passwords that cannot be hashed are incorrect without computation, also for unknown users', async (t) => {
  const work = recordWork(t)
  const hashers = preferring('bcrypt_sha256')

  for (const password of UNHASHABLE) {
    t.strictSame(await hashers.checkPassword(password, bcryptText('04')), INCORRECT)
    t.strictSame(await hashers.checkPassword(password, null), INCORRECT)
    await hashers.runDummyHash(password)
  }
  t.strictSame(work, [])
})

t.test('passwords of 0 and 1024 bytes are hashed as a whole', async (t) => {
  const longest = 'x'.repeat(MAX_PASSWORD_BYTES)
  const hashers = preferring('bcrypt_sha256')
  const encoded = await hashers.makePassword(longest)
  const empty = await hashers.makePassword('')

  t.strictSame(await hashers.checkPassword(longest, encoded), CORRECT)
  t.strictSame(await hashers.checkPassword(longest.slice(1), encoded), INCORRECT)
  t.strictSame(await hashers.checkPassword('', empty), CORRECT)
  t.strictSame(await hashers.checkPassword('', null), INCORRECT)
})

t.test("unusable passwords have Django's format, are random, and match no password", async (t) => {
  const unusable = makeUnusablePassword()

  t.match(unusable, /^![A-Za-z0-9]{40}$/)
  t.not(unusable, makeUnusablePassword())
  t.strictSame(await preferring('md5').checkPassword(unusable, unusable), INCORRECT)
})

t.test('unusable passwords use all 62 letters and digits', async (t) => {
  const seen = new Set(Array.from({ length: 100 }, () => makeUnusablePassword().slice(1)).join(''))

  t.equal([...seen].sort().join(''), '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz')
})

t.test('only stored passwords that start with an exclamation mark are unusable', async (t) => {
  t.equal(isPasswordUsable(makeUnusablePassword()), false)
  t.equal(isPasswordUsable('!'), false)
  t.equal(isPasswordUsable(''), true)
  t.equal(isPasswordUsable('garbage'), true)
  t.equal(isPasswordUsable(vectorOf('md5')), true)
})

import crypto from 'node:crypto'
import argon2 from '@node-rs/argon2'
import t from 'tap'
import { HASHERS, type HasherName } from '../../src/settings/schema.ts'
import vectors from './hasher-vectors.json' with { type: 'json' }
import {
  argon2Text,
  bcryptText,
  CORRECT,
  INCORRECT,
  OUTDATED,
  pbkdf2Text,
  preferring,
  recordWork,
  scryptText,
  vectorOf,
  type Work
} from './hashing.ts'

t.test("hashes created by Django are verified, with Django's must_update except for stronger ones", async (t) => {
  const isStronger = (encoded: string) => encoded.startsWith('pbkdf2_sha256$1500000$')

  // One after the other: on a busy machine, the last of all at once would wait for too long in the queue.
  for (const { algorithm, password, encoded, must_update } of vectors.hashers) {
    const check = await preferring(algorithm as HasherName, 12).checkPassword(password, encoded)
    t.strictSame(check, { correct: true, outdated: must_update && !isStronger(encoded) }, encoded)
  }
})

t.test('new hashes have the format and cost of Django 5.2 and a random salt', async (t) => {
  const salt = '[A-Za-z0-9]{22}'
  const forms: Record<HasherName, RegExp> = {
    bcrypt_sha256: /^bcrypt_sha256\$\$2b\$05\$[./A-Za-z0-9]{53}$/,
    bcrypt: /^bcrypt\$\$2b\$05\$[./A-Za-z0-9]{53}$/,
    pbkdf2_sha256: new RegExp(`^pbkdf2_sha256\\$1000000\\$${salt}\\$[A-Za-z0-9+/]{43}=$`),
    pbkdf2_sha1: new RegExp(`^pbkdf2_sha1\\$1000000\\$${salt}\\$[A-Za-z0-9+/]{27}=$`),
    argon2: /^argon2\$argon2id\$v=19\$m=102400,t=2,p=8\$[A-Za-z0-9+/]{30}\$[A-Za-z0-9+/]{43}$/,
    scrypt: new RegExp(`^scrypt\\$16384\\$${salt}\\$8\\$5\\$[A-Za-z0-9+/]{86}==$`),
    md5: new RegExp(`^md5\\$${salt}\\$[0-9a-f]{32}$`)
  }

  for (const name of HASHERS) {
    const hashers = preferring(name, 5)
    const [encoded, again] = await Promise.all([hashers.makePassword('pässwörd🔑'), hashers.makePassword('pässwörd🔑')])

    t.match(encoded, forms[name])
    t.ok(encoded.length <= 128, 'fits the column')
    t.not(encoded, again)
    t.strictSame(await hashers.checkPassword('pässwörd🔑', encoded), CORRECT, name)
  }
})

t.test('the salt of a new argon2 hash consists of 22 letters and digits', async (t) => {
  recordWork(t)

  const encoded = await preferring('argon2').makePassword('secret')

  t.match(Buffer.from(encoded.split('$')[4] as string, 'base64').toString(), /^[A-Za-z0-9]{22}$/)
})

t.test('stored hashes with costs within the limits are computed with these costs', async (t) => {
  const work = recordWork(t)
  const within: [string, Work][] = [
    [pbkdf2Text('1'), { by: 'pbkdf2', cost: 1 }],
    [pbkdf2Text('10000000'), { by: 'pbkdf2', cost: 10_000_000 }],
    [bcryptText('04'), { by: 'bcrypt', cost: 4 }],
    [bcryptText('20'), { by: 'bcrypt', cost: 20 }],
    [scryptText(2, 1, 1), { by: 'scrypt', cost: 2 }],
    [scryptText(32_768, 1, 1), { by: 'scrypt', cost: 32_768 }],
    [scryptText(131_072, 8, 1), { by: 'scrypt', cost: 1_048_576 }],
    [argon2Text('m=8,t=1,p=1'), { by: 'argon2', cost: 8 }],
    [argon2Text('m=524288,t=16,p=64'), { by: 'argon2', cost: 524_288 * 16 }],
    [argon2Text('m=8,t=1,p=1', 'c29tZXNhbHQ', 'A'.repeat(6)), { by: 'argon2', cost: 8 }],
    [argon2Text('m=8,t=1,p=1', 'c29tZXNhbHQ', 'A'.repeat(86)), { by: 'argon2', cost: 8 }]
  ]

  for (const [encoded, expected] of within) {
    work.length = 0
    await preferring('md5').checkPassword('secret', encoded)

    t.strictSame(work, [expected], encoded)
  }
})

t.test('stored hashes with costs or lengths beyond the limits are incorrect without any computation', async (t) => {
  const work = recordWork(t)
  const beyond = [
    pbkdf2Text('10000001'),
    pbkdf2Text('99999999999999999999'),
    pbkdf2Text('0'),
    pbkdf2Text('01'),
    pbkdf2Text('-1'),
    pbkdf2Text('1e3'),
    pbkdf2Text('1000', ''),
    pbkdf2Text('1000', 'x'.repeat(256)),
    bcryptText('03'),
    bcryptText('21'),
    bcryptText('31'),
    bcryptText('4'),
    bcryptText('04').replace('$2b$', '$2x$'),
    scryptText(1, 1, 1),
    scryptText(3, 1, 1),
    scryptText(65_536, 1, 1),
    scryptText(262_144, 8, 1),
    scryptText(131_072, 8, 9),
    scryptText(16_384, 0, 1),
    scryptText(16_384, 8, 0),
    argon2Text('m=524289,t=1,p=1'),
    argon2Text('m=64,t=17,p=1'),
    argon2Text('m=1024,t=1,p=65'),
    argon2Text('m=15,t=1,p=2'),
    argon2Text('m=64,t=0,p=1'),
    argon2Text('m=64,t=1,p=0'),
    argon2Text('m=64,t=1,p=1').replace('v=19', 'v=18'),
    argon2Text('m=64,t=1,p=1').replace('argon2id', 'argon2x'),
    argon2Text('m=64,t=1,p=1', 'c29tZXM'),
    argon2Text('m=64,t=1,p=1', 'c29tZXNhbHQ', 'A'.repeat(4)),
    argon2Text('m=64,t=1,p=1', 'c29tZXNhbHQ', 'A'.repeat(87))
  ]

  for (const encoded of beyond) {
    const check = await preferring('md5').checkPassword('secret', encoded)

    t.strictSame(check, INCORRECT, encoded)
  }
  t.strictSame(work, [])
})

t.test('a hash is outdated if it is weaker than a new one or of another algorithm', async (t) => {
  recordWork(t)
  const salt = 'abcdefghijklmnopqrstuv'
  const bytes = Buffer.from(salt).toString('base64').replaceAll('=', '')
  const zeros = (size: number) => Buffer.alloc(size).toString('base64')
  const unpadded = (size: number) => zeros(size).replaceAll('=', '')
  const cases: [HasherName, string, { correct: boolean; outdated: boolean }][] = [
    ['pbkdf2_sha256', `pbkdf2_sha256$999999$${salt}$${zeros(32)}`, OUTDATED],
    ['pbkdf2_sha256', `pbkdf2_sha256$1000000$${salt}$${zeros(32)}`, CORRECT],
    ['pbkdf2_sha256', `pbkdf2_sha256$1200000$${salt}$${zeros(32)}`, CORRECT],
    ['pbkdf2_sha256', `pbkdf2_sha256$1200000$${salt.slice(1)}$${zeros(32)}`, OUTDATED],
    ['pbkdf2_sha256', `pbkdf2_sha1$1000000$${salt}$${zeros(20)}`, OUTDATED],
    ['pbkdf2_sha1', `pbkdf2_sha1$999999$${salt}$${zeros(20)}`, OUTDATED],
    ['pbkdf2_sha1', `pbkdf2_sha1$1000001$${salt}$${zeros(20)}`, CORRECT],
    ['bcrypt_sha256', bcryptText('11'), OUTDATED],
    ['bcrypt_sha256', bcryptText('12'), CORRECT],
    ['bcrypt_sha256', bcryptText('13'), CORRECT],
    ['bcrypt_sha256', bcryptText('13').replace('_sha256', ''), OUTDATED],
    ['bcrypt', bcryptText('13').replace('_sha256', ''), CORRECT],
    ['bcrypt', bcryptText('13'), OUTDATED],
    ['scrypt', `scrypt$8192$${salt}$8$5$${zeros(64)}`, OUTDATED],
    ['scrypt', `scrypt$16384$${salt}$8$4$${zeros(64)}`, OUTDATED],
    ['scrypt', `scrypt$16384$${salt}$8$5$${zeros(64)}`, CORRECT],
    ['scrypt', `scrypt$131072$${salt}$8$1$${zeros(64)}`, CORRECT],
    ['argon2', `argon2$argon2id$v=19$m=102400,t=2,p=8$${bytes}$${unpadded(32)}`, CORRECT],
    ['argon2', `argon2$argon2id$v=19$m=204800,t=2,p=8$${bytes}$${unpadded(32)}`, CORRECT],
    ['argon2', `argon2$argon2id$v=19$m=102400,t=3,p=4$${bytes}$${unpadded(64)}`, CORRECT],
    ['argon2', `argon2$argon2id$v=19$m=102400,t=1,p=8$${bytes}$${unpadded(32)}`, OUTDATED],
    ['argon2', `argon2$argon2id$v=19$m=65536,t=3,p=4$${bytes}$${unpadded(32)}`, OUTDATED],
    ['argon2', `argon2$argon2id$v=19$m=102400,t=2,p=8$${bytes}$${unpadded(16)}`, OUTDATED],
    ['argon2', `argon2$argon2id$v=19$m=102400,t=2,p=8$c29tZXNhbHQ$${unpadded(32)}`, OUTDATED],
    ['argon2', `argon2$argon2id$v=16$m=102400,t=2,p=8$${bytes}$${unpadded(32)}`, OUTDATED],
    ['argon2', `argon2$argon2id$m=102400,t=2,p=8$${bytes}$${unpadded(32)}`, OUTDATED],
    ['argon2', `argon2$argon2i$v=19$m=204800,t=9,p=8$${bytes}$${unpadded(32)}`, OUTDATED],
    ['argon2', `argon2$argon2d$v=19$m=204800,t=9,p=8$${bytes}$${unpadded(32)}`, OUTDATED]
  ]

  for (const [preferred, encoded, expected] of cases) {
    const check = await preferring(preferred, 12).checkPassword('secret', encoded)

    t.strictSame(check, expected, `${preferred} preferred, ${encoded}`)
  }
})

t.test('an md5 hash is outdated if its salt is short', async (t) => {
  const md5 = (salt: string) => `md5$${salt}$${crypto.createHash('md5').update(`${salt}secret`).digest('hex')}`
  const hashers = preferring('md5')

  t.strictSame(await hashers.checkPassword('secret', md5('a'.repeat(21))), OUTDATED)
  t.strictSame(await hashers.checkPassword('secret', md5('a'.repeat(22))), CORRECT)
})

t.test('bcrypt versions 2a, 2b and 2y are verified', async (t) => {
  const password = 'pässwörd🔑'
  const { checkPassword } = preferring('bcrypt')

  for (const version of ['$2a$', '$2b$', '$2y$']) {
    const encoded = vectorOf('bcrypt', password).replace('$2b$', version)

    t.strictSame(await checkPassword(password, encoded), CORRECT, version)
  }
})

t.test('argon2i, argon2d and version 16 of argon2 are verified', async (t) => {
  // "password" with the salt "somesalt", from the test vectors of Argon2's reference implementation.
  const hashes = [
    '$argon2i$m=65536,t=2,p=1$c29tZXNhbHQ$9sTbSlTio3Biev89thdrlKKiCaYsjjYVJxGAL3swxpQ',
    '$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA',
    '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc',
    argon2.hashSync('password', { algorithm: 0, memoryCost: 64, salt: Buffer.from('somesalt') })
  ]
  const { checkPassword } = preferring('argon2')

  for (const hash of hashes) {
    t.strictSame(await checkPassword('password', `argon2${hash}`), OUTDATED, hash)
    t.strictSame(await checkPassword('passwort', `argon2${hash}`), INCORRECT, hash)
  }
})

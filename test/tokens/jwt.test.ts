import t from 'tap'
import { InvalidToken } from '../../src/errors.ts'
import type { SettingsInput } from '../../src/settings/schema.ts'
import { SIGNING_KEY } from '../support/build.ts'
import { signatureOf } from '../support/tokens.ts'
import vectors from './jwt-vectors.json' with { type: 'json' }
import { CLAIMS, encoded, HEADER, jwtWith, signed, signedText, stopClock } from './signed.ts'

const INVALID = { message: 'Token is invalid', statusCode: 401, code: 'token_not_valid' }
const EXPIRED = { message: 'Token is expired', statusCode: 401, code: 'token_not_valid' }

const NOW = 1_800_000_000
const past = { exp: NOW - 1 }

t.test('encoded tokens equal those of PyJWT byte for byte and decode to the same claims', async (t) => {
  for (const { alg, key, payload, token } of vectors.jwt) {
    const jwt = await jwtWith({ algorithm: alg }, key)

    t.equal(jwt.encode(payload), token, alg)
    t.strictSame({ ...(await jwt.decode(token)) }, payload)
  }
})

t.test('encode escapes everything but printable ASCII, as json.dumps does', async (t) => {
  const { encode } = await jwtWith()

  const payload = encode({ text: 'é\u2028\x7f\x00\n"\\/<🔑\ud800' }).split('.')[1] ?? ''

  const text = '\\u00e9\\u2028\\u007f\\u0000\\n\\"\\\\/<\\ud83d\\udd11\\ud800'
  t.equal(Buffer.from(payload, 'base64url').toString(), `{"text":"${text}"}`)
})

t.test('encode appends aud and iss, or replaces them in place if the claims have them', async (t) => {
  const { encode, decode } = await jwtWith({ audience: 'a,b', issuer: 'me' })

  const fresh = encode({ exp: NOW * 2, jti: 'x' })
  const renewed = encode({ ...(await decode(fresh)), iss: 'other', jti: 'y' })

  const of = (token: string) => Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()
  t.equal(of(fresh), '{"exp":3600000000,"jti":"x","aud":["a","b"],"iss":"me"}')
  t.equal(of(renewed), '{"exp":3600000000,"jti":"y","aud":["a","b"],"iss":"me"}')
})

t.test('a signature by another key or over other content is invalid (401)', async (t) => {
  const { decode } = await jwtWith()
  const good = signed()
  const [header = '', payload = '', signature = ''] = good.split('.')
  const content = `${header}.${payload}`
  const other = encoded({ ...CLAIMS, user_id: '2' })
  const forged = {
    'another key': `${content}.${signatureOf(content, 'HS256', `${SIGNING_KEY}x`)}`,
    'another hash of the same key': `${content}.${signatureOf(content, 'HS512', SIGNING_KEY)}`,
    'a hash cut short': `${content}.${signature.slice(0, 40)}`,
    'other claims': `${header}.${other}.${signature}`,
    'another header': `${encoded({ ...HEADER, kid: '1' })}.${payload}.${signature}`,
    'parts changed over': signedText(payload, header)
  }

  t.strictSame({ ...(await decode(good)) }, CLAIMS)
  for (const [name, token] of Object.entries(forged)) await t.rejects(decode(token), INVALID, name)
})

t.test('errors are reported in the order of PyJWT: signature, times, issuer and audience, types', async (t) => {
  stopClock(t, NOW * 1000)
  const { decode } = await jwtWith({ audience: 'us', issuer: 'me' })
  const good = { ...CLAIMS, aud: 'us', iss: 'me' }
  const badly = (claims: object) => `${signed({ ...good, ...claims }).slice(0, -20)}${'A'.repeat(20)}`
  const cases: [string, string, typeof INVALID][] = [
    ['bad signature, expired', badly(past), INVALID],
    ['other alg, expired', signed({ ...good, ...past }, { ...HEADER, alg: 'HS512' }), INVALID],
    ['expired, from the future', signed({ ...good, ...past, iat: NOW + 9 }), INVALID],
    ['expired, not yet valid', signed({ ...good, ...past, nbf: NOW + 9 }), INVALID],
    ['expired, wrong audience', signed({ ...good, ...past, aud: 'them' }), EXPIRED],
    ['expired, wrong issuer', signed({ ...good, ...past, iss: 'you' }), EXPIRED],
    ['expired, sub is a number', signed({ ...good, ...past, sub: 1 }), EXPIRED],
    ['expired, jti is a number', signed({ ...good, ...past, jti: 1 }), EXPIRED]
  ]

  t.strictSame({ ...(await decode(signed(good))) }, good)
  for (const [name, token, refusal] of cases) await t.rejects(decode(token), refusal, name)
})

t.test('if configured, one of the audiences and the exact issuer are required in a token', async (t) => {
  const cases: [SettingsInput, object, boolean][] = [
    [{}, {}, true],
    [{}, { aud: 'anybody', iss: 'anybody' }, true],
    [{}, { aud: 1, iss: ['a'] }, true],
    [{ audience: 'us' }, { aud: 'us' }, true],
    [{ audience: 'us' }, { aud: ['them', 'us'] }, true],
    [{ audience: 'us' }, {}, false],
    [{ audience: 'us' }, { aud: 'them' }, false],
    [{ audience: 'us' }, { aud: 'us,them' }, false],
    [{ audience: 'us' }, { aud: [] }, false],
    [{ audience: 'us' }, { aud: [['us']] }, false],
    [{ audience: 'us' }, { aud: null }, false],
    [{ audience: 'us' }, { aud: { us: 1 } }, false],
    [{ audience: ['us', 'ours'] }, { aud: 'ours' }, true],
    [{ audience: ['us', 'ours'] }, { aud: ['ours', 1] }, true],
    [{ audience: ['us', 'ours'] }, { aud: ['them'] }, false],
    [{ issuer: 'me' }, { iss: 'me' }, true],
    [{ issuer: 'me' }, {}, false],
    [{ issuer: 'me' }, { iss: 'Me' }, false],
    [{ issuer: 'me' }, { iss: ['me'] }, false]
  ]

  for (const [settings, claims, isForUs] of cases) {
    const { decode } = await jwtWith(settings)
    const name = `${JSON.stringify(settings)} ${JSON.stringify(claims)}`
    const token = signed({ ...CLAIMS, ...claims })

    if (isForUs) t.strictSame({ ...(await decode(token)) }, { ...CLAIMS, ...claims }, name)
    else await t.rejects(decode(token), INVALID, name)
  }
})

t.test('sub must be a string, and jti 1 to 64 letters, digits, "-" and "_"', async (t) => {
  const usual = await jwtWith()
  const renamed = await jwtWith({ jtiClaim: 'tid' })
  const cases: [object, boolean][] = [
    [{ sub: '' }, true],
    [{ sub: 'any text: é 🔑' }, true],
    [{ sub: 1 }, false],
    [{ sub: null }, false],
    [{ jti: undefined }, true],
    [{ jti: 'a-Z_9' }, true],
    [{ jti: 'x'.repeat(64) }, true],
    [{ jti: 'x'.repeat(65) }, false],
    [{ jti: '' }, false],
    [{ jti: 1 }, false],
    [{ jti: null }, false],
    [{ jti: { contains: '' } }, false],
    [{ jti: ['a1'] }, false],
    [{ jti: 'a b' }, false],
    [{ jti: 'a\n' }, false],
    [{ jti: 'é' }, false],
    [{ jti: '../a' }, false]
  ]

  for (const [claims, isGood] of cases) {
    const name = JSON.stringify(claims)
    const token = signed({ ...CLAIMS, ...claims })
    const as = (tid: unknown) => signed({ ...CLAIMS, ...claims, tid })

    if (isGood) t.match(await usual.decode(token), claims, name)
    else await t.rejects(usual.decode(token), INVALID, name)
    if (isGood) t.match(await renamed.decode(as('good')), { ...claims, tid: 'good' }, name)
    else await t.rejects(renamed.decode(as('good')), INVALID, `${name} with another jtiClaim`)
  }
  for (const tid of [1, null, '', 'a b']) {
    await t.rejects(renamed.decode(signed({ ...CLAIMS, tid })), INVALID, `tid ${tid}`)
  }
})

t.test('decoded claims are deeply frozen', async (t) => {
  const { decode } = await jwtWith()
  const token = signed({ ...CLAIMS, roles: [{ name: 'admin' }], nothing: null })

  for (const claims of [await decode(token), await decode(token)]) {
    t.ok(Object.isFrozen(claims))
    t.ok(Object.isFrozen(claims.roles))
    t.ok(Object.isFrozen((claims.roles as object[])[0]))
    t.throws(() => Object.assign(claims, { user_id: '2' }), TypeError)
  }
})

t.test('a claim named __proto__ is an ordinary claim and pollutes no prototype', async (t) => {
  const { decode, encode } = await jwtWith()
  const text =
    '{"__proto__":{"user_id":"1","polluted":true},"constructor":{"prototype":{"polluted":true}},"exp":4102444800}'

  const claims = await decode(signed(text))

  t.equal(claims.user_id, undefined)
  t.ok(Object.hasOwn(claims, '__proto__'))
  t.equal(({} as { polluted?: boolean }).polluted, undefined)
  t.equal(encode(claims), signed(text), 'encoding keeps the claim')
})

t.test('decoding a token again needs no signature check', async (t) => {
  const { decode, checks } = await jwtWith()
  const token = signed()

  const claims = await decode(token)

  t.equal(await decode(token), claims)
  t.equal(checks(), 1)
})

t.test('rejected tokens are not cached', async (t) => {
  const { decode, checks } = await jwtWith({ audience: 'us' })
  const token = signed()

  await t.rejects(decode(token), INVALID)
  await t.rejects(decode(token), INVALID)

  t.equal(checks(), 2)
})

t.test(
  'a cached token is rejected once it expires, and while the clock is more than five seconds before iat',
  async (t) => {
    const move = stopClock(t, NOW * 1000)
    const { decode, checks } = await jwtWith()
    const token = signed({ ...CLAIMS, exp: NOW + 5 })
    await decode(token)

    move((NOW + 5) * 1000 - 1)
    t.match(await decode(token), { exp: NOW + 5 })
    move((NOW + 5) * 1000)
    await t.rejects(decode(token), EXPIRED)
    // A system clock can be set back.
    move((CLAIMS.iat - 6) * 1000)
    await t.rejects(decode(token), INVALID)

    t.equal(checks(), 1)
  }
)

t.test('the cache holds 10,000 tokens and evicts the oldest first', async (t) => {
  const { decode, checks } = await jwtWith()
  const tokens = Array.from({ length: 10_001 }, (_, index) => signed({ ...CLAIMS, jti: `t${index}` }))
  const [first = '', second = ''] = tokens
  for (const token of tokens) await decode(token)
  const before = checks()

  await decode(second)
  t.equal(checks(), before, 'the second is cached')
  await decode(first)
  t.equal(checks(), before + 1, 'the first was evicted')
  await decode(second)
  t.equal(checks(), before + 2, 'caching the first again evicted the second')
})

t.test('the error of an invalid token has a cause, which is not in the response body', async (t) => {
  const { decode } = await jwtWith()

  for (const token of [`${signed().slice(0, -2)}AA`, signed('{')]) {
    const refusal = await Promise.resolve(token)
      .then(decode)
      .catch((error) => error)

    t.type(refusal, InvalidToken)
    t.type(refusal.cause, Error)
    t.strictSame(refusal.body, { detail: 'Token is invalid', code: 'token_not_valid' })
  }
})

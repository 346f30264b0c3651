/** Checks of a token before its signature, and of its times. */
import t from 'tap'
import { SIGNING_KEY } from '../support/build.ts'
import { signatureOf } from '../support/tokens.ts'
import { CLAIMS, encoded, HEADER, jwtWith, type Part, signed, signedText, stopClock } from './signed.ts'

const INVALID = { message: 'Token is invalid', statusCode: 401, code: 'token_not_valid' }
const EXPIRED = { message: 'Token is expired', statusCode: 401, code: 'token_not_valid' }

/** Returns non-canonical base64url of the same bytes: the last character has unused bits. */
function respelled(text: string): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const other = `${text.slice(0, -1)}${letters[letters.indexOf(text.slice(-1)) + 1]}`
  if (!Buffer.from(text, 'base64url').equals(Buffer.from(other, 'base64url')))
    throw new Error(`no spare bits in ${text}`)
  return other
}

/** Appends spaces, which JSON allows, until the base64url text has unused bits. */
const withSpareBits = (text: string): string => (text.length % 3 === 0 ? withSpareBits(`${text} `) : text)

t.test('a token must be three parts of canonical base64url, checked before the signature', async (t) => {
  const { decode, checks } = await jwtWith()
  const good = signed()
  const [header = '', payload = '', signature = ''] = good.split('.')
  const spareHeader = encoded(withSpareBits(JSON.stringify(HEADER)))
  const sparePayload = encoded(withSpareBits(JSON.stringify(CLAIMS)))
  const odd: Record<string, string> = {
    empty: '',
    'one part': 'abc',
    'two parts': `${header}.${payload}`,
    'no signature': `${header}.${payload}.`,
    'no header': `.${payload}.${signature}`,
    'no payload': signedText(header, ''),
    'four parts': `${good}.${signature}`,
    'five parts': `${good}.a.b`,
    'a leading space': ` ${good}`,
    'a trailing newline': `${good}\n`,
    'a trailing NUL': `${good}\0`,
    'padding of the header': signedText(`${header}=`, payload),
    'padding of the payload': signedText(header, `${payload}=`),
    'padding of the signature': `${good}=`,
    'the standard base64 alphabet': signedText(header, `${encoded(Buffer.from([0xff, 0xef]))}+/`),
    'a surplus character': signedText(header, `${payload.slice(0, payload.length - (payload.length % 4))}A`),
    'unused bits in the header': signedText(respelled(spareHeader), payload),
    'unused bits in the payload': signedText(header, respelled(sparePayload)),
    'unused bits in the signature': `${header}.${payload}.${respelled(signature)}`,
    'a multi-byte character': `${good.slice(0, -1)}é`
  }

  t.strictSame({ ...(await decode(signedText(spareHeader, sparePayload))) }, CLAIMS)
  const before = checks()
  for (const [name, token] of Object.entries(odd)) await t.rejects(decode(token), INVALID, name)
  t.equal(checks(), before)
})

t.test('tokens of more than 4,096 bytes are rejected before the signature check', async (t) => {
  const { decode, checks } = await jwtWith()
  const ofLength = (length: number) => {
    const [header = '', , signature = ''] = signed().split('.')
    const wanted = Math.floor(((length - header.length - signature.length - 2) * 3) / 4)
    return signed(JSON.stringify(CLAIMS).padEnd(wanted))
  }
  const longest = ofLength(4096)

  t.equal(longest.length, 4096)
  t.strictSame({ ...(await decode(longest)) }, CLAIMS)
  await t.rejects(decode(ofLength(4097)), INVALID)
  await t.rejects(decode('x'.repeat(1_000_000)), INVALID)
  t.equal(checks(), 1)
})

t.test('header and payload must be JSON objects in valid UTF-8, checked before the signature', async (t) => {
  const { decode, checks } = await jwtWith()
  const text = JSON.stringify(CLAIMS)
  const odd: [string, Part][] = [
    ['malformed JSON', '{'],
    ['two values', `${text}{}`],
    ['a trailing comma', `${text.slice(0, -1)},}`],
    ['a string', '"a"'],
    ['a number', '1'],
    ['null', 'null'],
    ['true', 'true'],
    ['an array', `[${text}]`],
    ['invalid UTF-8', Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff]), Buffer.from('"}')])],
    ['an overlong encoding', Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc0, 0xa0]), Buffer.from('"}')])],
    [
      'a surrogate in UTF-8',
      Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')])
    ],
    ['a byte order mark', `\ufeff${text}`],
    ['UTF-16', Buffer.from(text, 'utf16le')],
    ['NaN', '{"exp":NaN}']
  ]

  for (const [name, part] of odd) {
    await t.rejects(decode(signed(part)), INVALID, `payload: ${name}`)
    await t.rejects(decode(signed(CLAIMS, part)), INVALID, `header: ${name}`)
  }
  t.equal(checks(), 0)
})

t.test('only the configured algorithm is accepted, whatever the header names', async (t) => {
  const { decode, checks } = await jwtWith()
  const by = (alg: string) => {
    const content = `${encoded({ alg, typ: 'JWT' })}.${encoded(CLAIMS)}`
    return `${content}.${signatureOf(content, alg, SIGNING_KEY)}`
  }
  const others = [undefined, null, '', 'none', 'None', 'hs256', 'HS256 ', 'HS384', 'HS512', 'RS256', 256, ['HS256'], {}]

  for (const alg of others) await t.rejects(decode(signed(CLAIMS, { typ: 'JWT', alg })), INVALID, String(alg))
  for (const alg of ['HS384', 'HS512', 'none']) await t.rejects(decode(by(alg)), INVALID, alg)
  t.equal(checks(), 0)
  t.strictSame({ ...(await decode(by('HS256'))) }, CLAIMS)
  t.strictSame({ ...(await (await jwtWith({ algorithm: 'HS512' })).decode(by('HS512'))) }, CLAIMS)
})

t.test(
  'headers with crit, zip, b64 or a non-string kid are rejected before the signature check; others are ignored',
  async (t) => {
    const { decode, checks } = await jwtWith()
    const values = [null, false, true, '', 'DEF', [], ['b64'], {}]
    const refused = [
      ...['crit', 'zip', 'b64'].flatMap((name) => values.map((value) => ({ [name]: value }))),
      ...[null, 0, 1, true, [], {}].map((kid) => ({ kid }))
    ]
    const ignored = [
      { kid: '' },
      { kid: '../../dev/null' },
      { kid: "' OR 1=1" },
      { typ: 1 },
      { typ: undefined },
      { jku: 'https://evil.example/keys', x5u: 'https://evil.example/cert' },
      { jwk: { kty: 'oct', k: 'AAAA' }, x5c: ['AAAA'] },
      JSON.parse('{"__proto__":{"crit":["x"],"alg":"none"}}')
    ]

    for (const more of refused)
      await t.rejects(decode(signed(CLAIMS, { ...HEADER, ...more })), INVALID, JSON.stringify(more))
    t.equal(checks(), 0)
    for (const more of ignored)
      t.strictSame({ ...(await decode(signed(CLAIMS, { ...HEADER, ...more }))) }, CLAIMS, JSON.stringify(more))
  }
)

const NOW = 1_800_000_000

/** Times as JSON text, as JavaScript numbers cannot express all of them. */
type TimeCase = [times: string, leeway: number, verdict: 'good' | 'expired' | 'invalid']

const TIMES: TimeCase[] = [
  ['"iat":1', 0, 'good'],
  [`"exp":${NOW + 1}`, 0, 'good'],
  [`"exp":${NOW}`, 0, 'expired'],
  [`"exp":${NOW - 1}`, 0, 'expired'],
  ['"exp":0', 0, 'expired'],
  ['"exp":-1', 0, 'expired'],
  ['"exp":-1e400', 0, 'expired'],
  [`"exp":${NOW - 9}`, 10, 'good'],
  [`"exp":${NOW - 10}`, 10, 'expired'],
  [`"exp":${NOW}.9`, 0, 'expired'],
  [`"exp":${NOW + 1}.5`, 0, 'good'],
  [`"exp":${NOW / 1e8}e8`, 1, 'good'],
  ['"exp":253402300799', 0, 'good'],
  ['"exp":253402300800', 0, 'invalid'],
  ['"exp":1e400', 0, 'invalid'],
  ['"exp":null', 0, 'invalid'],
  ['"exp":true', 0, 'invalid'],
  [`"exp":"${NOW + 9}"`, 0, 'invalid'],
  [`"exp":[${NOW + 9}]`, 0, 'invalid'],
  ['"exp":{}', 0, 'invalid'],
  [`"iat":${NOW}`, 0, 'good'],
  [`"iat":${NOW + 5}`, 0, 'good'],
  [`"iat":${NOW + 6}`, 0, 'invalid'],
  [`"iat":${NOW + 10}`, 10, 'good'],
  [`"iat":${NOW + 11}`, 10, 'invalid'],
  ['"iat":null', 0, 'invalid'],
  ['"iat":"1"', 0, 'invalid'],
  ['"iat":1e400', 0, 'invalid'],
  [`"nbf":${NOW}`, 0, 'good'],
  [`"nbf":${NOW + 1}`, 0, 'invalid'],
  [`"nbf":${NOW + 10}`, 10, 'good'],
  [`"nbf":${NOW + 11}`, 10, 'invalid'],
  ['"nbf":null', 0, 'invalid'],
  ['"nbf":"1"', 0, 'invalid'],
  ['"nbf":253402300800', 0, 'invalid'],
  [`"exp":${NOW},"exp":${NOW + 1}`, 0, 'good']
]

t.test(
  'a token is valid from five seconds before iat, and from nbf, until just before exp, with the leeway on both sides',
  async (t) => {
    stopClock(t, NOW * 1000)
    const refusals = { expired: EXPIRED, invalid: INVALID }

    for (const [times, leeway, verdict] of TIMES) {
      const { decode } = await jwtWith({ leeway })
      const token = signed(`{${times},"jti":"a1"}`)

      if (verdict === 'good') t.match(await decode(token), { jti: 'a1' }, times)
      else await t.rejects(decode(token), refusals[verdict], `${times} with a leeway of ${leeway}`)
    }
  }
)

t.test('nbf and exp are compared with the clock to the millisecond', async (t) => {
  const move = stopClock(t, NOW * 1000)
  const { decode } = await jwtWith()
  const token = signed({ jti: 'a1', exp: NOW, nbf: NOW - 1 })

  move(NOW * 1000 - 1)
  t.match(await decode(token), { exp: NOW })
  move((NOW - 1) * 1000)
  t.match(await decode(token), { exp: NOW })
  move((NOW - 1) * 1000 - 1)
  await t.rejects(decode(token), INVALID)
  move(NOW * 1000)
  await t.rejects(decode(token), EXPIRED)
})

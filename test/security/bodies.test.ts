/** Bodies of every kind: whatever is sent, it signs nobody in by mistake, and the answer is JSON with the right status. */
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, obtainPair, PASSWORD } from '../support/journeys.ts'
import { claimsOf } from '../support/tokens.ts'
import { FIELDS, isRefusal } from './doors.ts'

const JSON_TYPE = 'application/json'
const FORM = 'application/x-www-form-urlencoded'
const MULTIPART = 'multipart/form-data; boundary=XX'
const LOGINS = ['/api/token/', '/api/token/sliding/']
const PATHS = [...LOGINS, ...Object.values(FIELDS).map(({ url }) => url)]
const CREDENTIALS = JSON.stringify({ username: 'alice', password: PASSWORD })

const post = (app: FastifyInstance, url: string, payload: string | Buffer, type = JSON_TYPE, headers = {}) =>
  app.inject({ method: 'POST', url, payload, headers: { 'content-type': type, ...headers } })

const nested = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth)
const part = (name: string, value: string, extra = '') =>
  `--XX\r\nContent-Disposition: form-data; name="${name}"${extra}\r\n\r\n${value}\r\n`
const inUtf8 = (...bytes: number[]) => Buffer.concat([Buffer.from('{"a":"'), Buffer.from(bytes), Buffer.from('"}')])

/** What no endpoint takes, whatever its fields are. */
const UNREADABLE: [name: string, status: number, body: string | Buffer, type?: string][] = [
  ...['[]', '["alice"]', '"alice"', '1', '1.5', 'true', 'null'].map((it): [string, number, string] => [it, 400, it]),
  ['lists 30,000 deep', 400, nested('[', ']', 30_000)],
  ['30,000 brackets', 400, '['.repeat(30_000)],
  ['objects 8,000 deep', 400, `${'{"a":'.repeat(8000)}1${'}'.repeat(8000)}`],
  ['lists 100,000 deep', 413, nested('[', ']', 100_000)],
  ['a megabyte', 413, JSON.stringify({ username: 'x'.repeat(2 ** 20) })],
  ['5,000 names', 400, JSON.stringify(Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [`k${at}`, at])))],
  ['NaN', 400, '{"username":NaN,"refresh":NaN,"token":NaN}'],
  ['a number too big', 400, '{"username":1e999,"refresh":-1e999,"token":1e999}'],
  ['two values', 400, '{} {}'],
  ['half of it', 400, CREDENTIALS.slice(0, -1)],
  ['a comment', 400, `/**/${CREDENTIALS}`],
  ['a NUL', 400, `${CREDENTIALS}\0`],
  ['a byte order mark', 400, `\ufeff${CREDENTIALS}`],
  ['UTF-16 by its mark alone', 400, Buffer.from(`\ufeff${CREDENTIALS}`, 'utf16le')],
  ['a byte of no character', 400, inUtf8(0xff)],
  ['half a character', 400, inUtf8(0xe2, 0x82)],
  ['an overlong NUL', 400, inUtf8(0xc0, 0x80)],
  ['a surrogate in UTF-8', 400, inUtf8(0xed, 0xa0, 0x80)],
  ['a codec that unpacks', 400, CREDENTIALS, 'application/json; charset=zlib_codec'],
  ['text/plain', 415, CREDENTIALS, 'text/plain'],
  ['any type', 415, CREDENTIALS, '*/*'],
  ['no type', 415, CREDENTIALS, ''],
  ['a list of types', 415, CREDENTIALS, 'text/plain, application/json'],
  ['a kind of JSON', 415, CREDENTIALS, 'application/vnd.api+json'],
  ['a type that all objects have', 415, CREDENTIALS, '__proto__/__proto__'],
  ['a type of 5,000 letters', 415, CREDENTIALS, `application/json; a=${'b'.repeat(5000)}`],
  ['JSON called a form', 400, CREDENTIALS, FORM],
  ['a form with brackets', 400, 'username[]=alice&refresh[contains]=a&token[]=a', FORM],
  ['a form for __proto__', 400, '__proto__[username]=alice&__proto__=x', FORM],
  ['a form of no character', 400, 'username=%ff&refresh=%ff&token=%ff', FORM],
  ['1,001 fields', 400, '&'.repeat(1001), FORM],
  ['no boundary', 400, 'x', 'multipart/form-data'],
  ['a boundary too long', 400, 'x', `multipart/form-data; boundary=${'b'.repeat(205)}`],
  ['no parts', 400, '--XX--', MULTIPART],
  ['a part that breaks off', 400, part('username', 'alice').slice(0, -9), MULTIPART],
  ['a form that breaks off', 400, part('username', 'alice') + part('password', PASSWORD), MULTIPART],
  ['parts without a name', 400, `--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--`, MULTIPART],
  [
    'files',
    400,
    `${part('username', 'alice', '; filename="a"')}${part('refresh', 'a', '; filename="a"')}--XX--`,
    MULTIPART
  ],
  ['60,000 line ends', 400, '\r'.repeat(60_000), MULTIPART],
  ['nothing but boundaries', 400, '--XX\r\n'.repeat(10_000), MULTIPART]
]

t.test('what cannot be read is refused at every endpoint, with the status that says why', async (t) => {
  const app = await worldOf('sqlite').build(t)
  for (const url of PATHS) {
    for (const [name, status, body, type] of UNREADABLE) {
      isRefusal(t, await post(app, url, body, type), status, `${url} ${name}`)
    }
    for (const encoding of ['gzip', 'br', 'deflate', 'chunked', 'gzip, gzip', '__proto__']) {
      const answer = await post(app, url, CREDENTIALS, JSON_TYPE, { 'content-encoding': encoding })
      isRefusal(t, answer, 415, `${url} ${encoding}`)
      t.notMatch(answer.body, PASSWORD)
    }
  }
})

/** What a field may not be; Python, JavaScript or a database would make a text, or a filter, of some. */
const NO_TEXT: unknown[] = [
  ...[[], ['alice'], [['alice']], {}, { contains: '' }, { not: '' }, { equals: 'alice' }, { startsWith: 'a' }],
  ...[{ in: ['alice'] }, { $ne: null }, { 0: 'alice' }, { toString: 'alice' }, { type: 'Buffer', data: [97] }],
  ...[null, true, false, '', '  ', '\0', 'alice\0', '\ud800', 'alice\udc00', 1e300, 123456789012345680000]
]
/** Names that are nobody's, though a lenient reader would take some for `alice`. */
const STRANGERS = [
  ...[
    "alice' OR '1'='1",
    "alice'--",
    'al%',
    'alic_',
    'ALICE',
    'ａｌｉｃｅ',
    'a\u0301lice',
    '\u202ealice',
    'alice\u200b'
  ],
  ...['alice\r\nX-Evil: 1', '<script>', '__proto__', 'constructor', '{{7*7}}', '../../etc/passwd', 'ali\tce'],
  ...['\ufdfa'.repeat(5000), '👩‍👩‍👧'.repeat(50), 'a'.repeat(149), 'a'.repeat(151), 'a'.repeat(10_000), '0', '-1']
]
const WRONG = [
  ...[PASSWORD.toUpperCase(), PASSWORD.slice(0, -1), `${PASSWORD}x`, `${PASSWORD}\u200b`, `\ufeff${PASSWORD}`],
  ...['s３cret-Pass!', 'x'.repeat(73), 'x'.repeat(1024), 'x'.repeat(1025), 'x'.repeat(60_000), 'md5$a$b', '!']
]

onEachDatabase(t, (t, { build }) => {
  t.test('a field is a text or nothing, and a filter for a database is never one', async (t) => {
    const app = await build(t)
    const { refresh, access } = await obtainPair(app, await addUser(app))
    for (const value of NO_TEXT) {
      const about = JSON.stringify(value).slice(0, 40)
      for (const field of ['username', 'password']) {
        const body = JSON.stringify({ username: 'alice', password: PASSWORD, [field]: value })
        for (const url of LOGINS) isRefusal(t, await post(app, url, body), 400, `${url} ${field} ${about}`)
      }
      for (const { url, field } of Object.values(FIELDS)) {
        isRefusal(t, await post(app, url, JSON.stringify({ [field]: value })), 400, `${url} ${about}`)
      }
    }
    for (const { url, field } of Object.values(FIELDS)) {
      for (const token of [access, refresh]) {
        for (const value of [[token], [[token]], { token }, { equals: token }]) {
          isRefusal(t, await post(app, url, JSON.stringify({ [field]: value })), 400, url)
        }
      }
    }
  })

  t.test('names and passwords are what they are, and nothing like them', async (t) => {
    const app = await build(t)
    await addUser(app)
    const refused = [...STRANGERS.map((name) => [name, PASSWORD]), ...WRONG.map((password) => ['alice', password])]
    for (const [username, password] of refused) {
      const answer = await post(app, '/api/token/', JSON.stringify({ username, password }))
      isRefusal(t, answer, 401, `${username?.slice(0, 30)} ${password?.slice(0, 30)}`)
      t.notOk('x-evil' in answer.headers)
    }
    t.ok((await obtainPair(app)).access)
  })

  t.test('what is sent besides goes nowhere', async (t) => {
    const app = await build(t)
    await addUser(app)
    const CLAIMS = ['token_type', 'exp', 'iat', 'jti', 'user_id']
    const extras = ['"is_staff":true', '"id":9', '"user_id":9', '"exp":9e9', '"OR":[{}]', '"where":{}', '"toString":1']
    for (const extra of [...extras, '"__proto__":{"is_staff":true}', '"constructor":{"prototype":{"is_staff":true}}']) {
      const answer = await post(app, '/api/token/', `{${extra},${CREDENTIALS.slice(1)}`)
      t.equal(answer.statusCode, 200, extra)
      t.strictSame(Object.keys(claimsOf(answer.json().access)), [...CLAIMS, 'sid'], extra)
      t.equal(claimsOf(answer.json().access).user_id, '1')
    }
    for (const body of [`{"__proto__":${CREDENTIALS}}`, `{"constructor":{"prototype":${CREDENTIALS}}}`]) {
      isRefusal(t, await post(app, '/api/token/', body), 400, body)
    }
    t.notOk('is_staff' in {} || 'username' in {})
    const twice = `{"username":"nobody",${CREDENTIALS.slice(1, -1)},"password":"x"}`
    isRefusal(t, await post(app, '/api/token/', twice), 401, 'of equal names the last counts')
  })

  t.test('any value whatever, as a body or in a field, is answered with 200 or 4xx', async (t) => {
    const app = await build(t)
    await addUser(app)
    const value = fc.oneof(fc.jsonValue(), fc.string({ unit: 'binary' }), fc.constantFrom('alice', PASSWORD))
    const fields = fc.record({ username: value, password: value, refresh: value, token: value }, { requiredKeys: [] })
    await fc.assert(
      fc.asyncProperty(fc.oneof(value, fields), fc.constantFrom(...PATHS), async (body, url) => {
        const { statusCode, headers } = await post(app, url, JSON.stringify(body))
        const isAnswered = statusCode === 200 || (statusCode >= 400 && statusCode < 500)
        return isAnswered && headers['content-type'] === 'application/json'
      }),
      { numRuns: 250 }
    )
  })
})

t.test('a token or a password in a URL is not looked at', async (t) => {
  const app = await worldOf('sqlite').build(t)
  const { access } = await obtainPair(app, await addUser(app))
  for (const query of [`token=${access}`, `access_token=${access}`, `authorization=Bearer%20${access}`]) {
    isRefusal(t, await app.inject({ url: `/api/protected/?${query}` }), 401, query.slice(0, 20))
  }
  const query = new URLSearchParams({ username: 'alice', password: PASSWORD })
  isRefusal(t, await app.inject({ method: 'POST', url: `/api/token/?${query}` }), 400, 'POST')
  isRefusal(t, await app.inject({ method: 'GET', url: `/api/token/?${query}` }), 405, 'GET')
  isRefusal(t, await app.inject({ method: 'GET', url: '/api/token/', payload: CREDENTIALS }), 405, 'GET with a body')
})

/** Request bodies of every kind: none logs in by mistake, and every response is JSON with the right status. */
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

/** Bodies that every endpoint rejects, with the expected status. */
const UNREADABLE: [name: string, status: number, body: string | Buffer, type?: string][] = [
  ...['[]', '["alice"]', '"alice"', '1', '1.5', 'true', 'null'].map((it): [string, number, string] => [it, 400, it]),
  ['lists 30,000 deep', 400, nested('[', ']', 30_000)],
  ['30,000 brackets', 400, '['.repeat(30_000)],
  ['objects 8,000 deep', 400, `${'{"a":'.repeat(8000)}1${'}'.repeat(8000)}`],
  ['lists 100,000 deep', 413, nested('[', ']', 100_000)],
  ['a megabyte', 413, JSON.stringify({ username: 'x'.repeat(2 ** 20) })],
  ['5,000 names', 400, JSON.stringify(Object.fromEntries(Array.from({ length: 5000 }, (_, at) => [`k${at}`, at])))],
  ['NaN', 400, '{"username":NaN,"refresh":NaN,"token":NaN}'],
  ['a number out of range', 400, '{"username":1e999,"refresh":-1e999,"token":1e999}'],
  ['two values', 400, '{} {}'],
  ['truncated JSON', 400, CREDENTIALS.slice(0, -1)],
  ['a comment', 400, `/**/${CREDENTIALS}`],
  ['a NUL', 400, `${CREDENTIALS}\0`],
  ['a byte order mark', 400, `\ufeff${CREDENTIALS}`],
  ['UTF-16 without charset', 400, Buffer.from(`\ufeff${CREDENTIALS}`, 'utf16le')],
  ['an invalid byte', 400, inUtf8(0xff)],
  ['a truncated character', 400, inUtf8(0xe2, 0x82)],
  ['an overlong NUL', 400, inUtf8(0xc0, 0x80)],
  ['a surrogate in UTF-8', 400, inUtf8(0xed, 0xa0, 0x80)],
  ['a charset that decompresses', 400, CREDENTIALS, 'application/json; charset=zlib_codec'],
  ['text/plain', 415, CREDENTIALS, 'text/plain'],
  ['any type', 415, CREDENTIALS, '*/*'],
  ['no type', 415, CREDENTIALS, ''],
  ['a list of types', 415, CREDENTIALS, 'text/plain, application/json'],
  ['another JSON type', 415, CREDENTIALS, 'application/vnd.api+json'],
  ['a type that is an object member', 415, CREDENTIALS, '__proto__/__proto__'],
  ['a type of 5,000 letters', 415, CREDENTIALS, `application/json; a=${'b'.repeat(5000)}`],
  ['JSON sent as a form', 400, CREDENTIALS, FORM],
  ['a form with brackets', 400, 'username[]=alice&refresh[contains]=a&token[]=a', FORM],
  ['a form for __proto__', 400, '__proto__[username]=alice&__proto__=x', FORM],
  ['a form in invalid UTF-8', 400, 'username=%ff&refresh=%ff&token=%ff', FORM],
  ['1,001 fields', 400, '&'.repeat(1001), FORM],
  ['no boundary', 400, 'x', 'multipart/form-data'],
  ['a boundary too long', 400, 'x', `multipart/form-data; boundary=${'b'.repeat(205)}`],
  ['no parts', 400, '--XX--', MULTIPART],
  ['a truncated part', 400, part('username', 'alice').slice(0, -9), MULTIPART],
  ['a truncated form', 400, part('username', 'alice') + part('password', PASSWORD), MULTIPART],
  ['parts without a name', 400, `--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--`, MULTIPART],
  [
    'files',
    400,
    `${part('username', 'alice', '; filename="a"')}${part('refresh', 'a', '; filename="a"')}--XX--`,
    MULTIPART
  ],
  ['60,000 carriage returns', 400, '\r'.repeat(60_000), MULTIPART],
  ['nothing but boundaries', 400, '--XX\r\n'.repeat(10_000), MULTIPART]
]

t.test('every endpoint rejects unreadable bodies with the right status (400, 413 or 415)', async (t) => {
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

/** Values that are not valid text, though Python, JavaScript or a query builder would convert some of them. */
const NO_TEXT: unknown[] = [
  ...[[], ['alice'], [['alice']], {}, { contains: '' }, { not: '' }, { equals: 'alice' }, { startsWith: 'a' }],
  ...[{ in: ['alice'] }, { $ne: null }, { 0: 'alice' }, { toString: 'alice' }, { type: 'Buffer', data: [97] }],
  ...[null, true, false, '', '  ', '\0', 'alice\0', '\ud800', 'alice\udc00', 1e300, 123456789012345680000]
]
/** Usernames of no user, though a lenient parser would take some for `alice`. */
const STRANGERS = [
  ...["alice' OR '1'='1", "alice'--", 'al%', 'alic_', 'ALICE', 'a\u0301lice', '\u202ealice', 'alice\u200b'],
  ...['alice\r\nX-Evil: 1', '<script>', '__proto__', 'constructor', '{{7*7}}', '../../etc/passwd', 'ali\tce'],
  ...['\ufdfa'.repeat(5000), '👩‍👩‍👧'.repeat(50), 'a'.repeat(149), 'a'.repeat(151), 'a'.repeat(10_000), '0', '-1']
]
const WRONG = [
  ...[PASSWORD.toUpperCase(), PASSWORD.slice(0, -1), `${PASSWORD}x`, `${PASSWORD}\u200b`, `\ufeff${PASSWORD}`],
  ...['s３cret-Pass!', 'x'.repeat(73), 'x'.repeat(1024), 'x'.repeat(1025), 'x'.repeat(60_000), 'md5$a$b', '!']
]

onEachDatabase(t, (t, { build }) => {
  t.test('fields must be text: objects and arrays are rejected (400) and never become filters', async (t) => {
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

  t.test('only the exact username and password are accepted (else 401)', async (t) => {
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

  t.test('unknown fields are ignored and pollute no prototype', async (t) => {
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
    isRefusal(t, await post(app, '/api/token/', twice), 401, 'the last of equal names counts')
  })

  t.test('any JSON value, as body or field, returns 200 or 4xx as JSON', async (t) => {
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

t.test('tokens and passwords in URLs are ignored', async (t) => {
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

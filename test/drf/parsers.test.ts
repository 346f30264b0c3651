import { gzipSync } from 'node:zlib'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t, { type Test } from 'tap'
import { BODY_LIMIT_BYTES } from '../../src/drf/parsers.ts'
import { scopeWith, sendRaw } from './scope.ts'

/** An app that returns the parsed body: a form as its entries, no body as "none". */
const echo = (t: Test) =>
  scopeWith(t, (scope) => {
    scope.post('/echo', async ({ body }) => ({ body: body instanceof Map ? [...body] : (body ?? 'none') }))
    scope.post('/deaf', { config: { readsBody: false } }, async ({ body }) => ({ body: body ?? 'none' }))
    scope.get('/echo', async ({ body }) => ({ body: body ?? 'none' }))
  })

const post = (app: FastifyInstance, type: string | undefined, payload: string | Buffer, more: InjectOptions = {}) =>
  app.inject({
    method: 'POST',
    url: '/api/echo',
    payload,
    ...more,
    headers: { ...(type === undefined ? {} : { 'content-type': type }), ...more.headers }
  })

t.test(
  'JSON, urlencoded and multipart bodies are parsed, with any case and parameters of the media type',
  async (t) => {
    const app = await echo(t)
    const form = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'
    const bodies: [type: string, body: string | Buffer, value: unknown][] = [
      ['application/json', '{"a":1}', { a: 1 }],
      ['Application/JSON; charset=utf-8; x="y"', '[1]', [1]],
      ['application/json;', '"a"', 'a'],
      ['application/json; charset=nonsense', '1', 1],
      ['application/json; charset=latin1', Buffer.from('"é"', 'latin1'), 'é'],
      ['application/x-www-form-urlencoded', 'a=1&a=2', [['a', '2']]],
      ['APPLICATION/X-WWW-FORM-URLENCODED; charset=latin1', 'a=%E9', [['a', 'é']]],
      ['multipart/form-data; boundary=b', form, [['a', '1']]],
      ['Multipart/Form-Data; Boundary="b"', form, [['a', '1']]]
    ]
    for (const [type, body, value] of bodies) {
      const answer = await post(app, type, body)
      t.equal(answer.statusCode, 200, type)
      t.strictSame(answer.json(), { body: value }, type)
    }
  }
)

t.test('an empty body counts as no body, with any Content-Type', async (t) => {
  const app = await echo(t)
  const types = [undefined, 'application/json', 'multipart/form-data', 'text/plain', 'a', '*/*', '', 'x'.repeat(300)]
  for (const type of [...types, 'application/json; charset=bz2']) {
    const answer = await post(app, type, '', { headers: { 'content-encoding': 'gzip' } })
    t.equal(answer.statusCode, 200, type ?? 'no type')
    t.strictSame(answer.json(), { body: 'none' })
  }
  const chunked = await sendRaw(
    app,
    'POST /api/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n0\r\n\r\n'
  )
  t.match(chunked, /^HTTP\/1.1 200 /)
})

t.test('bodies of other media types return 415 with the type in the message', async (t) => {
  const app = await echo(t)
  const types = [
    ...[
      'text/plain',
      'Text/Plain; charset=utf-8',
      'application/vnd.api+json',
      'application/jsonx',
      'multipart/mixed; boundary=b'
    ],
    ...[
      '*/*',
      'application/*',
      '*/json',
      '/',
      ';',
      'a',
      'application',
      'application/json, text/plain',
      'application/json\ttext'
    ],
    ...['application /json', '\xe9/\xfc', 'undefined', `application/json; a=${'x'.repeat(300)}`, 'x/'.repeat(150), '']
  ]
  for (const type of [...types, undefined]) {
    const answer = await post(app, type, '{"a":1}')
    t.equal(answer.statusCode, 415, type ?? 'no type')
    t.strictSame(answer.json(), { detail: `Unsupported media type "${type ?? ''}" in request.` })
    t.equal(answer.headers['content-type'], 'application/json')
  }
})

t.test('a Content-Type may have at most 256 characters (else 415)', async (t) => {
  const app = await echo(t)
  const prefix = 'application/json; a='
  for (const [length, statusCode] of [
    [256, 200],
    [257, 415]
  ] as const) {
    t.equal((await post(app, prefix.padEnd(length, 'x'), '{}')).statusCode, statusCode)
  }
})

t.test('bodies with a Content-Encoding other than identity return 415', async (t) => {
  const app = await echo(t)
  for (const encoding of ['gzip', 'br', 'identity, gzip', 'x']) {
    const answer = await post(app, 'application/json', gzipSync('{}'), { headers: { 'content-encoding': encoding } })
    t.equal(answer.statusCode, 415)
    t.strictSame(answer.json(), { detail: `Unsupported content encoding "${encoding}" in request.` })
    t.equal(answer.headers['accept-encoding'], 'identity')
  }
  t.equal((await post(app, 'application/json', '{}', { headers: { 'content-encoding': 'Identity' } })).statusCode, 200)
})

t.test('malformed bodies return 400 with a message, and the connection is kept alive', async (t) => {
  const app = await echo(t)
  const bodies: [type: string, body: string | Buffer, detail: string][] = [
    [
      'application/json',
      '{bad',
      'JSON parse error - Expecting property name enclosed in double quotes: line 1 column 2 (char 1)'
    ],
    [
      'application/json',
      Buffer.from([0x22, 0xff]),
      "JSON parse error - 'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"
    ],
    ['application/json', '[NaN]', "JSON parse error - Out of range float values are not JSON compliant: 'NaN'"],
    ['application/json; charset=bz2_codec', '{}', 'Unsupported charset "bz2_codec" in request Content-Type header.'],
    [
      'application/x-www-form-urlencoded',
      'a=%ff',
      "Form parse error - 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    ],
    [
      'application/x-www-form-urlencoded; charset=hex',
      'a',
      'Unsupported charset "hex" in request Content-Type header.'
    ],
    ['multipart/form-data', 'x', 'Multipart form parse error - Invalid boundary in multipart: None'],
    ['multipart/form-data; boundary=b', 'x', 'Multipart form parse error - Unexpected end of multipart data'],
    ['multipart/form-data; boundary=b; charset=uu', 'x', 'Unsupported charset "uu" in request Content-Type header.']
  ]
  for (const [type, body, detail] of bodies) {
    const answer = await post(app, type, body)
    t.equal(answer.statusCode, 400, type)
    t.strictSame(answer.json(), { detail })
    t.equal(answer.headers.connection, 'keep-alive')
  }
})

t.test('a body over 64 KiB returns 413, without reading it if Content-Length says so', async (t) => {
  const app = await echo(t)
  t.equal((await post(app, 'application/json', '"'.padEnd(BODY_LIMIT_BYTES - 1, 'x').concat('"'))).statusCode, 200)
  const answer = await post(app, 'application/json', '"'.padEnd(BODY_LIMIT_BYTES, 'x').concat('"'))
  t.equal(answer.statusCode, 413)
  t.strictSame(answer.json(), { detail: 'Request body is too large' })
  const unsent = await sendRaw(
    app,
    'POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 999999999\r\n\r\n{'
  )
  t.match(unsent, /^HTTP\/1.1 413 .*\{"detail":"Request body is too large"\}$/s)
})

t.test('bodies of routes with readsBody false and of GET requests are not parsed', async (t) => {
  const app = await echo(t)
  for (const type of ['application/json', 'text/plain', 'a', '']) {
    const answer = await post(app, type, '{bad', { url: '/api/deaf' })
    t.equal(answer.statusCode, 200, type)
    t.strictSame(answer.json(), { body: 'none' })
  }
  const get = await post(app, 'a', '{bad', { method: 'GET' })
  t.strictSame(get.json(), { body: 'none' })
})

t.test('handlers see the original Content-Type of a parsed body', async (t) => {
  const app = await scopeWith(t, (scope) => {
    scope.post('/type', async ({ headers }) => ({ type: headers['content-type'], accept: headers.accept }))
  })
  const headers = { 'content-type': 'application/json', accept: 'a/b' }
  const answer = await app.inject({ method: 'POST', url: '/api/type', headers, payload: '{}' })
  t.strictSame(answer.json(), { type: 'application/json', accept: 'a/b' })
})

t.test('the parsers do not replace those of the app outside the scope', async (t) => {
  const app = await scopeWith(t, () => undefined)
  t.equal(app.hasContentTypeParser('text/plain'), true)
})

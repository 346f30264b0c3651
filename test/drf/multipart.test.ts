import fc from 'fast-check'
import t from 'tap'
import { getDecoder } from '../../src/drf/charset.ts'
import { FILE, MAX_FORM_FIELDS } from '../../src/drf/form.ts'
import { parseMultipart } from '../../src/drf/multipart.ts'
import { ParseError } from '../../src/errors.ts'

const decode = getDecoder(undefined, 'Multipart form')
const parse = async (body: string, boundary?: string) => [
  ...(await parseMultipart(Buffer.from(body, 'latin1'), boundary, decode))
]

const part = (name: string, value: string, more = '') =>
  `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`
const END = '--b--\r\n'

t.test('parts become fields, and the last of equal names counts', async (t) => {
  const readings: [body: string, fields: [string, unknown][]][] = [
    [END, []],
    [
      part('a', '1') + part('b', '') + END,
      [
        ['a', '1'],
        ['b', '']
      ]
    ],
    [part('a', '1') + part('a', '2') + END, [['a', '2']]],
    [`preamble\r\n${part('a', '1')}${END}epilogue`, [['a', '1']]],
    [part('a', '\xc3\xa9\r\n--c') + END, [['a', 'é\r\n--c']]],
    [part('a', '1', '; filename=""') + END, [['a', '1']]],
    [
      part('a', 'x', '; filename="x.txt"') + part('b', '2') + END,
      [
        ['a', FILE],
        ['b', '2']
      ]
    ],
    [`--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n${part('a', '1')}${END}`, [['a', '1']]],
    [`--b\r\nX: y\r\n\r\n${'x'.repeat(40_000)}\r\n${part('a', '1')}${END}`, [['a', '1']]],
    [part('__proto__', 'x') + END, [['__proto__', 'x']]]
  ]
  for (const [body, fields] of readings) t.strictSame(await parse(body, 'b'), fields, body.slice(0, 80))
})

t.test('the Content-Type of a part does not change the charset', async (t) => {
  for (const type of ['text/plain; charset=utf-16le', 'text/plain; charset=base64', 'application/octet-stream']) {
    t.strictSame(await parse(part('a', 'ab', `\r\nContent-Type: ${type}`) + END, 'b'), [['a', 'ab']], type)
  }
})

t.test('a boundary may contain punctuation', async (t) => {
  const boundary = '"c\\d; e=\''
  t.strictSame(await parse((part('a', '1') + END).replaceAll('--b', `--${boundary}`), boundary), [['a', '1']])
})

t.test('invalid boundaries are rejected', async (t) => {
  for (const boundary of ['', 'blank at the end ', 'x'.repeat(202), 'é', 'a\nb']) {
    await t.rejects(
      parse('x', boundary),
      new ParseError(`Multipart form parse error - Invalid boundary in multipart: ${boundary}`)
    )
  }
  await t.rejects(parse('x'), new ParseError('Multipart form parse error - Invalid boundary in multipart: None'))
})

t.test('a body truncated at any byte is rejected', async (t) => {
  const whole = part('a', '1') + part('f', 'x', '; filename="x"') + END
  for (let length = 0; length < whole.length - 2; length += 1) {
    await t.rejects(
      parse(whole.slice(0, length), 'b'),
      new ParseError('Multipart form parse error - Unexpected end of multipart data'),
      `after ${length} bytes`
    )
  }
})

t.test('invalid UTF-8 is rejected', async (t) => {
  await t.rejects(parse(part('a', '\xff') + END, 'b'), {
    name: 'ParseError',
    message: "Multipart form parse error - 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
  })
})

t.test('too many parts are rejected', async (t) => {
  t.equal((await parse(part('a', '').repeat(MAX_FORM_FIELDS) + END, 'b')).length, 1)
  await t.rejects(
    parse(part('a', '').repeat(MAX_FORM_FIELDS + 1) + END, 'b'),
    new ParseError('Multipart form parse error - Too many parts')
  )
})

t.test("an unread part larger than busboy's buffer does not block the parser", async (t) => {
  const long = 'x'.repeat(20_000)
  const bodies = [
    `\xff\r\n--b\r\n\r\n${long}\r\n--b--\r\n--b--\r\n`,
    `--b\r\n\r\n\n${long}\r\n--b--bContent-Type: x\0:`
  ]
  for (const body of bodies) t.strictSame(await parse(body, 'b'), [])
})

t.test('any body is parsed or rejected with a ParseError, and none blocks the parser', async () => {
  const pieces = fc.constantFrom(
    ...['--b', '--b\r\n', '\r\n--b--', '\r\n', '\r\n\r\n', '\r', '\n', '--', ':', 'x'.repeat(17_000), '\xff\0'],
    'Content-Disposition: form-data; name="a"',
    'Content-Disposition: form-data; name="a\rb"; filename=x',
    "content-disposition: form-data; name*=utf-8''%ff",
    `X: ${'y'.repeat(5000)}`,
    'Content-Type: a/b; charset=utf-16',
    part('a', '1')
  )
  const body = fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(''))
  await fc.assert(
    fc.asyncProperty(body, fc.boolean(), async (text, isWrapped) => {
      const outcome = parse(isWrapped ? `${part('a', text)}${END}` : text, 'b').catch((error) => error)
      const value = await outcome
      return Array.isArray(value) || value instanceof ParseError
    }),
    { numRuns: 1000, timeout: 5000 }
  )
})

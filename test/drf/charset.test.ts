import fc from 'fast-check'
import t from 'tap'
import { getDecoder } from '../../src/drf/charset.ts'
import { ParseError } from '../../src/errors.ts'

const decode = (bytes: number[] | Uint8Array, charset?: string) => getDecoder(charset, 'JSON')(Uint8Array.from(bytes))

t.test("malformed UTF-8 is rejected with Python's message: the first invalid byte and its position", async (t) => {
  const faults: [bytes: number[], complaint: string][] = [
    [[0x7b, 0xff], 'byte 0xff in position 1: invalid start byte'],
    [[0x80], 'byte 0x80 in position 0: invalid start byte'],
    [[0xc0, 0xaf], 'byte 0xc0 in position 0: invalid start byte'],
    [[0xf5, 0x80], 'byte 0xf5 in position 0: invalid start byte'],
    [[0xc3, 0xa9, 0xc3, 0x28], 'byte 0xc3 in position 2: invalid continuation byte'],
    [[0xe0, 0x80, 0xaf], 'byte 0xe0 in position 0: invalid continuation byte'],
    [[0xed, 0xa0, 0x80], 'byte 0xed in position 0: invalid continuation byte'],
    [[0xf4, 0x90, 0x80, 0x80], 'byte 0xf4 in position 0: invalid continuation byte'],
    [[0xf0, 0x8f, 0x80, 0x80], 'byte 0xf0 in position 0: invalid continuation byte'],
    [[0xe2, 0x82, 0x28], 'bytes in position 0-1: invalid continuation byte'],
    [[0xf0, 0x9f, 0x98, 0x22], 'bytes in position 0-2: invalid continuation byte'],
    [[0xe2, 0x82, 0xac, 0xe2, 0x82], 'bytes in position 3-4: unexpected end of data'],
    [[0xf0, 0x9f, 0x98, 0x80, 0xc3], 'byte 0xc3 in position 4: unexpected end of data']
  ]
  for (const [bytes, complaint] of faults) {
    t.throws(() => decode(bytes), new ParseError(`JSON parse error - 'utf-8' codec can't decode ${complaint}`))
  }
})

t.test('well-formed UTF-8 is decoded unchanged, including a byte order mark', async (t) => {
  for (const text of ['', 'aé€😀\0', '\ufeff{}']) t.equal(decode(Buffer.from(text)), text)
})

t.test('arbitrary bytes are either decoded without loss or rejected with a ParseError', async () => {
  const anyBytes = fc.oneof(
    fc.uint8Array(),
    fc.string({ unit: 'binary' }).map((text) => new TextEncoder().encode(text))
  )
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      try {
        return Buffer.from(decode(bytes)).equals(bytes)
      } catch (error) {
        return error instanceof ParseError
      }
    }),
    { numRuns: 1000 }
  )
})

t.test('known charsets are decoded, and unknown ones are read as UTF-8', async (t) => {
  t.equal(decode([0xe9], 'ISO-8859-1'), 'é')
  t.equal(decode([0xff, 0xfe, 0x7b, 0x00], 'utf-16'), '{')
  for (const charset of ['utf8', 'UTF-8', 'x-unknown', '', 'replacement', '\xe9']) {
    t.equal(decode([0xc3, 0xa9], charset), 'é', charset)
    t.throws(() => decode([0xe9], charset), ParseError, charset)
  }
})

t.test('bytes that are invalid in the named charset are rejected', async (t) => {
  t.throws(() => decode([0x82], 'shift_jis'), { message: "JSON parse error - 'shift_jis' codec can't decode the body" })
})

t.test(
  "Python's codecs that do not encode text are rejected by any of their names before the body is decoded",
  async (t) => {
    const names = 'base64 base64_codec BASE-64 bz2 bz2_codec BZ2-codec -bz2 hex hex_codec quopri quopri-codec'
    const more = 'quoted-printable quotedprintable rot13 rot_13 undefined uu uu_codec zip zlib zlib_codec'
    for (const charset of [...names.split(' '), ...more.split(' ')]) {
      t.throws(
        () => getDecoder(charset, 'JSON'),
        new ParseError(`Unsupported charset "${charset}" in request Content-Type header.`)
      )
    }
  }
)

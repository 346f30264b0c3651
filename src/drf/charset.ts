import { TextDecoder } from 'node:util'
import { ParseError } from '../errors.ts'

export type Decode = (bytes: Uint8Array) => string

/** Python's codecs that are not for text: one of them, decoding a body, would unpack it past every limit. */
const NOT_FOR_TEXT = new Set([
  'base64',
  'base64_codec',
  'base_64',
  'bz2',
  'bz2_codec',
  'hex',
  'hex_codec',
  'quopri',
  'quopri_codec',
  'quoted_printable',
  'quotedprintable',
  'rot13',
  'rot_13',
  'undefined',
  'uu',
  'uu_codec',
  'zip',
  'zlib',
  'zlib_codec'
])

/** Python looks codecs up without regard to case and punctuation. */
const codecName = (charset: string) =>
  charset
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '_')
    .replace(/^_|_$/g, '')

/** A byte order mark stays in the text, where Python's parser complains of it. */
const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The decoder for the charset that a Content-Type names; an unknown one is UTF-8, as in Django.
 * It refuses what is not well-formed, where a lenient one would let two different inputs become the same text.
 *
 * @param charset as the header spells it
 * @param format what the message says could not be parsed, such as `JSON`
 * @throws {ParseError} for a codec of Python's that is not for text; the decoder throws it for malformed bytes
 */
export function decoderFor(charset: string | undefined, format: string): Decode {
  if (charset !== undefined && NOT_FOR_TEXT.has(codecName(charset))) {
    throw new ParseError(`Unsupported charset "${charset}" in request Content-Type header.`)
  }
  const decoder = knownDecoder(charset)
  return (bytes) => {
    try {
      return decoder.decode(bytes)
    } catch {
      const fault = decoder === UTF_8 ? faultInUtf8(bytes) : `'${decoder.encoding}' codec can't decode the body`
      throw new ParseError(`${format} parse error - ${fault}`)
    }
  }
}

function knownDecoder(charset = 'utf-8'): TextDecoder {
  try {
    const decoder = new TextDecoder(charset, { fatal: true })
    return decoder.encoding === 'utf-8' ? UTF_8 : decoder
  } catch {
    return UTF_8
  }
}

/** The first fault, in the words of Python, which clients of DRF have met. */
function faultInUtf8(bytes: Uint8Array): string {
  let at = 0
  let length = lengthOf(bytes[at])
  let good = goodBytes(bytes, at, length)
  while (length > 0 && good === length) {
    at += length
    length = lengthOf(bytes[at])
    good = goodBytes(bytes, at, length)
  }
  if (length === 0) return complaint(bytes, at, 1, 'invalid start byte')
  return complaint(bytes, at, good, at + good === bytes.length ? 'unexpected end of data' : 'invalid continuation byte')
}

function complaint(bytes: Uint8Array, at: number, count: number, reason: string): string {
  const byte = (bytes[at] as number).toString(16)
  const where = count === 1 ? `byte 0x${byte} in position ${at}` : `bytes in position ${at}-${at + count - 1}`
  return `'utf-8' codec can't decode ${where}: ${reason}`
}

/** How long a sequence is that begins with this byte; 0 for a byte that begins none. */
function lengthOf(lead = 0xff): number {
  if (lead < 0x80) return 1
  if (lead < 0xc2 || lead > 0xf4) return 0
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
}

/** The narrower ranges of the second byte keep out overlong forms, surrogates and what is beyond U+10FFFF. */
const SECOND_BYTE: Record<number, [number, number]> = {
  224: [0xa0, 0xbf],
  237: [0x80, 0x9f],
  240: [0x90, 0xbf],
  244: [0x80, 0x8f]
}

/** How many bytes from `at` on can belong to one sequence of that length. */
function goodBytes(bytes: Uint8Array, at: number, length: number): number {
  let [least, most] = SECOND_BYTE[bytes[at] as number] ?? [0x80, 0xbf]
  let good = 1
  while (good < length) {
    const byte = bytes[at + good]
    if (byte === undefined || byte < least || byte > most) break
    good += 1
    least = 0x80
    most = 0xbf
  }
  return good
}

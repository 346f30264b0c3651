/** Decoding of request bodies, with the error messages of Python's codecs. */
import { TextDecoder } from 'node:util'
import { ParseError } from '../errors.ts'

export type Decode = (bytes: Uint8Array) => string

/** Python's codecs that do not produce text. The compressing ones could expand a body beyond the body limit. */
const NON_TEXT_CODECS = new Set([
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

/** Python's normalisation of codec names, which ignores case and punctuation. */
const normalizeCodecName = (charset: string) =>
  charset
    .toLowerCase()
    .replace(/[^a-z0-9.]+/g, '_')
    .replace(/^_|_$/g, '')

/** Keeps a byte order mark, which Python's JSON parser rejects. */
const UTF_8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * The decoder for the `charset` of a Content-Type. As in Django, an unknown charset is decoded as UTF-8.
 *
 * Malformed bytes are an error: with replacement characters, two different inputs could become the same text.
 *
 * @param charset as spelled in the header
 * @param format prefix of the error message, such as `JSON`
 * @throws {ParseError} if the charset is a codec of Python that does not produce text; the decoder throws it for
 *   malformed bytes
 */
export function getDecoder(charset: string | undefined, format: string): Decode {
  if (charset !== undefined && NON_TEXT_CODECS.has(normalizeCodecName(charset))) {
    throw new ParseError(`Unsupported charset "${charset}" in request Content-Type header.`)
  }
  const decoder = createDecoder(charset)
  return (bytes) => {
    try {
      return decoder.decode(bytes)
    } catch {
      const reason = decoder === UTF_8 ? describeUtf8Error(bytes) : `'${decoder.encoding}' codec can't decode the body`
      throw new ParseError(`${format} parse error - ${reason}`)
    }
  }
}

function createDecoder(charset = 'utf-8'): TextDecoder {
  try {
    const decoder = new TextDecoder(charset, { fatal: true })
    return decoder.encoding === 'utf-8' ? UTF_8 : decoder
  } catch {
    return UTF_8
  }
}

/**
 * Describes the first malformed sequence with the message of Python's UnicodeDecodeError, which DRF returns to clients.
 */
function describeUtf8Error(bytes: Uint8Array): string {
  let at = 0
  let length = sequenceLength(bytes[at])
  let valid = countValidBytes(bytes, at, length)
  while (length > 0 && valid === length) {
    at += length
    length = sequenceLength(bytes[at])
    valid = countValidBytes(bytes, at, length)
  }
  if (length === 0) return decodeError(bytes, at, 1, 'invalid start byte')
  const reason = at + valid === bytes.length ? 'unexpected end of data' : 'invalid continuation byte'
  return decodeError(bytes, at, valid, reason)
}

function decodeError(bytes: Uint8Array, at: number, count: number, reason: string): string {
  const byte = (bytes[at] as number).toString(16)
  const position = count === 1 ? `byte 0x${byte} in position ${at}` : `bytes in position ${at}-${at + count - 1}`
  return `'utf-8' codec can't decode ${position}: ${reason}`
}

/** The length in bytes of the sequence that this byte starts; 0 if no sequence starts with it. */
function sequenceLength(lead = 0xff): number {
  if (lead < 0x80) return 1
  if (lead < 0xc2 || lead > 0xf4) return 0
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4
}

/**
 * The narrower ranges of the second byte (RFC 3629 §4), which exclude overlong forms, surrogates and values over
 * U+10FFFF.
 */
const SECOND_BYTE: Record<number, [number, number]> = {
  224: [0xa0, 0xbf],
  237: [0x80, 0x9f],
  240: [0x90, 0xbf],
  244: [0x80, 0x8f]
}

/** Counts the bytes from `at` on that can belong to one sequence of that length. */
function countValidBytes(bytes: Uint8Array, at: number, length: number): number {
  let [min, max] = SECOND_BYTE[bytes[at] as number] ?? [0x80, 0xbf]
  let count = 1
  while (count < length) {
    const byte = bytes[at + count]
    if (byte === undefined || byte < min || byte > max) break
    count += 1
    min = 0x80
    max = 0xbf
  }
  return count
}

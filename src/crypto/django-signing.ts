/** Django's `django.core.signing`: data as text with a timestamp and a signature. */
import { createHash, createHmac } from 'node:crypto'
import { deflateSync, inflateSync } from 'node:zlib'
import { constantTimeEqual } from './constant-time.ts'

export type Data = Record<string, unknown>

/** Of the data after decompression, as a limit against decompression bombs. */
const MAX_DATA_BYTES = 1024 * 1024

/** Django's `signing.dumps(data, compress=True)` and `signing.loads(text)`. */
export class SignedData {
  readonly #keys: Buffer[]

  /**
   * @param secrets SECRET_KEY, which signs, followed by SECRET_KEY_FALLBACKS, whose signatures are also accepted
   * @param salt separates purposes: a text that was signed with one salt is invalid with another
   */
  constructor(secrets: readonly string[], salt: string) {
    this.#keys = secrets.map((secret) => createHash('sha256').update(`${salt}signer${secret}`).digest())
  }

  dumps(data: Data): string {
    const [key] = this.#keys
    const value = `${encode(data)}:${toBase62(Math.floor(Date.now() / 1000))}`
    return `${value}:${signatureOf(value, key as Buffer)}`
  }

  /** @returns null if the signature is invalid or the data are not an object. The age is not checked */
  loads(text: string): Data | null {
    const end = text.lastIndexOf(':')
    const [value, signature] = [text.slice(0, Math.max(end, 0)), text.slice(end + 1)]
    if (!this.#keys.some((key) => constantTimeEqual(signatureOf(value, key), signature))) return null
    const separator = value.lastIndexOf(':')
    return separator < 0 ? null : decode(value.slice(0, separator))
  }

  /** When a text that `loads` accepts was signed, in whole seconds since 1970. */
  static signedAt(text: string): number {
    const [timestamp = ''] = text.split(':').slice(-2)
    return [...timestamp].reduce((number, digit) => 62 * number + BASE62_DIGITS.indexOf(digit), 0)
  }
}

const signatureOf = (value: string, key: Buffer) => createHmac('sha256', key).update(value).digest('base64url')

function encode(data: Data): string {
  const json = Buffer.from(escapeNonAscii(JSON.stringify(data)))
  const deflated = deflateSync(json)
  return deflated.length < json.length - 1 ? `.${deflated.toString('base64url')}` : json.toString('base64url')
}

function decode(text: string): Data | null {
  try {
    const bytes = Buffer.from(text.replace(/^\./, ''), 'base64url')
    const json = text.startsWith('.') ? inflateSync(bytes, { maxOutputLength: MAX_DATA_BYTES }) : bytes
    const data: unknown = JSON.parse(json.toString())
    return typeof data === 'object' && data !== null && !Array.isArray(data) ? (data as Data) : null
  } catch {
    return null
  }
}

/** Escapes what Python's `json.dumps` escapes: all that is not printable ASCII. */
const escapeNonAscii = (json: string) =>
  json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

/** Django's `baseconv`. */
const BASE62_DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

function toBase62(number: number): string {
  const last = BASE62_DIGITS.charAt(number % 62)
  return number < 62 ? last : toBase62(Math.floor(number / 62)) + last
}

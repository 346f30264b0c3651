/** Django's signing: data as a text that says when it was written, and that nobody else can write. */
import { createHash, createHmac } from 'node:crypto'
import { deflateSync, inflateSync } from 'node:zlib'
import { constantTimeEqual } from './constant-time.ts'

export type Data = Record<string, unknown>

/** In bytes, once it is unpacked: a little text may be packed from very much. */
const MAX_DATA = 1024 * 1024

/** Django's `signing.dumps` and `loads`, of what is packed where that makes it shorter. */
export class SignedData {
  readonly #keys: Buffer[]

  /**
   * @param secrets Django's SECRET_KEY, and then those whose signatures are still taken
   * @param salt sets apart what the same secrets sign for different ends
   */
  constructor(secrets: readonly string[], salt: string) {
    this.#keys = secrets.map((secret) => createHash('sha256').update(`${salt}signer${secret}`).digest())
  }

  dumps(data: Data): string {
    const [key] = this.#keys
    const value = `${packed(data)}:${base62(Math.floor(Date.now() / 1000))}`
    return `${value}:${signatureOf(value, key as Buffer)}`
  }

  /** @returns null for what is not signed, or is no object */
  loads(text: string): Data | null {
    const end = text.lastIndexOf(':')
    const [value, signature] = [text.slice(0, Math.max(end, 0)), text.slice(end + 1)]
    if (!this.#keys.some((key) => constantTimeEqual(signatureOf(value, key), signature))) return null
    const separator = value.lastIndexOf(':')
    return separator < 0 ? null : unpacked(value.slice(0, separator))
  }
}

const signatureOf = (value: string, key: Buffer) => createHmac('sha256', key).update(value).digest('base64url')

function packed(data: Data): string {
  const json = Buffer.from(inAscii(JSON.stringify(data)))
  const deflated = deflateSync(json)
  return deflated.length < json.length - 1 ? `.${deflated.toString('base64url')}` : json.toString('base64url')
}

function unpacked(text: string): Data | null {
  try {
    const bytes = Buffer.from(text.replace(/^\./, ''), 'base64url')
    const json = text.startsWith('.') ? inflateSync(bytes, { maxOutputLength: MAX_DATA }) : bytes
    const data: unknown = JSON.parse(json.toString())
    return typeof data === 'object' && data !== null && !Array.isArray(data) ? (data as Data) : null
  } catch {
    return null
  }
}

/** As Python's json writes it. */
const inAscii = (json: string) =>
  json.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)

const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

function base62(number: number): string {
  const last = DIGITS.charAt(number % 62)
  return number < 62 ? last : base62(Math.floor(number / 62)) + last
}

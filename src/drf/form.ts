import { ParseError } from '../errors.ts'
import type { Decode } from './charset.ts'

/**
 * The fields of a form; Django's QueryDict. `get` returns the last value of a field: a string, or `FILE` for an
 * uploaded file.
 *
 * A subclass of Map, so that fields cannot be confused with inherited properties, and so that `readFields` can
 * distinguish a form from a JSON object: an empty string in a form may mean that the field was not filled in.
 */
export class Form extends Map<string, unknown> {
  readonly #all = new Map<string, unknown[]>()

  /** Adds a value to a field. */
  append(name: string, value: unknown): void {
    const all = this.#all.get(name)
    if (all === undefined) this.#all.set(name, [value])
    else all.push(value)
    this.set(name, value)
  }

  /** Returns all values of a field, in the order of the body. */
  getAll(name: string): readonly unknown[] {
    return this.#all.get(name) ?? []
  }
}

/** The value of an uploaded file, which every field rejects. */
export const FILE = Object.freeze({})

/** Django's DATA_UPLOAD_MAX_NUMBER_FIELDS: parsing a body costs more than receiving it. */
export const MAX_FORM_FIELDS = 1000

/**
 * Parses `application/x-www-form-urlencoded`. As in Django, a percent sign without two hexadecimal digits stands for
 * itself.
 *
 * @throws {ParseError} for more than `MAX_FORM_FIELDS` fields; `decode` throws it for malformed bytes
 */
export function parseForm(body: Buffer, decode: Decode): Form {
  const pairs = body.toString('latin1').split('&', MAX_FORM_FIELDS + 1)
  if (pairs.length > MAX_FORM_FIELDS) throw new ParseError('Form parse error - Too many fields')
  const form = new Form()
  for (const pair of pairs) {
    if (pair === '') continue
    const [name = ''] = pair.split('=', 1)
    form.append(decode(unescapeBytes(name)), decode(unescapeBytes(pair.slice(name.length + 1))))
  }
  return form
}

/** Returns bytes, not a string, because one character may consist of escaped and unescaped bytes. */
function unescapeBytes(text: string): Buffer {
  const bytes = text
    .replaceAll('+', ' ')
    .replace(/%([\da-f]{2})/gi, (_match, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
  return Buffer.from(bytes, 'latin1')
}

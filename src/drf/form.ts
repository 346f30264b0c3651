import { ParseError } from '../errors.ts'
import type { Decode } from './charset.ts'

/**
 * What a form holds: the last value of each field. A text, or `FILE` for an uploaded file.
 * Being a Map it has no inherited names, and tells itself apart from a JSON object, whose empty texts mean more.
 */
export class Form extends Map<string, unknown> {
  readonly #all = new Map<string, unknown[]>()

  /** Adds a value to those of this name, of which it becomes the last. */
  append(name: string, value: unknown): void {
    const all = this.#all.get(name)
    if (all === undefined) this.#all.set(name, [value])
    else all.push(value)
    this.set(name, value)
  }

  /** Every value of this name, in order. */
  getAll(name: string): readonly unknown[] {
    return this.#all.get(name) ?? []
  }
}

/** Stands for an uploaded file, which no field takes. */
export const FILE = Object.freeze({})

/** As many as Django takes: splitting up a body costs more than receiving it. */
export const MAX_FORM_FIELDS = 1000

/**
 * Parses `application/x-www-form-urlencoded`. A stray percent sign stands for itself, as in Django.
 *
 * @throws {ParseError} for more than `MAX_FORM_FIELDS` fields, and what `decode` throws of bytes that are no text
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

/** Escaped and plain bytes are put together before they are decoded: a character may be half of each. */
function unescapeBytes(text: string): Buffer {
  const bytes = text
    .replaceAll('+', ' ')
    .replace(/%([\da-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)))
  return Buffer.from(bytes, 'latin1')
}

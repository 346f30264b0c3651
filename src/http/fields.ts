import { isIP } from 'node:net'
import Type, { type Static, type TObject, type TOptional, type TString } from 'typebox'
import { ValidationError } from '../errors.ts'

export interface CharFieldOptions {
  /** In characters (code points), counted after trimming, as Django counts them. */
  maxLength?: number
  /** In bytes of UTF-8, counted after trimming. DRF has no such bound, so metadata does not show it. */
  maxBytes?: number
  /** White space around the value is cut off; on by default. */
  trim?: boolean
  /** On by default. What is not required may be left out, but not be null, nor blank unless that is allowed as well. */
  required?: boolean
  allowBlank?: boolean
  /** DRF's EmailField. */
  format?: 'email'
  /** Shown in answers and metadata, ignored in what is sent. */
  readOnly?: boolean
  writeOnly?: boolean
  description?: string
  examples?: string[]
}

type CharFieldOf<Options> = Options extends { required: false } | { readOnly: true } ? TOptional<TString> : TString

/** What `CharField` notes in its schema for `readFields`, under names that an OpenAPI document may carry. */
interface Rules {
  readOnly?: boolean
  maxLength?: number
  format?: string
  'x-max-bytes'?: number
  'x-trim'?: boolean
  'x-allow-blank'?: boolean
}

/**
 * DRF's CharField as a schema: for `readFields`, for metadata, for an OpenAPI document and for TypeScript.
 * Never null, never blank.
 */
export function CharField<const Options extends CharFieldOptions>(options?: Options): CharFieldOf<Options> {
  const { maxBytes, trim, required, allowBlank, ...standard }: CharFieldOptions = options ?? {}
  const field = Type.String({
    ...standard,
    ...(maxBytes === undefined ? {} : { 'x-max-bytes': maxBytes }),
    ...(trim === false ? { 'x-trim': false } : {}),
    ...(allowBlank === true ? { 'x-allow-blank': true } : {})
  })
  const isOptional = required === false || standard.readOnly === true
  return (isOptional ? Type.Optional(field) : field) as CharFieldOf<Options>
}

/**
 * Reads the fields of a body as a DRF serializer does, with its messages.
 *
 * @param schema an object whose properties are `CharField`s
 * @param body a parsed body: any JSON value, a `Form`, or undefined for none
 * @returns the writable fields that were given, trimmed, and nothing else
 * @throws {ValidationError} the messages by field, in the order of the schema
 */
export function readFields<Schema extends TObject>(schema: Schema, body: unknown): Static<Schema> {
  const given = dictionary(body)
  const values: Record<string, string> = {}
  const errors: Record<string, string[]> = {}
  for (const [name, rules] of Object.entries(schema.properties) as [string, Rules][]) {
    if (rules.readOnly) continue
    const isRequired = schema.required?.includes(name) ?? false
    const value = given(name, isRequired)
    if (value === undefined) {
      if (isRequired) errors[name] = ['This field is required.']
      continue
    }
    const text = readText(value, rules)
    const complaints = complaintsAbout(value, text, rules)
    if (complaints.length > 0) errors[name] = complaints
    else values[name] = text as string
  }
  if (Object.keys(errors).length > 0) throw new ValidationError(errors)
  return values as Static<Schema>
}

/** Looks a field up in a body, where only what the body itself holds counts, and nothing that objects inherit. */
function dictionary(body: unknown): (name: string, isRequired: boolean) => unknown {
  if (body === undefined) return () => undefined
  if (body === null) throw new ValidationError({ non_field_errors: ['No data provided'] })
  if (body instanceof Map) {
    // A page's form sends every input, so DRF takes an empty one for left out.
    return (name, isRequired) => (body.get(name) === '' && !isRequired ? undefined : body.get(name))
  }
  if (typeof body === 'object' && !Array.isArray(body)) {
    return (name) => (Object.hasOwn(body, name) ? (body as Record<string, unknown>)[name] : undefined)
  }
  const message = `Invalid data. Expected a dictionary, but got ${pythonType(body)}.`
  throw new ValidationError({ non_field_errors: [message] })
}

function pythonType(value: unknown): string {
  if (typeof value === 'string') return 'str'
  if (typeof value === 'boolean') return 'bool'
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float'
  return 'list'
}

/** The text that the field takes a value for; undefined for what it does not take. */
function readText(value: unknown, rules: Rules): string | undefined {
  const text = typeof value === 'number' ? pythonNumber(value) : value
  if (typeof text !== 'string') return undefined
  return rules['x-trim'] === false ? text : strip(text)
}

/** Python's text for a number, where it can be told: beyond 2^53 the digits that were sent are lost. */
function pythonNumber(value: number): string | undefined {
  if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) return undefined
  if (value === 0 || Math.abs(value) >= 1e-4) return String(value)
  return value.toExponential().replace(/-(\d)$/, '-0$1')
}

function complaintsAbout(value: unknown, text: string | undefined, rules: Rules): string[] {
  if (value === null) return ['This field may not be null.']
  if (text === undefined) return ['Not a valid string.']
  if (text === '') return rules['x-allow-blank'] ? [] : ['This field may not be blank.']
  return VALIDATORS.flatMap((validate) => validate(text, rules) ?? [])
}

/** DRF's validators of a CharField in its order; all of them are heard. */
const VALIDATORS: ((text: string, rules: Rules) => string | undefined)[] = [
  (text, { format }) => (format === 'email' && !isEmail(text) ? 'Enter a valid email address.' : undefined),
  (text, { maxLength = Number.POSITIVE_INFINITY }) =>
    isLonger(text, maxLength) ? `Ensure this field has no more than ${maxLength} characters.` : undefined,
  (text, { 'x-max-bytes': maxBytes = Number.POSITIVE_INFINITY }) =>
    Buffer.byteLength(text) > maxBytes ? `Ensure this field has no more than ${maxBytes} bytes.` : undefined,
  (text) => (text.includes('\0') ? 'Null characters are not allowed.' : undefined),
  (text) => {
    // With the `u` flag the two halves of a pair are one character, so only lone ones match.
    const surrogate = /[\ud800-\udfff]/u.exec(text)?.[0]
    return surrogate && `Surrogate characters are not allowed: U+${surrogate.charCodeAt(0).toString(16).toUpperCase()}.`
  }
]

/** Django's EmailValidator: a dot-atom or a quoted string, and a domain, `localhost`, or an address in brackets. */
function isEmail(text: string): boolean {
  const at = text.lastIndexOf('@')
  if (at < 1 || text.length > 320) return false
  const [local, domain] = [text.slice(0, at), text.slice(at + 1)]
  const isLocal = /^[-!#$%&'*+/=?^_`{}|~\w]+(\.[-!#$%&'*+/=?^_`{}|~\w]+)*$/i.test(local) || QUOTED.test(local)
  const [, address] = /^\[([0-9a-f:.]+)\]$/i.exec(domain) ?? []
  return isLocal && (domain === 'localhost' || DOMAIN.test(domain) || (address !== undefined && isIP(address) > 0))
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 5321's quoted string has them.
const QUOTED = /^"([\x01-\x08\x0b\x0c\x0e-\x1f!#-[\]-\x7f]|\\[\x01-\x09\x0b\x0c\x0e-\x7f])*"$/
const DOMAIN = /^((?!-)[a-z0-9-]{1,63}(?<!-)\.)+((?!-)[a-z\u00a1-\uffff-]{2,63}(?<!-)|xn--[a-z0-9]{1,59})$/i

const isLonger = (text: string, maxLength: number) => text.length > maxLength && [...text].length > maxLength

/** What Python's `str.strip()` cuts off; JavaScript's `trim()` leaves U+001C to U+001F and U+0085, and cuts U+FEFF. */
const WHITE_SPACE = new Set(
  '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a' +
    '\u2028\u2029\u202f\u205f\u3000'
)

/** In linear time, which a regular expression that is anchored at the end only would not take. */
function strip(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && WHITE_SPACE.has(text.charAt(start))) start += 1
  while (end > start && WHITE_SPACE.has(text.charAt(end - 1))) end -= 1
  return text.slice(start, end)
}

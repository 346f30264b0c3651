import { isIP } from 'node:net'
import Type, {
  type Static,
  type TArray,
  type TBoolean,
  type TInteger,
  type TObject,
  type TOptional,
  type TSchema,
  type TString
} from 'typebox'
import { ValidationError } from '../errors.ts'
import { strip } from '../python-strip.ts'
import { Form } from './form.ts'

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
  /** DRF's EmailField, or its DateTimeField where it is only shown. */
  format?: 'email' | 'date-time'
  /** Shown in answers and metadata, ignored in what is sent. */
  readOnly?: boolean
  writeOnly?: boolean
  description?: string
  examples?: string[]
}

/** What a field says in a schema: TypeScript's optional for what may be left out. */
type FieldOf<Options, Schema extends TSchema> = Options extends { required: false } | { readOnly: true }
  ? TOptional<Schema>
  : Schema

/** What a field notes in its schema for `readFields`, under names that an OpenAPI document may carry. */
interface Rules {
  type: string
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
export function CharField<const Options extends CharFieldOptions>(options?: Options): FieldOf<Options, TString> {
  const { maxBytes, trim, required, allowBlank, ...standard }: CharFieldOptions = options ?? {}
  const field = Type.String({
    ...standard,
    ...(maxBytes === undefined ? {} : { 'x-max-bytes': maxBytes }),
    ...(trim === false ? { 'x-trim': false } : {}),
    ...(allowBlank === true ? { 'x-allow-blank': true } : {})
  })
  return optionalIf(options, field)
}

type FieldOptions = Pick<CharFieldOptions, 'required' | 'readOnly' | 'description'>

/** DRF's BooleanField: also `"yes"`, `"off"`, `1` and their kin. */
export function BooleanField<const Options extends FieldOptions>(options?: Options): FieldOf<Options, TBoolean> {
  const { required, ...standard }: FieldOptions = options ?? {}
  return optionalIf(options, Type.Boolean(standard))
}

/** DRF's PrimaryKeyRelatedField, without a look whether there is such a row. */
export function PrimaryKey<const Options extends FieldOptions>(options?: Options): FieldOf<Options, TInteger> {
  const { required, ...standard }: FieldOptions = options ?? {}
  return optionalIf(options, Type.Integer(standard))
}

/** In one list; a large project has thousands of permissions. */
const MAX_KEYS = 5000

/** The same with `many`: a list, each key once; in a form the field is there once for each. */
export function PrimaryKeys<const Options extends FieldOptions>(options?: Options): FieldOf<Options, TArray<TInteger>> {
  const { required, ...standard }: FieldOptions = options ?? {}
  return optionalIf(options, Type.Array(Type.Integer(), { ...standard, maxItems: MAX_KEYS }))
}

function optionalIf<Options extends FieldOptions, Schema extends TSchema>(options: Options | undefined, field: Schema) {
  const isOptional = options?.required === false || options?.readOnly === true
  return (isOptional ? Type.Optional(field) : field) as FieldOf<Options, Schema>
}

export type Faults = Record<string, string[]>

/**
 * Reads the fields of a body as a DRF serializer does, with its messages.
 *
 * @param schema an object whose properties are fields
 * @param body a parsed body: any JSON value, a `Form`, or undefined for none
 * @returns the writable fields that were given and are good, trimmed, and nothing else; and what is wrong with the
 *   others, in the order of the schema
 * @throws {ValidationError} for a body that cannot have fields
 */
export function readFields<Schema extends TObject>(
  schema: Schema,
  body: unknown
): { values: Partial<Static<Schema>>; faults: Faults } {
  const given = dictionary(body)
  const values: Record<string, unknown> = {}
  const faults: Faults = {}
  for (const [name, rules] of Object.entries(schema.properties) as [string, Rules][]) {
    if (rules.readOnly) continue
    const isRequired = schema.required?.includes(name) ?? false
    const value = given(name, rules, isRequired)
    if (value === undefined) {
      if (isRequired) faults[name] = ['This field is required.']
      continue
    }
    const reading = value === null ? ['This field may not be null.'] : READERS[rules.type]?.(value, rules)
    if (Array.isArray(reading)) faults[name] = reading
    else values[name] = reading?.value
  }
  return { values: values as Partial<Static<Schema>>, faults }
}

/** Looks a field up in a body, where only what the body itself holds counts, and nothing that objects inherit. */
function dictionary(body: unknown): (name: string, rules: Rules, isRequired: boolean) => unknown {
  if (body === undefined) return () => undefined
  if (body === null) throw new ValidationError({ non_field_errors: ['No data provided'] })
  if (body instanceof Form) {
    return (name, rules, isRequired) => {
      if (rules.type === 'array') return body.has(name) ? body.getAll(name) : undefined
      // A page's form sends every input, so DRF takes an empty one for left out, unless empty is a value as well.
      return body.get(name) === '' && !isRequired && !rules['x-allow-blank'] ? undefined : body.get(name)
    }
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
  return Array.isArray(value) ? 'list' : 'dict'
}

/** What a kind of field makes of what was given: its value, or what is wrong with it. */
type Reader = (value: unknown, rules: Rules) => { value: unknown } | string[]

/** By the type in a field's schema. */
const READERS: Record<string, Reader> = {
  string: readChar,
  boolean: readBoolean,
  integer: readKey,
  array: readKeys
}

function readChar(value: unknown, rules: Rules): ReturnType<Reader> {
  const text = typeof value === 'number' ? pythonNumber(value) : value
  if (typeof text !== 'string') return ['Not a valid string.']
  const read = rules['x-trim'] === false ? text : strip(text)
  if (read === '') return rules['x-allow-blank'] ? { value: '' } : ['This field may not be blank.']
  const complaints = VALIDATORS.flatMap((validate) => validate(read, rules) ?? [])
  return complaints.length > 0 ? complaints : { value: read }
}

/** Python's text for a number, where it can be told: beyond 2^53 the digits that were sent are lost. */
function pythonNumber(value: number): string | undefined {
  if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) return undefined
  if (value === 0 || Math.abs(value) >= 1e-4) return String(value)
  return value.toExponential().replace(/-(\d)$/, '-0$1')
}

const TRUE = new Set<unknown>(['t', 'y', 'yes', 'true', 'on', '1', 1, true])
const FALSE = new Set<unknown>(['f', 'n', 'no', 'false', 'off', '0', 0, false])

function readBoolean(value: unknown): ReturnType<Reader> {
  const meant = typeof value === 'string' && value.length <= 5 ? value.toLowerCase() : value
  if (!TRUE.has(meant) && !FALSE.has(meant)) return ['Must be a valid boolean.']
  return { value: TRUE.has(meant) }
}

/** A primary key of Django's, or its digits; what can be none is told apart from what is none. */
function readKey(value: unknown): ReturnType<Reader> {
  if (value === null) return [noSuchRow('None')]
  const isWhole = typeof value === 'string' ? /^-?\d{1,20}$/.test(value) : Number.isInteger(value)
  if (!isWhole) return [`Incorrect type. Expected pk value, received ${pythonType(value)}.`]
  const key = Number(value)
  return key > 0 && key <= 2_147_483_647 ? { value: key } : [noSuchRow(value)]
}

/** As DRF says it of a key without a row. */
const noSuchRow = (key: unknown) => `Invalid pk "${key}" - object does not exist.`

/** The first key that is wrong speaks for all of them. */
function readKeys(value: unknown): ReturnType<Reader> {
  if (!Array.isArray(value)) return [`Expected a list of items but got type "${pythonType(value)}".`]
  if (value.length > MAX_KEYS) return [`Ensure this field has no more than ${MAX_KEYS} elements.`]
  const keys = new Set<unknown>()
  for (const item of value) {
    const reading = readKey(item)
    if (Array.isArray(reading)) return reading
    keys.add(reading.value)
  }
  return { value: [...keys] }
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

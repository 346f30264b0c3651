/** DRF's serializer fields as TypeBox schemas, and their validation with DRF's messages. */
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
  /** In code points, counted after trimming, as in Django. */
  maxLength?: number
  /** In bytes of UTF-8, counted after trimming. Not in the metadata, because DRF has no such limit. */
  maxBytes?: number
  /** Whether to remove leading and trailing white space; true by default. */
  trim?: boolean
  /** True by default. An optional field may be absent, but not null, and not blank unless `allowBlank` is true. */
  required?: boolean
  allowBlank?: boolean
  /** `email`: DRF's EmailField; `date-time`: its DateTimeField, for read-only fields. */
  format?: 'email' | 'date-time'
  /** In responses and metadata; ignored in requests. */
  readOnly?: boolean
  writeOnly?: boolean
  description?: string
  examples?: string[]
}

/** The schema of a field, optional if the options say so. */
type FieldOf<Options, Schema extends TSchema> = Options extends { required: false } | { readOnly: true }
  ? TOptional<Schema>
  : Schema

/**
 * The properties of a field's schema that `readFields` uses. The `x-` names are valid extensions in an OpenAPI
 * document.
 */
interface FieldSchema {
  type: string
  readOnly?: boolean
  maxLength?: number
  format?: string
  'x-max-bytes'?: number
  'x-trim'?: boolean
  'x-allow-blank'?: boolean
}

/** DRF's CharField as a schema for `readFields`, metadata, OpenAPI and TypeScript. The value is never null. */
export function CharField<const Options extends CharFieldOptions>(options?: Options): FieldOf<Options, TString> {
  const { maxBytes, trim, required, allowBlank, ...standard }: CharFieldOptions = options ?? {}
  const field = Type.String({
    ...standard,
    ...(maxBytes === undefined ? {} : { 'x-max-bytes': maxBytes }),
    ...(trim === false ? { 'x-trim': false } : {}),
    ...(allowBlank === true ? { 'x-allow-blank': true } : {})
  })
  return markOptional(options, field)
}

type FieldOptions = Pick<CharFieldOptions, 'required' | 'readOnly' | 'description'>

/** DRF's BooleanField, which also accepts strings and numbers such as `"yes"`, `"off"` and `1`. */
export function BooleanField<const Options extends FieldOptions>(options?: Options): FieldOf<Options, TBoolean> {
  const { required, ...standard }: FieldOptions = options ?? {}
  return markOptional(options, Type.Boolean(standard))
}

/** DRF's PrimaryKeyRelatedField. Whether the row exists is not checked here. */
export function PrimaryKey<const Options extends FieldOptions>(options?: Options): FieldOf<Options, TInteger> {
  const { required, ...standard }: FieldOptions = options ?? {}
  return markOptional(options, Type.Integer(standard))
}

/** In one list. A large project has thousands of permissions. */
const MAX_KEYS = 5000

/** DRF's PrimaryKeyRelatedField with `many=True`: a list without duplicates. A form repeats the field for each key. */
export function PrimaryKeys<const Options extends FieldOptions>(options?: Options): FieldOf<Options, TArray<TInteger>> {
  const { required, ...standard }: FieldOptions = options ?? {}
  return markOptional(options, Type.Array(Type.Integer(), { ...standard, maxItems: MAX_KEYS }))
}

function markOptional<Options extends FieldOptions, Schema extends TSchema>(
  options: Options | undefined,
  field: Schema
) {
  const isOptional = options?.required === false || options?.readOnly === true
  return (isOptional ? Type.Optional(field) : field) as FieldOf<Options, Schema>
}

/** Error messages by field. */
export type Faults = Record<string, string[]>

/**
 * Validates the fields of a body like a DRF serializer, with its messages.
 *
 * @param schema an object whose properties are fields
 * @param body a parsed body: any JSON value, a `Form`, or undefined for none
 * @returns the values of valid writable fields and no other properties; and the messages of invalid fields, in the
 *   order of the schema
 * @throws {ValidationError} if the body is neither an object nor a form
 */
export function readFields<Schema extends TObject>(
  schema: Schema,
  body: unknown
): { values: Partial<Static<Schema>>; faults: Faults } {
  const getValue = createGetter(body)
  const values: Record<string, unknown> = {}
  const faults: Faults = {}
  for (const [name, field] of Object.entries(schema.properties) as [string, FieldSchema][]) {
    if (field.readOnly) continue
    const isRequired = schema.required?.includes(name) ?? false
    const value = getValue(name, field, isRequired)
    if (value === undefined) {
      if (isRequired) faults[name] = ['This field is required.']
      continue
    }
    const result = value === null ? ['This field may not be null.'] : READERS[field.type]?.(value, field)
    if (Array.isArray(result)) faults[name] = result
    else values[name] = result?.value
  }
  return { values: values as Partial<Static<Schema>>, faults }
}

/** Returns a function that gets the value of a field from a body. Inherited properties of objects do not count. */
function createGetter(body: unknown): (name: string, field: FieldSchema, isRequired: boolean) => unknown {
  if (body === undefined) return () => undefined
  if (body === null) throw new ValidationError({ non_field_errors: ['No data provided'] })
  if (body instanceof Form) {
    return (name, field, isRequired) => {
      if (field.type === 'array') return body.has(name) ? body.getAll(name) : undefined
      // Browsers send every input of a form, so DRF treats an empty optional field as absent, unless it may be blank.
      return body.get(name) === '' && !isRequired && !field['x-allow-blank'] ? undefined : body.get(name)
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

/** Converts and validates the value of a field: returns the value, or error messages. */
type Reader = (value: unknown, field: FieldSchema) => { value: unknown } | string[]

/** By the type in the schema of a field. */
const READERS: Record<string, Reader> = {
  string: readChar,
  boolean: readBoolean,
  integer: readKey,
  array: readKeys
}

function readChar(value: unknown, field: FieldSchema): ReturnType<Reader> {
  const text = typeof value === 'number' ? pythonNumber(value) : value
  if (typeof text !== 'string') return ['Not a valid string.']
  const trimmed = field['x-trim'] === false ? text : strip(text)
  if (trimmed === '') return field['x-allow-blank'] ? { value: '' } : ['This field may not be blank.']
  const messages = VALIDATORS.flatMap((validate) => validate(trimmed, field) ?? [])
  return messages.length > 0 ? messages : { value: trimmed }
}

/** Python's `str()` of a number; undefined beyond 2^53, where the digits of the request are lost. */
function pythonNumber(value: number): string | undefined {
  if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) return undefined
  if (value === 0 || Math.abs(value) >= 1e-4) return String(value)
  return value.toExponential().replace(/-(\d)$/, '-0$1')
}

const TRUE = new Set<unknown>(['t', 'y', 'yes', 'true', 'on', '1', 1, true])
const FALSE = new Set<unknown>(['f', 'n', 'no', 'false', 'off', '0', 0, false])

function readBoolean(value: unknown): ReturnType<Reader> {
  const normalized = typeof value === 'string' && value.length <= 5 ? value.toLowerCase() : value
  if (!TRUE.has(normalized) && !FALSE.has(normalized)) return ['Must be a valid boolean.']
  return { value: TRUE.has(normalized) }
}

/** A positive 32-bit integer, or its digits. As in DRF, other integers have another message than other types. */
function readKey(value: unknown): ReturnType<Reader> {
  if (value === null) return [doesNotExist('None')]
  const isInteger = typeof value === 'string' ? /^-?\d{1,20}$/.test(value) : Number.isInteger(value)
  if (!isInteger) return [`Incorrect type. Expected pk value, received ${pythonType(value)}.`]
  const key = Number(value)
  return key > 0 && key <= 2_147_483_647 ? { value: key } : [doesNotExist(value)]
}

/** DRF's message for a key without a row. */
const doesNotExist = (key: unknown) => `Invalid pk "${key}" - object does not exist.`

/** Reports the first invalid key only, as DRF does. */
function readKeys(value: unknown): ReturnType<Reader> {
  if (!Array.isArray(value)) return [`Expected a list of items but got type "${pythonType(value)}".`]
  if (value.length > MAX_KEYS) return [`Ensure this field has no more than ${MAX_KEYS} elements.`]
  const keys = new Set<unknown>()
  for (const item of value) {
    const result = readKey(item)
    if (Array.isArray(result)) return result
    keys.add(result.value)
  }
  return { value: [...keys] }
}

/** DRF's validators of a CharField, in its order. The messages of all of them are reported. */
const VALIDATORS: ((text: string, field: FieldSchema) => string | undefined)[] = [
  (text, { format }) => (format === 'email' && !isEmail(text) ? 'Enter a valid email address.' : undefined),
  (text, { maxLength = Number.POSITIVE_INFINITY }) =>
    isLonger(text, maxLength) ? `Ensure this field has no more than ${maxLength} characters.` : undefined,
  (text, { 'x-max-bytes': maxBytes = Number.POSITIVE_INFINITY }) =>
    Buffer.byteLength(text) > maxBytes ? `Ensure this field has no more than ${maxBytes} bytes.` : undefined,
  (text) => (text.includes('\0') ? 'Null characters are not allowed.' : undefined),
  (text) => {
    // With the `u` flag, a surrogate pair is one character, so that only lone surrogates match.
    const surrogate = /[\ud800-\udfff]/u.exec(text)?.[0]
    return surrogate && `Surrogate characters are not allowed: U+${surrogate.charCodeAt(0).toString(16).toUpperCase()}.`
  }
]

/** Django's EmailValidator: a dot-atom or a quoted string, and a domain, `localhost`, or an IP address in brackets. */
function isEmail(text: string): boolean {
  const at = text.lastIndexOf('@')
  if (at < 1 || text.length > 320) return false
  const [local, domain] = [text.slice(0, at), text.slice(at + 1)]
  const isLocal = /^[-!#$%&'*+/=?^_`{}|~\w]+(\.[-!#$%&'*+/=?^_`{}|~\w]+)*$/i.test(local) || QUOTED.test(local)
  const [, address] = /^\[([0-9a-f:.]+)\]$/i.exec(domain) ?? []
  return isLocal && (domain === 'localhost' || DOMAIN.test(domain) || (address !== undefined && isIP(address) > 0))
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: a quoted string of RFC 5321 may contain control characters.
const QUOTED = /^"([\x01-\x08\x0b\x0c\x0e-\x1f!#-[\]-\x7f]|\\[\x01-\x09\x0b\x0c\x0e-\x7f])*"$/
const DOMAIN = /^((?!-)[a-z0-9-]{1,63}(?<!-)\.)+((?!-)[a-z\u00a1-\uffff-]{2,63}(?<!-)|xn--[a-z0-9]{1,59})$/i

const isLonger = (text: string, maxLength: number) => text.length > maxLength && [...text].length > maxLength

/** What a list is asked for by its URL: DRF's SearchFilter and OrderingFilter, and django-filter's exact filters. */
import type { FastifyRequest } from 'fastify'
import Type, { type Static, type TProperties } from 'typebox'
import { ValidationError } from '../errors.ts'
import { strip } from '../python-strip.ts'
import type { Faults } from './fields.ts'
import { queryOf } from './pagination.ts'

const MAX_SEARCH = 200
const MAX_TERMS = 10
const MAX_KEYS = 100

/** The parameters of a list that is searched, ordered and in pages, for an OpenAPI document. */
export const ListQuery = <Filters extends TProperties>(filters: Filters) =>
  Type.Partial(
    Type.Object({
      ...filters,
      search: Type.String({ maxLength: MAX_SEARCH, description: 'Words, all of which a row has somewhere in it' }),
      ordering: Type.String({ description: 'Columns with commas between; a minus turns one round' }),
      page: Type.String({ description: 'A number from 1, or `last`' }),
      page_size: Type.Integer()
    })
  )

/**
 * The terms of `?search=`: words, and phrases in quotes; a row has to have them all. A comma ends a word as well.
 *
 * @throws {ValidationError} for more than anybody can mean
 */
export function searchTerms(request: FastifyRequest): string[] {
  const text = queryOf(request).get('search') ?? ''
  if (text.includes('\0')) throw new ValidationError(['Null characters are not allowed.'])
  if (text.length > MAX_SEARCH) {
    throw new ValidationError([`Ensure this field has no more than ${MAX_SEARCH} characters.`])
  }
  const terms = (text.match(TERM) ?? []).flatMap(termsIn)
  if (terms.length > MAX_TERMS) throw new ValidationError([`Ensure this field has no more than ${MAX_TERMS} words.`])
  return terms
}

/** Up to the next blank that is not within quotes. */
const TERM = /(?:[^\s'"]*(?:(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')[^\s'"]*)+)|\S+/g

function termsIn(found: string): string[] {
  const term = found.replace(/^,+/, '').replace(/,+$/, '')
  const quote = term.charAt(0)
  if ((quote === '"' || quote === "'") && term.endsWith(quote)) {
    return [term.slice(1, -1).replaceAll(`\\${quote}`, quote).replaceAll('\\\\', '\\')]
  }
  return term.split(',').filter((part) => part !== '')
}

export type Direction = 'asc' | 'desc'

/**
 * What `?ordering=-date_joined,username` asks for; a column that is not among these is passed over, as in DRF.
 *
 * @param columns what a query has to say to be in the order of each
 * @returns empty if nothing is asked for
 */
export function orderingOf<Order>(
  request: FastifyRequest,
  columns: Record<string, (direction: Direction) => Order>
): Order[] {
  const wanted = new Map<string, Direction>()
  for (const term of (queryOf(request).get('ordering') ?? '').split(',')) {
    const [, minus, name = ''] = /^(-?)(.*)$/s.exec(strip(term)) ?? []
    // Only the first time counts, for a database as well.
    if (Object.hasOwn(columns, name) && !wanted.has(name)) wanted.set(name, minus ? 'desc' : 'asc')
  }
  return Array.from(wanted, ([name, direction]) => columns[name]?.(direction) as Order)
}

/**
 * The filters that were given, each read as its schema says: a text, `true` or `false`, or keys of which any will do.
 * An empty one counts as left out.
 *
 * @throws {ValidationError} by filter, in the words of django-filter, which itself passes over what is no boolean
 */
export function filtersOf<Filters extends TProperties>(
  request: FastifyRequest,
  filters: Filters
): { [Name in keyof Filters]?: Static<Filters[Name]> } {
  const query = queryOf(request)
  const values: Record<string, unknown> = {}
  const faults: Faults = {}
  for (const [name, schema] of Object.entries(filters) as [string, Filter][]) {
    const reading = READERS[schema.type]?.(query.getAll(name), schema)
    if (typeof reading === 'string') faults[name] = [reading]
    else if (reading !== undefined) values[name] = reading.value
  }
  if (Object.keys(faults).length > 0) throw new ValidationError(faults)
  return values as { [Name in keyof Filters]?: Static<Filters[Name]> }
}

interface Filter {
  type: string
  maxLength?: number
}

/** The value, what is wrong with it, or undefined for none. */
type Reader = (given: readonly string[], filter: Filter) => { value: unknown } | string | undefined

/** By the type in a filter's schema; of a single value that is there twice, the last counts. */
const READERS: Record<string, Reader> = {
  string: (given, { maxLength = MAX_SEARCH }) => {
    const value = strip(given.at(-1) ?? '')
    if (value.includes('\0')) return 'Null characters are not allowed.'
    const { length } = [...value]
    if (length > maxLength) return `Ensure this value has at most ${maxLength} characters (it has ${length}).`
    return value === '' ? undefined : { value }
  },
  boolean: (given) => {
    const value = (given.at(-1) ?? '').toLowerCase()
    if (value === '') return undefined
    return BOOLEANS.has(value) ? { value: BOOLEANS.get(value) } : 'Must be a valid boolean.'
  },
  array: (given) => {
    if (given.some((value) => value.includes('\0'))) return 'Null characters are not allowed.'
    if (given.length > MAX_KEYS) return `Ensure there are no more than ${MAX_KEYS} values.`
    const odd = given.find((value) => !/^\d{1,9}$/.test(value))
    if (odd !== undefined) return `“${odd}” is not a valid value.`
    return given.length === 0 ? undefined : { value: [...new Set(given.map(Number))] }
  }
}

const BOOLEANS = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false]
])

/**
 * Search, ordering and filters of a list by query parameters: DRF's SearchFilter and OrderingFilter, and django-filter.
 */
import type { FastifyRequest } from 'fastify'
import Type, { type Static, type TProperties } from 'typebox'
import { ValidationError } from '../errors.ts'
import { strip } from '../python-strip.ts'
import type { Faults } from './fields.ts'
import { queryOf } from './pagination.ts'

/** In UTF-16 code units. */
const MAX_SEARCH_LENGTH = 200
const MAX_TERMS = 10
const MAX_KEYS = 100

/** The schema of the query parameters of a list with search, ordering and pagination, for OpenAPI. */
export const ListQuery = <Filters extends TProperties>(filters: Filters) =>
  Type.Partial(
    Type.Object({
      ...filters,
      search: Type.String({ maxLength: MAX_SEARCH_LENGTH, description: 'Words that a row must all contain' }),
      ordering: Type.String({ description: 'Columns, separated by commas; a minus sorts descending' }),
      page: Type.String({ description: 'A number from 1, or `last`' }),
      page_size: Type.Integer()
    })
  )

/**
 * Parses `?search=` into the terms that a row must all contain: words, separated by white space or commas, and quoted
 * phrases.
 *
 * @throws {ValidationError} for a NUL character, more than `MAX_SEARCH_LENGTH` characters, or more than `MAX_TERMS`
 *   terms
 */
export function readSearchTerms(request: FastifyRequest): string[] {
  const text = queryOf(request).get('search') ?? ''
  if (text.includes('\0')) throw new ValidationError(['Null characters are not allowed.'])
  if (text.length > MAX_SEARCH_LENGTH) {
    throw new ValidationError([`Ensure this field has no more than ${MAX_SEARCH_LENGTH} characters.`])
  }
  const terms = (text.match(TERM) ?? []).flatMap(splitTerm)
  if (terms.length > MAX_TERMS) throw new ValidationError([`Ensure this field has no more than ${MAX_TERMS} words.`])
  return terms
}

/** Django's smart_split: up to the next white space outside quotes. */
const TERM = /(?:[^\s'"]*(?:(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')[^\s'"]*)+)|\S+/g

function splitTerm(text: string): string[] {
  const term = text.replace(/^,+/, '').replace(/,+$/, '')
  const quote = term.charAt(0)
  if ((quote === '"' || quote === "'") && term.endsWith(quote)) {
    return [term.slice(1, -1).replaceAll(`\\${quote}`, quote).replaceAll('\\\\', '\\')]
  }
  return term.split(',').filter((part) => part !== '')
}

export type Direction = 'asc' | 'desc'

/**
 * Parses `?ordering=-date_joined,username`. Like DRF, it ignores unknown columns.
 *
 * @param columns for each column that a list can be ordered by, a function that returns its `orderBy`
 * @returns an empty list if no ordering is requested
 */
export function readOrdering<Order>(
  request: FastifyRequest,
  columns: Record<string, (direction: Direction) => Order>
): Order[] {
  const directions = new Map<string, Direction>()
  for (const term of (queryOf(request).get('ordering') ?? '').split(',')) {
    const [, minus, name = ''] = /^(-?)(.*)$/s.exec(strip(term)) ?? []
    // If a column is repeated, its first occurrence counts, as in SQL.
    if (Object.hasOwn(columns, name) && !directions.has(name)) directions.set(name, minus ? 'desc' : 'asc')
  }
  return Array.from(directions, ([name, direction]) => columns[name]?.(direction) as Order)
}

/**
 * Parses the query parameters of these filters by the type in their schema: a string, a boolean, or a list of primary
 * keys of which a row must have one. An empty parameter counts as absent.
 *
 * @throws {ValidationError} by filter, with the messages of django-filter, which itself ignores invalid booleans
 */
export function readFilters<Filters extends TProperties>(
  request: FastifyRequest,
  filters: Filters
): { [Name in keyof Filters]?: Static<Filters[Name]> } {
  const query = queryOf(request)
  const values: Record<string, unknown> = {}
  const faults: Faults = {}
  for (const [name, schema] of Object.entries(filters) as [string, FilterSchema][]) {
    const result = READERS[schema.type]?.(query.getAll(name), schema)
    if (typeof result === 'string') faults[name] = [result]
    else if (result !== undefined) values[name] = result.value
  }
  if (Object.keys(faults).length > 0) throw new ValidationError(faults)
  return values as { [Name in keyof Filters]?: Static<Filters[Name]> }
}

interface FilterSchema {
  type: string
  maxLength?: number
}

/** Returns the value, an error message, or undefined if the filter is absent. */
type Reader = (values: readonly string[], schema: FilterSchema) => { value: unknown } | string | undefined

/** By the type in the schema of a filter. If a parameter with a single value is repeated, its last value counts. */
const READERS: Record<string, Reader> = {
  string: (values, { maxLength = MAX_SEARCH_LENGTH }) => {
    const value = strip(values.at(-1) ?? '')
    if (value.includes('\0')) return 'Null characters are not allowed.'
    const { length } = [...value]
    if (length > maxLength) return `Ensure this value has at most ${maxLength} characters (it has ${length}).`
    return value === '' ? undefined : { value }
  },
  boolean: (values) => {
    const value = (values.at(-1) ?? '').toLowerCase()
    if (value === '') return undefined
    return BOOLEANS.has(value) ? { value: BOOLEANS.get(value) } : 'Must be a valid boolean.'
  },
  array: (values) => {
    if (values.some((value) => value.includes('\0'))) return 'Null characters are not allowed.'
    if (values.length > MAX_KEYS) return `Ensure there are no more than ${MAX_KEYS} values.`
    const invalid = values.find((value) => !/^\d{1,9}$/.test(value))
    if (invalid !== undefined) return `“${invalid}” is not a valid value.`
    return values.length === 0 ? undefined : { value: [...new Set(values.map(Number))] }
  }
}

const BOOLEANS = new Map([
  ['true', true],
  ['1', true],
  ['false', false],
  ['0', false]
])

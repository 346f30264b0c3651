/** DRF's pagination: a list in pages, with links to the next and the previous page. */
import type { FastifyRequest } from 'fastify'
import Type, { type TSchema } from 'typebox'
import { NotFound, ParseError } from '../errors.ts'

/** A query for rows, in an order that is the same for every page. */
export interface Rows<Row> {
  count: () => Promise<number>
  find: (range: { skip: number; take: number }) => Promise<Row[]>
}

export interface Page<Row> {
  count: number
  /** Absolute URL; null on the last page. */
  next: string | null
  /** Absolute URL; null on the first page. */
  previous: string | null
  results: Row[]
}

/** In rows. */
export interface PageSize {
  /** By default. */
  size: number
  /** The largest size that a client can request. */
  max: number
}

const URL_OR_NULL = Type.Union([Type.String(), Type.Null()])

/** The schema of a page of rows. */
export const PageOf = (row: TSchema) =>
  Type.Object({ count: Type.Integer(), next: URL_OR_NULL, previous: URL_OR_NULL, results: Type.Array(row) })

/**
 * DRF's PageNumberPagination: `?page=2&page_size=50`, also `?page=last`.
 *
 * @throws {NotFound} `Invalid page.` for a page that does not exist
 */
export async function paginateByNumber<Row>(
  request: FastifyRequest,
  rows: Rows<Row>,
  { size, max }: PageSize
): Promise<Page<Row>> {
  const query = queryOf(request)
  const take = parsePositive(query.get('page_size'), max) ?? size
  const count = await rows.count()
  const last = Math.max(1, Math.ceil(count / take))
  const page = parsePageNumber(query.get('page'), last)
  return {
    count,
    next: page < last ? createLink(request, query, { page: page + 1 }) : null,
    previous: page > 1 ? createLink(request, query, { page: page === 2 ? null : page - 1 }) : null,
    results: await rows.find({ skip: (page - 1) * take, take })
  }
}

function parsePageNumber(text: string | null, last: number): number {
  if (text === 'last') return last
  const page = text === null || text === '' ? 1 : parseInteger(text)
  if (page === null || page < 1 || page > last) throw new NotFound('Invalid page.')
  return page
}

/** DRF's LimitOffsetPagination: `?limit=10&offset=20`. Invalid numbers count as absent. */
export async function paginateByOffset<Row>(
  request: FastifyRequest,
  rows: Rows<Row>,
  { size, max }: PageSize
): Promise<Page<Row>> {
  const query = queryOf(request)
  const limit = parsePositive(query.get('limit'), max) ?? size
  const offset = Math.max(0, parseInteger(query.get('offset') ?? '') ?? 0)
  const count = await rows.count()
  const previousOffset = offset - limit
  return {
    count,
    next: offset + limit < count ? createLink(request, query, { limit, offset: offset + limit }) : null,
    previous:
      offset > 0 ? createLink(request, query, { limit, offset: previousOffset > 0 ? previousOffset : null }) : null,
    results: offset < count ? await rows.find({ skip: offset, take: limit }) : []
  }
}

/** More are a 400: no list takes nearly as many. */
const MAX_PARAMETERS = 200

/** The query parameters of a URL. If a parameter is repeated, its last value counts. */
class Query {
  readonly #values = new Map<string, string[]>()

  constructor(text: string) {
    let count = 0
    for (const [name, value] of new URLSearchParams(text)) {
      if (++count > MAX_PARAMETERS) throw new ParseError('Too many query parameters.')
      const values = this.#values.get(name)
      if (values === undefined) this.#values.set(name, [value])
      else values.push(value)
    }
  }

  get(name: string): string | null {
    return this.#values.get(name)?.at(-1) ?? null
  }

  getAll(name: string): readonly string[] {
    return this.#values.get(name) ?? []
  }

  /** Serialises the parameters, sorted by name, with these values replaced; null removes a parameter. */
  serializeWith(changes: Record<string, number | null>): string {
    const values = new Map(this.#values)
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) values.delete(name)
      else values.set(name, [String(value)])
    }
    const pairs = [...values]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([name, all]) => all.map((value): [string, string] => [name, value]))
    return new URLSearchParams(pairs).toString()
  }
}

/** The query parameters of a request, independent of the host's `querystringParser`. */
export const queryOf = ({ url }: FastifyRequest): Query => {
  const start = url.indexOf('?')
  return new Query(start < 0 ? '' : url.slice(start + 1))
}

function createLink(request: FastifyRequest, query: Query, changes: Record<string, number | null>): string {
  const [path] = request.url.split('?', 1)
  const text = query.serializeWith(changes)
  return `${request.protocol}://${request.host}${path}${text && `?${text}`}`
}

/** Python's int(), limited to 15 ASCII digits; null if the text is not an integer. */
function parseInteger(text: string): number | null {
  const value = /^\s*[+-]?\d{1,15}\s*$/.test(text) ? Number(text) : Number.NaN
  return Number.isNaN(value) ? null : value
}

function parsePositive(text: string | null, max: number): number | null {
  const value = parseInteger(text ?? '')
  return value === null || value < 1 ? null : Math.min(value, max)
}

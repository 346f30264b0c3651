/** DRF's pagination: a list in pieces, with links to the pieces before and after. */
import type { FastifyRequest } from 'fastify'
import Type, { type TSchema } from 'typebox'
import { NotFound } from '../errors.ts'

/** Where the rows come from, in an order that stays. */
export interface Rows<Row> {
  count: () => Promise<number>
  find: (range: { skip: number; take: number }) => Promise<Row[]>
}

export interface Page<Row> {
  count: number
  /** Absolute URLs; null at the ends. */
  next: string | null
  previous: string | null
  results: Row[]
}

/** How many rows a piece has, and how many a caller may ask for. */
export interface PageSize {
  size: number
  max: number
}

const URL_OR_NULL = Type.Union([Type.String(), Type.Null()])

/** The schema of a page of these. */
export const PageOf = (row: TSchema) =>
  Type.Object({ count: Type.Integer(), next: URL_OR_NULL, previous: URL_OR_NULL, results: Type.Array(row) })

/**
 * DRF's PageNumberPagination: `?page=2&page_size=50`, also `page=last`.
 *
 * @throws {NotFound} `Invalid page.` for a page that there is not
 */
export async function pageByNumber<Row>(
  request: FastifyRequest,
  rows: Rows<Row>,
  { size, max }: PageSize
): Promise<Page<Row>> {
  const query = queryOf(request)
  const take = positive(query.get('page_size'), max) ?? size
  const count = await rows.count()
  const last = Math.max(1, Math.ceil(count / take))
  const page = pageNumber(query.get('page'), last)
  return {
    count,
    next: page < last ? linkTo(request, query, { page: page + 1 }) : null,
    previous: page > 1 ? linkTo(request, query, { page: page === 2 ? null : page - 1 }) : null,
    results: await rows.find({ skip: (page - 1) * take, take })
  }
}

function pageNumber(text: string | null, last: number): number {
  if (text === 'last') return last
  const page = text === null || text === '' ? 1 : integer(text)
  if (page === null || page < 1 || page > last) throw new NotFound('Invalid page.')
  return page
}

/** DRF's LimitOffsetPagination: `?limit=10&offset=20`; what is no number counts as left out. */
export async function pageByLimit<Row>(
  request: FastifyRequest,
  rows: Rows<Row>,
  { size, max }: PageSize
): Promise<Page<Row>> {
  const query = queryOf(request)
  const limit = positive(query.get('limit'), max) ?? size
  const offset = Math.max(0, integer(query.get('offset') ?? '') ?? 0)
  const count = await rows.count()
  const before = offset - limit
  return {
    count,
    next: offset + limit < count ? linkTo(request, query, { limit, offset: offset + limit }) : null,
    previous: offset > 0 ? linkTo(request, query, { limit, offset: before > 0 ? before : null }) : null,
    results: offset < count ? await rows.find({ skip: offset, take: limit }) : []
  }
}

/** Of a parameter that is there twice, the last counts. */
class Query {
  readonly #values = new Map<string, string[]>()

  constructor(text: string) {
    for (const [name, value] of new URLSearchParams(text)) {
      this.#values.set(name, [...(this.#values.get(name) ?? []), value])
    }
  }

  get(name: string): string | null {
    return this.#values.get(name)?.at(-1) ?? null
  }

  getAll(name: string): readonly string[] {
    return this.#values.get(name) ?? []
  }

  /** With other values for some, null for none, in the order of their names. */
  with(changes: Record<string, number | null>): string {
    const values = new Map(this.#values)
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) values.delete(name)
      else values.set(name, [String(value)])
    }
    const pairs = [...values]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([name, all]) => all.map((one): [string, string] => [name, one]))
    return new URLSearchParams(pairs).toString()
  }
}

/** The parameters of a list's URL. */
export const queryOf = ({ url }: FastifyRequest): Query => {
  const start = url.indexOf('?')
  return new Query(start < 0 ? '' : url.slice(start + 1))
}

function linkTo(request: FastifyRequest, query: Query, changes: Record<string, number | null>): string {
  const [path] = request.url.split('?', 1)
  const text = query.with(changes)
  return `${request.protocol}://${request.host}${path}${text && `?${text}`}`
}

/** As Python's int() reads it, of ASCII's digits; null for what it does not, or what no database counts to. */
function integer(text: string): number | null {
  const value = /^\s*[+-]?\d{1,15}\s*$/.test(text) ? Number(text) : Number.NaN
  return Number.isNaN(value) ? null : value
}

function positive(text: string | null, most: number): number | null {
  const value = integer(text ?? '')
  return value === null || value < 1 ? null : Math.min(value, most)
}

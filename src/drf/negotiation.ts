import type { FastifyRequest } from 'fastify'
import { NotAcceptable, NotFound } from '../errors.ts'
import { MAX_MEDIA_TYPE_LENGTH, type MediaType, parseMediaType } from './media-type.ts'

/** DRF's default renderers. Only JSON is rendered: a client that asks for HTML also gets JSON. */
export const RENDERED_TYPES = ['application/json', 'text/html'] as const

type Rendered = (typeof RENDERED_TYPES)[number]

/** Limits of the `Accept` header, in characters and in entries. The rest of a longer header is ignored. */
const MAX_ACCEPT_LENGTH = 8192
const MAX_ACCEPT_ENTRIES = 64

/**
 * DRF's content negotiation: selects the most specific entry of `Accept` that can be rendered. Like DRF, it ignores
 * `q`.
 *
 * @returns the indent of the response in spaces, 1 to 8; 0 for compact JSON
 * @throws {NotFound} for a `?format=` other than `json`
 * @throws {NotAcceptable} if no entry of `Accept` can be rendered
 */
export function negotiate({ url, headers }: Pick<FastifyRequest, 'url' | 'headers'>): number {
  const offers = offersFor(url)
  const entries = acceptEntries(headers.accept ?? '*/*')
  for (const precedence of [3, 2, 1, 0]) {
    const candidates = entries.filter((entry) => precedenceOf(entry) === precedence)
    for (const offer of offers) {
      const chosen = candidates.find((entry) => isMatch(offer, entry))
      if (chosen) return offer === 'application/json' ? indentOf(chosen) : 0
    }
  }
  throw new NotAcceptable()
}

/** Parses the URL itself: the host can configure another parser for `request.query`. */
function offersFor(url: string): readonly Rendered[] {
  const start = url.indexOf('?')
  const format = start === -1 ? undefined : new URLSearchParams(url.slice(start)).getAll('format').at(-1)
  if (!format) return RENDERED_TYPES
  if (format !== 'json') throw new NotFound()
  return ['application/json']
}

function acceptEntries(header: string): MediaType[] {
  return truncate(header)
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '' && entry.length <= MAX_MEDIA_TYPE_LENGTH)
    .slice(0, MAX_ACCEPT_ENTRIES)
    .map(parseMediaType)
}

/** Truncates at a comma, so that part of an entry is not read as another entry. */
function truncate(header: string): string {
  if (header.length <= MAX_ACCEPT_LENGTH) return header
  return header.slice(0, header.lastIndexOf(',', MAX_ACCEPT_LENGTH - 1) + 1)
}

/** The specificity of an entry, from 0 for any type to 3 for a type with parameters besides `q`; DRF's precedence. */
function precedenceOf({ type, parameters }: MediaType): number {
  const [main, sub] = splitType(type)
  if (main === '*') return 0
  if (sub === '*') return 1
  return parameters.size > (parameters.has('q') ? 1 : 0) ? 3 : 2
}

function isMatch(offer: Rendered, { type }: MediaType): boolean {
  const [main, sub] = splitType(type)
  const [offeredMain, offeredSub] = splitType(offer)
  return (main === '*' || main === offeredMain) && (sub === '*' || sub === offeredSub)
}

function splitType(type: string): [string, string] {
  const [main = ''] = type.split('/', 1)
  return [main, type.slice(main.length + 1)]
}

/** The `indent` parameter as parsed by Python's `int()`, limited to DRF's range. */
function indentOf({ parameters }: MediaType): number {
  const indent = parameters.get('indent') ?? ''
  if (!/^\s*[-+]?\d+(_\d+)*\s*$/.test(indent)) return 0
  return Math.max(Math.min(Number(indent.replaceAll('_', '')), 8), 0)
}

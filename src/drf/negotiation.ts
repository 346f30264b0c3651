import type { FastifyRequest } from 'fastify'
import { NotAcceptable, NotFound } from '../errors.ts'
import { MAX_MEDIA_TYPE_LENGTH, type MediaType, parseMediaType } from './media-type.ts'

/** What DRF offers. We render JSON only: who asks for HTML gets JSON too. */
export const RENDERED_TYPES = ['application/json', 'text/html'] as const

type Rendered = (typeof RENDERED_TYPES)[number]

/** In characters, and in entries, as DRF reads at most; what is beyond is as if it had not been sent. */
const MAX_ACCEPT_LENGTH = 8192
const MAX_ACCEPT_ENTRIES = 64

/**
 * DRF's content negotiation: the most specific entry of Accept that we can answer, whatever its `q`.
 *
 * @returns how many blanks the answer is to be indented by, 1 to 8; 0 for a compact one
 * @throws {NotFound} for a `?format=` other than `json`
 * @throws {NotAcceptable} when nothing in Accept can be answered
 */
export function negotiate({ url, headers }: Pick<FastifyRequest, 'url' | 'headers'>): number {
  const offers = offersFor(url)
  const entries = acceptEntries(headers.accept ?? '*/*')
  for (const precedence of [3, 2, 1, 0]) {
    const candidates = entries.filter((entry) => precedenceOf(entry) === precedence)
    for (const offer of offers) {
      const chosen = candidates.find((entry) => matches(offer, entry))
      if (chosen) return offer === 'application/json' ? indentOf(chosen) : 0
    }
  }
  throw new NotAcceptable()
}

/** Read from the URL itself: what `request.query` looks like is up to the host's parser. */
function offersFor(url: string): readonly Rendered[] {
  const start = url.indexOf('?')
  const format = start === -1 ? undefined : new URLSearchParams(url.slice(start)).getAll('format').at(-1)
  if (!format) return RENDERED_TYPES
  if (format !== 'json') throw new NotFound()
  return ['application/json']
}

function acceptEntries(header: string): MediaType[] {
  return shorten(header)
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '' && entry.length <= MAX_MEDIA_TYPE_LENGTH)
    .slice(0, MAX_ACCEPT_ENTRIES)
    .map(parseMediaType)
}

/** Cuts at a comma, lest the rest of an entry be taken for another one. */
function shorten(header: string): string {
  if (header.length <= MAX_ACCEPT_LENGTH) return header
  return header.slice(0, header.lastIndexOf(',', MAX_ACCEPT_LENGTH - 1) + 1)
}

/** How specific an entry is, from 0 for any type at all to 3 for a type with parameters besides `q`. */
function precedenceOf({ type, parameters }: MediaType): number {
  const [main, sub] = halves(type)
  if (main === '*') return 0
  if (sub === '*') return 1
  return parameters.size > (parameters.has('q') ? 1 : 0) ? 3 : 2
}

function matches(offer: Rendered, { type }: MediaType): boolean {
  const [main, sub] = halves(type)
  const [ourMain, ourSub] = halves(offer)
  return (main === '*' || main === ourMain) && (sub === '*' || sub === ourSub)
}

function halves(type: string): [string, string] {
  const [main = ''] = type.split('/', 1)
  return [main, type.slice(main.length + 1)]
}

/** Python's `int()` of the parameter, brought into DRF's range. */
function indentOf({ parameters }: MediaType): number {
  const indent = parameters.get('indent') ?? ''
  if (!/^\s*[-+]?\d+(_\d+)*\s*$/.test(indent)) return 0
  return Math.max(Math.min(Number(indent.replaceAll('_', '')), 8), 0)
}

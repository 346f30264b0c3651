/** Builders for the types of settings: each has a default, a description, and a description of its valid values. */
import Type from 'typebox'

/** How the text of a setting is converted; see `load.ts`. */
export type Reader = 'boolean' | 'claim' | 'duration' | 'list' | 'number' | 'text' | 'textOrList'

/** The annotations of a setting's type. */
export interface Setting {
  default: unknown
  description: string
  reads: Reader
  /** Describes valid values; error messages put "must be" in front of it. */
  expects: string
}

/** A regular expression that a text must match, and the description of the matching texts. */
interface Pattern {
  pattern: string
  expects: string
}

/** A name that is valid as a claim: no quotation marks, spaces or control characters. */
export const CLAIM_NAME: Pattern = {
  pattern: '^[A-Za-z0-9_.:/-]{1,64}$',
  expects: 'a name of 1 to 64 letters, digits, _ . : / or -'
}

/** A cookie name (RFC 6265 §4.1.1), restricted to the characters that every proxy passes on unchanged. */
export const COOKIE_NAME: Pattern = {
  pattern: '^[A-Za-z0-9_-]{1,64}$',
  expects: 'a name of 1 to 64 letters, digits, _ or -'
}

const UNIT_SECONDS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }
const MAX_DURATION_SECONDS = 3650 * 86_400

/** Parses `90`, `90s`, `500ms`, `5m`, `12h`, `1d` or `2w`. @returns seconds, or NaN for any other text */
export function parseDuration(text: string): number {
  const [, amount, unit = 's'] = /^(\d{1,9})(ms|[smhdw])?$/.exec(text.trim()) ?? []
  return amount === undefined ? Number.NaN : Number(amount) * (UNIT_SECONDS[unit] as number)
}

/** Formats seconds in the largest unit that gives a whole number, such as `5m`; zero is `0`. */
export function formatDuration(seconds: number): string {
  const milliseconds = Math.round(seconds * 1000)
  if (milliseconds === 0) return '0'
  const units = Object.entries(UNIT_SECONDS).map(([unit, length]) => ({ unit, length: length * 1000 }))
  const { unit = 'ms', length = 1 } = units.findLast(({ length }) => milliseconds % length === 0) ?? {}
  return `${milliseconds / length}${unit}`
}

interface Bounds {
  minimum?: number
  maximum?: number
}

const durationBetween = ({ minimum, maximum }: Required<Bounds>) =>
  `a duration from ${formatDuration(minimum)} to ${formatDuration(maximum)}, such as 30s, 5m, 12h, 1d or a number of seconds`

const wholeNumberBetween = ({ minimum, maximum }: Required<Bounds>) => `a whole number from ${minimum} to ${maximum}`

const originsLike = (example: string) => `a comma-separated list of origins such as ${example}`

export const ORIGINS = originsLike('https://app.example.com')
export const ORIGINS_OR_WILDCARDS = originsLike('https://app.example.com or https://*.example.com')
export const NETWORKS = 'a comma-separated list of IP addresses or networks such as 10.0.0.0/8 (but not /0)'

export const flag = (fallback: boolean, description: string) =>
  Type.Boolean({ default: fallback, description, reads: 'boolean', expects: 'on or off' })

/** Bounds are in seconds. */
export function duration(fallback: string, description: string, bounds: Bounds = {}) {
  const limits = { minimum: 0, maximum: MAX_DURATION_SECONDS, ...bounds }
  const expects = durationBetween(limits)
  return Type.Integer({ ...limits, default: parseDuration(fallback), description, reads: 'duration', expects })
}

/** A duration that may have a fraction of a second. Bounds are in seconds. */
export function shortDuration(fallback: string, description: string, limits: Required<Bounds>) {
  const expects = durationBetween(limits)
  return Type.Number({ ...limits, default: parseDuration(fallback), description, reads: 'duration', expects })
}

/** Bounds are in seconds; null if not set. */
export function optionalDuration(description: string, bounds: Bounds) {
  const limits = { minimum: 0, maximum: MAX_DURATION_SECONDS, ...bounds }
  const annotations = { default: null, description, reads: 'duration', expects: durationBetween(limits) }
  return Type.Union([Type.Integer(limits), Type.Null()], annotations)
}

export const integer = (fallback: number, description: string, limits: Required<Bounds>) =>
  Type.Integer({
    ...limits,
    default: fallback,
    description,
    reads: 'number',
    expects: wholeNumberBetween(limits)
  })

/** Null if not set. */
export function optionalInteger(description: string, limits: Required<Bounds>) {
  const annotations = { default: null, description, reads: 'number', expects: wholeNumberBetween(limits) }
  return Type.Union([Type.Integer(limits), Type.Null()], annotations)
}

const NON_EMPTY: Pattern = { pattern: '[^]', expects: 'a non-empty text' }

export const text = (fallback: string, description: string, { pattern, expects }: Pattern = NON_EMPTY) =>
  Type.String({ pattern, default: fallback, description, reads: 'text', expects })

/** Null if not set. */
export const optionalText = (description: string, { pattern, expects }: Pattern = NON_EMPTY) =>
  Type.Union([Type.String({ pattern }), Type.Null()], { default: null, description, reads: 'text', expects })

/** One text or several; null if not set. */
export const optionalTextOrList = (description: string) =>
  Type.Union([Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 })), Type.Null()], {
    default: null,
    description,
    reads: 'textOrList',
    expects: 'a non-empty text, or a comma-separated list of them'
  })

export const oneOf = <const Name extends string>(names: readonly Name[], fallback: Name, description: string) =>
  Type.Enum([...names] as Name[], {
    default: fallback,
    description,
    reads: 'text',
    expects: `one of ${names.join(', ')}`
  })

/** @param expects describes the list, whose items are checked in `checks.ts` */
export const list = (fallback: string[], description: string, expects: string, bounds: { minItems?: number } = {}) =>
  Type.Array(Type.String({ minLength: 1 }), { ...bounds, default: fallback, description, reads: 'list', expects })

/** At least one of the names, each at most once. */
export const listOf = <const Name extends string>(names: readonly Name[], fallback: Name[], description: string) =>
  Type.Array(Type.Enum([...names] as Name[]), {
    default: fallback,
    description,
    reads: 'list',
    expects: `a comma-separated list of one or more of ${names.join(', ')}, each at most once`,
    minItems: 1,
    uniqueItems: true
  })

/** The name of a claim that can be left out of tokens; then it is null, or `none` in the environment. */
export const optionalClaim = (fallback: string, description: string) =>
  Type.Union([Type.String({ pattern: CLAIM_NAME.pattern }), Type.Null()], {
    default: fallback,
    description,
    reads: 'claim',
    expects: `${CLAIM_NAME.expects}, or none`
  })

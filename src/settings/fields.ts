/** The types that settings have: what each says of itself, and how its text is read. */
import Type from 'typebox'

const UNITS: Record<string, number> = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

export type Reader = 'boolean' | 'claim' | 'duration' | 'list' | 'number' | 'text' | 'texts'

/** What a setting says of itself besides its type. */
export interface Setting {
  description: string
  /** How its text in the environment is read. */
  reads: Reader
  /** What a good value looks like, for the message about a bad one. */
  expects: string
  /** True for SimpleJWT's settings, whose names in the environment begin with `JWT_`. */
  jwt?: true
  /** True for what only the server asks for; as a plugin, Latchkey leaves it to the host app. */
  server?: true
}

export const jwt = { jwt: true } as const
export const server = { server: true } as const

/** What every setting says of itself, and what it says besides. */
export const about = (reads: Reader, expects: string, fallback: unknown, description: string, extra: object) => ({
  default: fallback,
  description,
  reads,
  expects,
  ...extra
})

export const flag = (fallback: boolean, description: string, extra = {}) =>
  Type.Boolean(about('boolean', 'on or off', fallback, description, extra))

const DURATION = 'a duration such as 30s, 5m, 12h or 1d, or whole seconds'
export const duration = (fallback: string, description: string, extra = {}) => {
  const bounds = { minimum: 0, maximum: 10 * 365 * 86_400, ...extra }
  return Type.Integer(about('duration', DURATION, parseDuration(fallback), description, bounds))
}

export const optionalDuration = (description: string, { minimum = 0, ...extra }) =>
  Type.Union(
    [Type.Integer({ minimum, maximum: 10 * 365 * 86_400 }), Type.Null()],
    about('duration', DURATION, null, description, extra)
  )

export const integer = (fallback: number, minimum: number, maximum: number, description: string, extra = {}) => {
  const expects = `a whole number from ${minimum} to ${maximum}`
  return Type.Integer(about('number', expects, fallback, description, { minimum, maximum, ...extra }))
}

export const text = (fallback: string, description: string, extra = {}) =>
  Type.String(about('text', 'some text', fallback, description, { minLength: 1, ...extra }))

/** Where a page of the host's is, below its address. */
export const path = (fallback: string, description: string) =>
  text(fallback, description, {
    pattern: '^[^\\s]*\\{uid\\}[^\\s]*\\{token\\}[^\\s]*$',
    expects: 'a path with {uid} and {token} in it'
  })

export const optional = (
  description: string,
  { pattern = '.', ...extra }: { pattern?: string; [more: string]: unknown } = {}
) => Type.Union([Type.String({ pattern }), Type.Null()], about('text', 'some text', null, description, extra))

export const oneOf = <const Name extends string>(
  names: readonly Name[],
  fallback: Name,
  description: string,
  extra = {}
) => Type.Enum([...names] as Name[], about('text', `one of ${names.join(', ')}`, fallback, description, extra))

export const list = (fallback: string[], description: string, extra = {}) =>
  Type.Array(Type.String({ minLength: 1 }), about('list', 'a list with commas', fallback, description, extra))

export const listOf = <const Name extends string>(
  names: readonly Name[],
  fallback: Name[],
  description: string,
  extra = {}
) => {
  const expects = `a list with commas of ${names.join(', ')}`
  const bounds = { minItems: 1, uniqueItems: true, ...extra }
  return Type.Array(Type.Enum([...names] as Name[]), about('list', expects, fallback, description, bounds))
}

/** The characters of a claim's or a header's name: enough for any, too few for mischief. */
export const NAME = { pattern: '^[A-Za-z0-9_.:/-]{1,64}$', expects: 'a name of letters, digits and _ . : / -' }

export const claim = (fallback: string, description: string) =>
  Type.Union([Type.String({ pattern: NAME.pattern }), Type.Null()], {
    default: fallback,
    description,
    reads: 'claim',
    expects: `${NAME.expects}, or none`,
    ...jwt
  })

/** Reads `90`, `90s`, `500ms`, `5m`, `12h`, `1d` or `2w` as seconds; anything else comes back as NaN. */
export function parseDuration(value: string): number {
  const [, amount, unit = 's'] = /^(\d{1,9})(ms|[smhdw])?$/.exec(value.trim()) ?? []
  return amount === undefined ? Number.NaN : Number(amount) * (UNITS[unit] as number)
}

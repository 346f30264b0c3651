/**
 * Compares expected with actual values and returns the differences.
 *
 * JSON must have the same keys and types. An expected value can be a matcher: `{"$re": pattern}`, `{"$any": true}`,
 * `{"$not": value}`, `{"$now": seconds}` or `{"$jwt": {…}}`.
 */
import { claimsOf, headerOf, signatureOf } from '../support/tokens.ts'
import type { Json, JsonObject } from './case.ts'

export interface Moment {
  /** The time of the request, in seconds. */
  now: number
  signingKey: string
}

interface ExpectedToken {
  /** The names of all claims in order. */
  keys?: string[]
  /** `exp` minus `iat`, in seconds. */
  lifetime?: number
  header?: Json
  /** Expected claims; others are ignored. */
  claims?: JsonObject
}

/** In seconds, for slow machines. */
const NOW_TOLERANCE = 3
/** In seconds: `exp` is relative to the issue of the refresh token, `iat` to that of the access token. */
const LIFETIME_TOLERANCE = 1

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Returns the differences. @param where the place in the messages, such as `json.detail` */
export function differences(expected: Json, actual: Json | undefined, where: string, moment: Moment): string[] {
  const matcher = matcherOf(expected)
  if (matcher) return matcher(actual, where, moment)
  if (Array.isArray(expected)) return inArray(expected, actual, where, moment)
  if (isObject(expected)) return inObject(expected, actual, where, moment)
  return expected === actual ? [] : [differs(where, expected, actual)]
}

type Matcher = (actual: Json | undefined, where: string, moment: Moment) => string[]

function matcherOf(expected: Json): Matcher | undefined {
  if (!isObject(expected)) return undefined
  const [name = '', ...others] = Object.keys(expected)
  if (!name.startsWith('$')) return undefined
  const make = MATCHERS[name]
  if (!make || others.length > 0) throw new Error(`${JSON.stringify(expected)} is no matcher`)
  return make(expected[name] as Json)
}

const MATCHERS: Record<string, (argument: Json) => Matcher> = {
  $re: (pattern) => (actual, where) =>
    typeof actual === 'string' && new RegExp(pattern as string, 'u').test(actual)
      ? []
      : [`${where}: expected text like ${pattern}, but it is ${show(actual)}`],
  $any: () => (actual, where) => (actual === undefined ? [`${where}: expected anything, but there is nothing`] : []),
  $not: (unwanted) => (actual, where, moment) =>
    actual !== undefined && differences(unwanted, actual, where, moment).length > 0
      ? []
      : [`${where}: expected anything but ${show(unwanted)}, and it is ${show(actual)}`],
  $now: (offset) => (actual, where, moment) =>
    Number.isInteger(actual) && Math.abs(Number(actual) - moment.now - Number(offset)) <= NOW_TOLERANCE
      ? []
      : [differs(where, `${moment.now + Number(offset)} ± ${NOW_TOLERANCE}`, actual)],
  $jwt: (token) => (actual, where, moment) => inToken(token as ExpectedToken, actual, where, moment)
}

function inToken(expected: ExpectedToken, actual: Json | undefined, where: string, moment: Moment): string[] {
  if (typeof actual !== 'string' || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(actual)) return [differs(where, 'a token', actual)]
  const claims = claimsOf(actual) as JsonObject
  const header = headerOf(actual) as JsonObject
  const found = signatureFaults(actual, header, where, moment)
  if (expected.header !== undefined) found.push(...inOrder(expected.header, header, `${where}.header`, moment))
  if (expected.keys && expected.keys.join() !== Object.keys(claims).join()) {
    found.push(differs(`${where}: claims`, expected.keys, Object.keys(claims)))
  }
  if (expected.lifetime !== undefined) {
    const lifetime = Number(claims.exp) - Number(claims.iat)
    if (!(Math.abs(lifetime - expected.lifetime) <= LIFETIME_TOLERANCE)) {
      found.push(differs(`${where}: lifetime`, expected.lifetime, lifetime))
    }
  }
  for (const [name, claim] of Object.entries(expected.claims ?? {})) {
    found.push(...differences(claim, claims[name], `${where}.${name}`, moment))
  }
  return found
}

/** Verifies the signature, which the recordings do not check. */
function signatureFaults(token: string, { alg }: JsonObject, where: string, { signingKey }: Moment): string[] {
  const end = token.lastIndexOf('.')
  const good = signatureOf(token.slice(0, end), String(alg), signingKey)
  return good === token.slice(end + 1) ? [] : [`${where}: the signature does not hold`]
}

/** Compares a header including the order of its keys, which SimpleJWT sorts. */
function inOrder(expected: Json, actual: JsonObject, where: string, moment: Moment): string[] {
  const found = differences(expected, actual, where, moment)
  if (found.length > 0 || JSON.stringify(expected) === JSON.stringify(actual)) return found
  return [differs(`${where}: order`, expected, actual)]
}

function inArray(expected: Json[], actual: Json | undefined, where: string, moment: Moment): string[] {
  if (!Array.isArray(actual) || actual.length !== expected.length) return [differs(where, expected, actual)]
  return expected.flatMap((item, index) => differences(item, actual[index], `${where}[${index}]`, moment))
}

function inObject(expected: JsonObject, actual: Json | undefined, where: string, moment: Moment): string[] {
  if (!isObject(actual)) return [differs(where, expected, actual)]
  const surplus = Object.keys(actual).filter((key) => !Object.hasOwn(expected, key))
  return [
    ...Object.entries(expected).flatMap(([key, item]) => differences(item, actual[key], `${where}.${key}`, moment)),
    ...surplus.map((key) => `${where}.${key}: expected nothing, but there is ${show(actual[key])}`)
  ]
}

const differs = (where: string, expected: Json, actual: Json | undefined) =>
  `${where}: expected ${show(expected)}, but it is ${show(actual)}`

const show = (value: Json | undefined) => (value === undefined ? 'absent' : JSON.stringify(value))

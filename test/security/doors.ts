/** The endpoints that take tokens, and validly signed tokens of arbitrary content. */
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { SIGNING_KEY } from '../support/build.ts'
import { bearer } from '../support/journeys.ts'
import { type Claims, mint, secondsNow, signatureOf } from '../support/tokens.ts'

export type Door = 'header' | keyof typeof FIELDS
/** Endpoints that take a token in the body, and the name of the field. */
export const FIELDS = {
  refresh: { url: '/api/token/refresh/', field: 'refresh' },
  verify: { url: '/api/token/verify/', field: 'token' },
  blacklist: { url: '/api/token/blacklist/', field: 'refresh' },
  sliding: { url: '/api/token/sliding/refresh/', field: 'token' }
} as const
export const DOORS: readonly Door[] = ['header', 'refresh', 'verify', 'blacklist', 'sliding']

const KINDS = {
  header: 'access',
  refresh: 'refresh',
  verify: 'access',
  blacklist: 'refresh',
  sliding: 'sliding'
} as const
/** The type of token that an endpoint accepts. */
export const kindFor = (door: Door) => KINDS[door]

/** Sends a token, or any other value, to an endpoint. */
export function show(app: FastifyInstance, door: Door, token: unknown): Promise<LightMyRequestResponse> {
  if (door === 'header') return app.inject({ url: '/api/protected/', headers: bearer(String(token)) })
  const { url, field } = FIELDS[door]
  return app.inject({ method: 'POST', url, payload: { [field]: token } })
}

/** Returns a token that this endpoint accepts, apart from the given claims. */
export const tokenFor = (door: Door, claims: Claims = {}, omit: string[] = []) =>
  mint({ claims: { token_type: kindFor(door), refresh_exp: secondsNow() + 600, ...claims }, omit })

/** As {@link tokenFor}, with a claim as JSON text, which can express more than JavaScript values. */
export function tokenWith(door: Door, name: string, json: string): string {
  const [header = '', payload = ''] = tokenFor(door, {}, [name]).split('.')
  const claims = Buffer.from(payload, 'base64url').toString().slice(0, -1)
  return signedText(header, encoded(`${claims},${JSON.stringify(name)}:${json}}`))
}

/** Signs two texts, whether or not they are base64url. */
export function signedText(header: string, payload: string, key = SIGNING_KEY): string {
  const content = `${header}.${payload}`
  return `${content}.${signatureOf(content, 'HS256', key)}`
}

export const encoded = (part: string | Buffer) => Buffer.from(part).toString('base64url')

/** Returns the three parts of a token. */
export function partsOf(token: string): [header: string, payload: string, signature: string] {
  const [header = '', payload = '', signature = ''] = token.split('.')
  return [header, payload, signature]
}

/** Asserts an error response: DRF's form, its headers, and no implementation details. */
export function isRefusal(t: Test, answer: LightMyRequestResponse, status: number, about: string): void {
  const { statusCode, headers, body } = answer
  const shown = {
    status: statusCode,
    type: headers['content-type'],
    cache: headers['cache-control'],
    challenge: headers['www-authenticate'],
    isObject: isObject(body),
    insides: OUR_INSIDES.exec(body)?.[0]
  }
  const challenge = status === 401 ? 'Bearer realm="api"' : undefined
  const asked = { status, type: 'application/json', cache: 'no-store', challenge, isObject: true, insides: undefined }
  t.strictSame(shown, asked, `${about}: ${body.slice(0, 200)}`)
}

const OUR_INSIDES = /node_modules|prisma|sqlite|postgres|fst_|fast.?jwt|typeerror|\.[jt]s:|\bat .+:\d+:\d+/i

function isObject(json: string): boolean {
  try {
    const value: unknown = JSON.parse(json)
    return typeof value === 'object' && value !== null
  } catch {
    return false
  }
}

/** Creates corrupted copies of a case, each with one wrong expectation, to check that the runner detects them. */
import type { Case, Json, JsonObject } from './case.ts'
import { isObject } from './matchers.ts'

export interface Corruption {
  /** The corrupted place, such as `json.detail`. */
  label: string
  spoilt: Case
}

export function corruptions(good: Case): Corruption[] {
  const { expect } = good
  const found: Corruption[] = []
  const expecting = (label: string, part: Partial<Case['expect']>) =>
    found.push({ label, spoilt: { ...good, expect: { ...expect, ...part } } })

  expecting('status', { status: expect.status + 1 })
  for (const [label, json] of spoils(expect.json, 'json')) expecting(label, { json })
  for (const [name, value] of Object.entries(expect.headers ?? {})) {
    for (const [label, spoilt] of spoils(value, `header ${name}`)) {
      expecting(label, { headers: { ...expect.headers, [name]: spoilt } })
    }
    if (value !== null) expecting(`no header ${name}`, { headers: { ...expect.headers, [name]: null } })
  }
  if (expect.key_order) expecting('key_order', { key_order: [...expect.key_order].reverse() })
  if (expect.empty_body) expecting('empty_body', { json: {} })
  for (const [sql, rows] of Object.entries(good.db_expect ?? {})) {
    for (const [label, spoilt] of spoils(rows, sql)) {
      found.push({ label, spoilt: { ...good, db_expect: { ...good.db_expect, [sql]: spoilt as Json[][] } } })
    }
  }
  if (good.mails !== undefined) found.push({ label: 'mails', spoilt: { ...good, mails: good.mails + 1 } })
  return found
}

type Spoilt = [label: string, value: Json]

/** Returns copies of a value with one wrong place each. */
function spoils(value: Json | undefined, where: string): Spoilt[] {
  if (value === undefined) return []
  if (Array.isArray(value)) return spoiltArray(value, where)
  if (!isObject(value)) return [[where, other(value)]]
  if ('$jwt' in value) return spoiltToken(value.$jwt as JsonObject, where)
  if ('$now' in value) return [[where, { $now: Number(value.$now) + 100 }]]
  if ('$re' in value) return [[where, { $re: '^no such text$' }]]
  // Any other value matches.
  if ('$not' in value || '$any' in value) return [[where, 'no such text']]
  return spoiltObject(value, where)
}

function spoiltArray(value: Json[], where: string): Spoilt[] {
  return [
    [`${where} with one more`, [...value, 'one more']],
    ...(value.length > 0 ? ([[`${where} with one less`, value.slice(1)]] as Spoilt[]) : []),
    ...value.flatMap((item, index) =>
      spoils(item, `${where}[${index}]`).map(([label, spoilt]): Spoilt => [label, value.with(index, spoilt)])
    )
  ]
}

function spoiltObject(value: JsonObject, where: string): Spoilt[] {
  return [
    [`${where} with one more`, { ...value, more: true }],
    ...Object.entries(value).flatMap(([key, item]): Spoilt[] => {
      const { [key]: _, ...others } = value
      const within = spoils(item, `${where}.${key}`)
      return [
        [`${where} without ${key}`, others],
        ...within.map(([label, to]): Spoilt => [label, { ...value, [key]: to }])
      ]
    })
  ]
}

function spoiltToken(token: JsonObject, where: string): Spoilt[] {
  const parts: Spoilt[] = []
  const { keys, lifetime, header, claims } = token
  const expecting = (label: string, part: JsonObject) =>
    parts.push([`${where}: ${label}`, { $jwt: { ...token, ...part } }])
  if (Array.isArray(keys)) {
    expecting('order of the claims', { keys: [...keys].reverse() })
    expecting('one claim less', { keys: keys.slice(1) })
  }
  if (lifetime !== undefined) expecting('lifetime', { lifetime: Number(lifetime) + 2 })
  for (const [label, spoilt] of spoils(header, 'header')) expecting(label, { header: spoilt })
  for (const [name, claim] of Object.entries((claims ?? {}) as JsonObject)) {
    for (const [label, spoilt] of spoils(claim, name)) {
      expecting(label, { claims: { ...(claims as JsonObject), [name]: spoilt } })
    }
  }
  return parts
}

/** Another value of the same type; for null, which has none, a string. */
function other(value: null | boolean | number | string): Json {
  if (value === null) return 'null'
  if (typeof value === 'boolean') return !value
  return typeof value === 'number' ? value + 1 : `${value}.`
}

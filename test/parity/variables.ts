/** Placeholders `${x}` and `{"$now": n}` of values that are only known during a run. */

import type { Json } from './case.ts'
import { isObject } from './matchers.ts'

export type Variables = Record<string, Json>

/** Replaces variables. A string that consists of `${x}` becomes the value with its type. */
export function fillIn<Value>(value: Value, variables: Variables): Value {
  return filled(value as Json, variables) as Value
}

function filled(value: Json, variables: Variables): Json {
  if (typeof value === 'string') return filledText(value, variables)
  if (Array.isArray(value)) return value.map((item) => filled(item, variables))
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item, variables)]))
}

function filledText(text: string, variables: Variables): Json {
  const whole = /^\$\{(\w+)\}$/.exec(text)
  if (whole) return saved(whole[1] as string, variables)
  return text.replace(/\$\{(\w+)\}/g, (_, name: string) => String(saved(name, variables)))
}

function saved(name: string, variables: Variables): Json {
  const value = variables[name]
  if (value === undefined) throw new Error(`the case has saved no ${name}`)
  return value
}

/** Replaces `{"$now": n}` in a request by the time n seconds from now. In expectations it is a matcher. */
export function tellTime(value: Json, now: number): Json {
  if (Array.isArray(value)) return value.map((item) => tellTime(item, now))
  if (!isObject(value)) return value
  if (typeof value.$now === 'number') return now + value.$now
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, tellTime(item, now)]))
}

/** Returns the value at a JSON pointer such as `/results/0/id`. @throws {Error} if there is none */
export function at(document: Json, pointer: string): Json {
  let value: Json | undefined = document
  for (const key of pointer.split('/').slice(1)) {
    value = Array.isArray(value) ? value[Number(key)] : isObject(value) ? value[key] : undefined
  }
  if (value === undefined) throw new Error(`there is nothing at ${pointer} of ${JSON.stringify(document)}`)
  return value
}

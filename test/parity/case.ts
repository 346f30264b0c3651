/** The recorded cases: requests to Django, DRF, SimpleJWT and djoser, and their responses. */
import { readFileSync } from 'node:fs'

export type Json = null | boolean | number | string | Json[] | JsonObject
export interface JsonObject {
  [key: string]: Json
}

export interface HttpRequest {
  method: string
  path: string
  headers?: Record<string, string>
  json?: Json
  form?: Record<string, string>
  body?: string
  content_type?: string
}

/** Values may be matchers, see matchers.ts. */
export interface Expectation {
  status: number
  json?: Json
  /** null if the header is absent. */
  headers?: Record<string, Json>
  key_order?: string[]
  empty_body?: boolean
}

/** JSON pointers into the response, by variable. */
type Saving = Record<string, string>

export interface Minted {
  claims?: JsonObject
  omit?: string[]
  alg?: string
  key?: string
  header?: JsonObject
}

export type Change =
  | { op: 'set_active'; username: string; value: boolean }
  | { op: 'set_password'; username: string; password: string }
  | { op: 'delete_user'; username: string }
  | { op: 'create_user'; username: string; password: string }
  | { op: 'create_group'; name: string }
  | { op: 'grant'; username: string; perm: string }
  | { op: 'grant_group'; group: string; perm: string }
  | { op: 'join'; username: string; group: string }
  | { op: 'auth_token'; username: string; key: string }
  | { op: 'outstand'; token: string }
  | { op: 'flushexpiredtokens' }

export interface HttpStep {
  http: HttpRequest
  /** By default only the status is checked, which must be 200. */
  expect?: Expectation
  save?: Saving
}

export type Step =
  | HttpStep
  | { mint: Minted; as: string }
  | { decode: string; save: Saving }
  | { db: Change }
  | { reset_token: string }

export interface Config {
  blacklist_app?: boolean
  simple_jwt?: JsonObject
  djoser?: JsonObject
  backends?: string[]
}

/** The rows that an SQL query returns; booleans as 0 and 1. */
export type Rows = Json[][]

export interface Case {
  name: string
  config?: Config
  setup?: Step[]
  request: HttpRequest
  expect: Expectation
  db_expect?: Record<string, Rows>
  /** The number of emails sent. */
  mails?: number
}

export function readCases(): Case[] {
  const lines = readFileSync(new URL('./cases.jsonl', import.meta.url), 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line))
}

/** The group of a case, such as `obtain` of `obtain.ok`. */
export const groupOf = ({ name }: Pick<Case, 'name'>) => name.split('.')[0] as string

/** Runs a case against a target and compares the outcome with the recording. */
import { claimsOf, mint, secondsNow } from '../support/tokens.ts'
import type { Case, Change, Expectation, HttpRequest, HttpStep, Json, Minted, Rows, Step } from './case.ts'
import { differences, isObject, type Moment } from './matchers.ts'
import { at, fillIn, tellTime, type Variables } from './variables.ts'

export interface Answer {
  status: number
  /** By lower-case name. */
  headers: Record<string, Json | undefined>
  body: string
}

/** An app with its database, or a fake of both. */
export interface Target {
  signingKey: string
  send(request: HttpRequest): Promise<Answer>
  change(change: Change): Promise<void>
  query(sql: string): Promise<Rows>
  /** The number of emails sent so far; undefined if they are not counted. */
  mails(): number | undefined | Promise<number>
  /** The parts of a password reset link. */
  resetToken(username: string): Promise<{ uid: string; tok: string }>
}

/** The result of a run, for `judge`. */
export interface Outcome {
  answer: Answer
  rows: Record<string, Rows>
  mails: number | undefined
  variables: Variables
  moment: Moment
  /** The differences in the steps before the request of the case. */
  setupFaults: string[]
}

const PASSWORD = 's3cret-Pass!'
const WRONG_KEY = 'wrong-secret-key-9876543210-zyxwvutsrqponmlkjihgfedcba'

/** Runs a case. @returns the differences from the recording; empty if the case passes */
export async function runCase(recorded: Case, target: Target): Promise<string[]> {
  return judge(recorded, await act(recorded, target))
}

export async function act(recorded: Case, target: Target): Promise<Outcome> {
  const variables: Variables = { pw: PASSWORD }
  const setupFaults: string[] = []
  for (const [index, step] of (recorded.setup ?? []).entries()) {
    const faults = await take(step, target, variables)
    setupFaults.push(...faults.map((fault) => `step ${index + 1}: ${fault}`))
  }
  const moment = { now: secondsNow(), signingKey: target.signingKey }
  const answer = await target.send(fillIn(recorded.request, variables))
  const rows: Record<string, Rows> = {}
  for (const sql of Object.keys(recorded.db_expect ?? {})) rows[sql] = await target.query(sql)
  return {
    answer,
    rows,
    mails: recorded.mails === undefined ? undefined : await target.mails(),
    variables,
    moment,
    setupFaults
  }
}

/** Returns the differences. A pure function, so that one run can be compared with many expectations. */
export function judge(recorded: Case, outcome: Outcome): string[] {
  const { answer, variables, moment } = outcome
  return [
    ...outcome.setupFaults,
    ...inAnswer(fillIn(recorded.expect, variables), answer, moment),
    ...Object.entries(recorded.db_expect ?? {}).flatMap(([sql, rows]) =>
      differences(rows, outcome.rows[sql], sql, moment)
    ),
    ...inMails(recorded.mails, outcome.mails)
  ]
}

function inMails(expected: number | undefined, actual: number | undefined): string[] {
  if (expected === undefined || expected === actual) return []
  return [`mails: expected ${expected}, but ${actual === undefined ? 'nobody counts them' : `it is ${actual}`}`]
}

function inAnswer(expected: Expectation, answer: Answer, moment: Moment): string[] {
  const found: string[] = []
  if (answer.status !== expected.status) {
    found.push(`status: expected ${expected.status}, but it is ${answer.status} with ${answer.body.slice(0, 300)}`)
  }
  const json = parsed(answer.body)
  if (expected.json !== undefined) found.push(...differences(expected.json, json, 'json', moment))
  for (const [name, value] of Object.entries(expected.headers ?? {})) {
    const actual = answer.headers[name]
    if (value !== null) found.push(...differences(value, actual, `header ${name}`, moment))
    else if (actual !== undefined) found.push(`header ${name}: expected none, but it is ${actual}`)
  }
  if (expected.key_order) {
    const keys = isObject(json) ? Object.keys(json) : []
    if (keys.join() !== expected.key_order.join()) found.push(`key order: expected ${expected.key_order}, but ${keys}`)
  }
  if (expected.empty_body && answer.body !== '') found.push(`body: expected none, but it is ${answer.body}`)
  return found
}

function parsed(body: string): Json | undefined {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

/** Executes one step of a case's setup and saves its variables. */
async function take(step: Step, target: Target, variables: Variables): Promise<string[]> {
  if ('http' in step) return call(step, target, variables)
  if ('mint' in step) {
    variables[step.as] = minted(fillIn(step.mint, variables), target.signingKey)
  } else if ('decode' in step) {
    save(claimsOf(fillIn(step.decode, variables)) as Json, step.save, variables)
  } else if ('db' in step) {
    await target.change(fillIn(step.db, variables))
  } else {
    Object.assign(variables, await target.resetToken(step.reset_token))
  }
  return []
}

async function call(step: HttpStep, target: Target, variables: Variables): Promise<string[]> {
  const moment = { now: secondsNow(), signingKey: target.signingKey }
  const answer = await target.send(fillIn(step.http, variables))
  const faults = inAnswer(fillIn(step.expect ?? { status: 200 }, variables), answer, moment)
  // The case cannot continue without the variables of this step.
  if (faults.length > 0 && step.save) throw new Error(faults.join('\n'))
  if (step.save) save(parsed(answer.body) ?? null, step.save, variables)
  return faults
}

function save(document: Json, pointers: Record<string, string>, variables: Variables): void {
  for (const [name, pointer] of Object.entries(pointers)) variables[name] = at(document, pointer)
}

function minted({ claims, key = 'default', ...rest }: Minted, signingKey: string): string {
  return mint({
    ...rest,
    claims: tellTime(claims ?? {}, secondsNow()) as Record<string, unknown>,
    key: key === 'default' ? signingKey : WRONG_KEY
  })
}

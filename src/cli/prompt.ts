/** Questions at a terminal; where there is none, the answers are lines of standard input. */
import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import { ImproperlyConfigured } from '../errors.ts'

export async function askForText(question: string): Promise<string> {
  return (await ask(question, false)).trim()
}

/** What is wrong with a password, in lines. */
export type Validate = (password: string) => Promise<string[]>

/**
 * Asks twice, and shows nothing of what is typed.
 *
 * @param mayInsist a password that is weak can be had all the same, as Django's createsuperuser allows
 * @throws {ImproperlyConfigured} after three tries that were blank, weak or did not match
 */
export async function askForPassword(validate: Validate, mayInsist = false): Promise<string> {
  for (let tries = 0; tries < 3; tries++) {
    const password = await ask('Password: ', true)
    const faults = await faultsOf(password, await ask('Password (again): ', true), validate)
    if (faults === null) return password
    process.stderr.write(`${faults.join('\n')}\n`)
    if (mayInsist && !faults[0]?.startsWith('Error: ') && (await insists())) return password
  }
  throw new ImproperlyConfigured(['gave up after 3 tries'])
}

async function faultsOf(password: string, again: string, validate: Validate): Promise<string[] | null> {
  if (again !== password) return ["Error: Your passwords didn't match."]
  if (password.trim() === '') return ["Error: Blank passwords aren't allowed."]
  const faults = await validate(password)
  return faults.length > 0 ? faults : null
}

const insists = async (): Promise<boolean> =>
  (await askForText('Bypass password validation and create user anyway? [y/N]: ')).toLowerCase() === 'y'

let lines: AsyncIterator<string> | undefined
let reader: Interface | undefined
let isHidden = false

const screen = new Writable({
  write(chunk, _encoding, done) {
    if (!isHidden) process.stderr.write(chunk)
    done()
  }
})

const NOBODY = 'there is nobody to ask; see `latchkey help` for how to go without'

async function ask(question: string, hidden: boolean): Promise<string> {
  reader ??= createInterface({ input: process.stdin, output: screen, terminal: process.stdin.isTTY === true })
  lines ??= reader[Symbol.asyncIterator]()
  process.stderr.write(question)
  isHidden = hidden
  const { value, done } = await lines.next()
  isHidden = false
  if (hidden && process.stdin.isTTY) process.stderr.write('\n')
  if (done) throw new ImproperlyConfigured([process.stdin.isTTY ? 'cancelled' : NOBODY])
  return value
}

/** Lets go of standard input, which would keep the process from ending. */
export const endQuestions = (): void => reader?.close()

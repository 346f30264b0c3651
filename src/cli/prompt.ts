/** Prompts at a terminal. Without one, the answers are the lines of standard input. */
import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import { CommandError } from './command-error.ts'

const MAX_ATTEMPTS = 3

export async function askForText(question: string): Promise<string> {
  return (await ask(question, false)).trim()
}

/** Returns the faults of a password, one message each. */
export type Validate = (password: string) => Promise<string[]>

/**
 * Asks for a new password twice, without echo.
 *
 * @param canBypass offers to use a weak password, as Django's createsuperuser does
 * @throws {CommandError} after three attempts that were blank, weak or did not match
 */
export async function askForPassword(validate: Validate, canBypass = false): Promise<string> {
  for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts++) {
    const password = await ask('Password: ', true)
    const faults = await faultsOf(password, await ask('Password (again): ', true), validate)
    if (faults === null) return password
    process.stderr.write(`${faults.join('\n')}\n`)
    if (canBypass && !faults[0]?.startsWith('Error: ') && (await confirmBypass())) return password
  }
  throw new CommandError(`aborted after ${MAX_ATTEMPTS} attempts`)
}

async function faultsOf(password: string, again: string, validate: Validate): Promise<string[] | null> {
  if (again !== password) return ["Error: Your passwords didn't match."]
  if (password.trim() === '') return ["Error: Blank passwords aren't allowed."]
  const faults = await validate(password)
  return faults.length > 0 ? faults : null
}

const confirmBypass = async (): Promise<boolean> =>
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

const END_OF_INPUT = 'unexpected end of input; see `latchkey help` for options without prompts'

async function ask(question: string, hidden: boolean): Promise<string> {
  reader ??= createInterface({ input: process.stdin, output: screen, terminal: process.stdin.isTTY === true })
  lines ??= reader[Symbol.asyncIterator]()
  process.stderr.write(question)
  isHidden = hidden
  const { value, done } = await lines.next()
  isHidden = false
  if (hidden && process.stdin.isTTY) process.stderr.write('\n')
  if (done) throw new CommandError(process.stdin.isTTY ? 'cancelled' : END_OF_INPUT)
  return value
}

/** Closes standard input, which would otherwise keep the process running. */
export const closePrompt = (): void => reader?.close()

/** Questions at a terminal; where there is none, the answers are lines of standard input. */
import { createInterface, type Interface } from 'node:readline'
import { Writable } from 'node:stream'
import { ImproperlyConfigured } from './errors.ts'

export async function askForText(question: string): Promise<string> {
  return (await ask(question, false)).trim()
}

/**
 * Asks twice, and shows nothing of what is typed.
 *
 * @throws {ImproperlyConfigured} after three tries that were blank or did not match
 */
export async function askForPassword(): Promise<string> {
  for (let tries = 0; tries < 3; tries++) {
    const password = await ask('Password: ', true)
    if ((await ask('Password (again): ', true)) !== password)
      process.stderr.write("Error: Your passwords didn't match.\n")
    else if (password.trim() === '') process.stderr.write("Error: Blank passwords aren't allowed.\n")
    else return password
  }
  throw new ImproperlyConfigured(['gave up after 3 tries'])
}

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

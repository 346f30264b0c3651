/** The command line as a user has it: a process of its own, in a folder of its own, with a clean environment. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Scope } from '../support/build.ts'

/** As built, which is what a user runs; `npm test` builds it first. From the sources each start takes three times as long. */
const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
/** Without what tap adds to every node that is started, which takes longer than most commands. */
export const COMMAND = ['env', '-u', 'NODE_OPTIONS', process.execPath, CLI] as const
const PATIENCE = 60_000
/** How long a file of such tests may take where other work keeps the machine busy; both in milliseconds. */
export const SLOWLY = 300_000

export type Environment = Record<string, string | undefined>

export interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** Seconds from its last word to its end, which nobody should have to wait for. */
  lingered: number
}

/** An empty working directory, gone after the test. */
export function emptyFolder(scope: Scope): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-cli-'))
  scope.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** What a process needs to run at all, and nothing that a setting could come from. */
const environmentOf = (environment: Environment): Environment => {
  const { PATH, HOME, TMPDIR } = process.env
  return { PATH, HOME, TMPDIR, ...environment }
}

/** @param input all of standard input; without it there is none */
export async function latchkey(
  folder: string,
  args: string[],
  { environment = {}, input = '' }: { environment?: Environment; input?: string } = {}
): Promise<Outcome> {
  const child = start(folder, args, environment)
  child.stdin?.on('error', () => undefined).end(input)
  return endOf(child)
}

export interface Server {
  /** Such as `http://127.0.0.1:40321`. */
  origin: string
  /** All that it has said so far. */
  stdout: () => string
  kill: (signal: NodeJS.Signals) => void
  ended: Promise<Outcome>
}

/**
 * Starts `latchkey serve` and waits until it says where it is; ends it after the test.
 *
 * @throws when it ends before that, with what it said
 */
export async function serve(scope: Scope, folder: string, environment: Environment = {}): Promise<Server> {
  const child = start(folder, ['serve'], { PORT: '0', LOG_LEVEL: 'warn', ...environment })
  const stdout = gather(child.stdout)
  const ended = endOf(child)
  scope.teardown(async () => {
    child.kill('SIGTERM')
    await ended
  })
  const address = new Promise<string>((resolve) => {
    child.stdout?.on('data', () => {
      const [, origin] = /^Latchkey \S+ is listening on (\S+) with /m.exec(stdout()) ?? []
      if (origin) resolve(origin)
    })
  })
  const first = await Promise.race([address, ended])
  if (typeof first !== 'string') throw new Error(`no server, but ${first.code}: ${first.stdout}${first.stderr}`)
  return { origin: first, stdout, kill: (signal) => child.kill(signal), ended }
}

function start(folder: string, args: string[], environment: Environment): ChildProcess {
  const [env, ...before] = COMMAND
  return spawn(env, [...before, ...args], { cwd: folder, env: environmentOf(environment), stdio: 'pipe' })
}

/** A process that hangs is killed, so that its test fails and says why. */
function endOf(child: ChildProcess): Promise<Outcome> {
  const [stdout, stderr] = [gather(child.stdout), gather(child.stderr)]
  let spoke = performance.now()
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', () => {
      spoke = performance.now()
    })
  }
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), PATIENCE)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout: stdout(), stderr: stderr(), lingered: (performance.now() - spoke) / 1000 })
    })
  })
}

export function gather(stream: NodeJS.ReadableStream | null): () => string {
  let text = ''
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  return () => text
}

/** Runs the CLI as a user does: in a new process and an empty folder, with a clean environment. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Scope } from '../support/build.ts'

/** Set by tap; `npm run coverage` measures the CLI, too. */
const IS_MEASURED = process.env._TAPJS_PROCESSINFO_COVERAGE_ === '1'
/** The built CLI, which `npm test` builds first, or the sources, so that coverage counts their lines. */
const CLI = fileURLToPath(new URL(IS_MEASURED ? '../../src/cli/main.ts' : '../../dist/cli/main.js', import.meta.url))
/** Otherwise without the loader that tap adds to child processes, which takes longer than most commands. */
const WITHOUT_LOADER = IS_MEASURED ? [] : ['-u', 'NODE_OPTIONS']
export const COMMAND = ['env', ...WITHOUT_LOADER, process.execPath, CLI] as const
const PATIENCE = 60_000
/** A server runs while several commands do, each of which may take long. */
const PATIENCE_WITH_SERVERS = 240_000
/** The timeout of a test file on a busy machine, in milliseconds like `PATIENCE`. */
export const SLOWLY = 300_000

export type Environment = Record<string, string | undefined>

export interface Outcome {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
  /** Seconds from the last output to the exit of the process. */
  lingered: number
}

/** Creates an empty working directory, which is deleted after the test. */
export function emptyFolder(scope: Scope): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-cli-'))
  scope.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** The variables that a process needs to run, and none that could be a setting. */
const environmentOf = (environment: Environment): Environment => {
  const { PATH, HOME, TMPDIR } = process.env
  return { PATH, HOME, TMPDIR, ...environment }
}

/** Runs a command. @param input standard input, empty by default */
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
  /** The output so far. */
  stdout: () => string
  kill: (signal: NodeJS.Signals) => void
  ended: Promise<Outcome>
}

/**
 * Starts `latchkey serve`, waits until it prints its address, and stops it after the test.
 *
 * @throws {Error} with the output if it exits before that
 */
export async function serve(scope: Scope, folder: string, environment: Environment = {}): Promise<Server> {
  const child = start(folder, ['serve'], { PORT: '0', LOG_LEVEL: 'warn', ...environment })
  const stdout = gather(child.stdout)
  const ended = endOf(child, PATIENCE_WITH_SERVERS)
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

/** Waits for the exit. A process that hangs is killed after `patience`, so that the test fails with its output. */
function endOf(child: ChildProcess, patience = PATIENCE): Promise<Outcome> {
  const [stdout, stderr] = [gather(child.stdout), gather(child.stderr)]
  let spoke = performance.now()
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', () => {
      spoke = performance.now()
    })
  }
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), patience)
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

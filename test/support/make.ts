/** Creates the world of a test run: `make.ts <process id of the run>`. Only this process loads the migrations. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrate } from '../../src/database/migrate.ts'
import { sqliteUrl, TEMPLATE } from './databases.ts'
import { createDatabase, databasesLike, dropDatabase, findPostgres } from './postgres.ts'
import { isAlive } from './processes.ts'
import { FOLDER, folderOf, noticeOf, prefixOf, removeWorld, type World } from './world.ts'

await makeWorld(Number(process.argv[2]))
// A timer of Prisma's migration engine would delay the exit by ten seconds.
process.exit()

/**
 * Creates the template databases.
 *
 * @param owner id of the process that ends with the test run
 * @throws {Error} in CI without PostgreSQL, because its tests would be skipped
 */
async function makeWorld(owner: number): Promise<void> {
  for (const abandoned of abandonedRuns()) rmSync(folderOf(abandoned), { recursive: true, force: true })
  await removeWorld(owner)
  try {
    await make(owner)
  } catch (error) {
    await removeWorld(owner)
    throw error
  }
}

async function make(owner: number): Promise<void> {
  const folder = folderOf(owner)
  mkdirSync(join(folder, TEMPLATE), { recursive: true, mode: 0o700 })
  await migrate(sqliteUrl(join(folder, TEMPLATE)))
  const world: World = { folder, prefix: prefixOf(owner), postgres: await serverFor(folder, owner) }
  if ('url' in world.postgres) await makeTemplate(world.postgres.url, world.prefix)
  writeFileSync(noticeOf(owner), JSON.stringify(world))
}

async function serverFor(folder: string, owner: number): Promise<World['postgres']> {
  try {
    return { url: await findPostgres(folder, owner) }
  } catch (error) {
    const missing = `no PostgreSQL to test with: ${error instanceof Error ? error.message : error}`
    if (process.env.CI && process.env.CI !== 'false') throw new Error(missing, { cause: error })
    process.stderr.write(`\nTHE TESTS RUN ON SQLITE ONLY, ${missing}\n\n`)
    return { missing }
  }
}

async function makeTemplate(url: string, prefix: string): Promise<void> {
  await dropAbandoned(url)
  await migrate(await createDatabase(url, `${prefix}_${TEMPLATE}`))
}

/** The owners of test runs of this machine that were killed before the cleanup. */
function abandonedRuns(): number[] {
  const runs = readdirSync(tmpdir()).filter((name) => name.startsWith(FOLDER))
  return runs.map((name) => Number(name.slice(FOLDER.length))).filter((pid) => !isAlive(pid))
}

async function dropAbandoned(url: string): Promise<void> {
  const machine = prefixOf('')
  for (const name of await databasesLike(url, machine)) {
    if (!isAlive(Number.parseInt(name.slice(machine.length), 10))) await dropDatabase(url, name)
  }
}

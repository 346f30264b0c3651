/** Creates a database for each test and deletes it afterwards. */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import tap from 'tap'
import { createDatabase, dropDatabase, nameOf } from './postgres.ts'
import { theWorld, type World } from './world.ts'

export type Provider = 'sqlite' | 'postgresql'
/** `npm run test:fast` leaves out PostgreSQL where a test runs on both. */
export const PROVIDERS: readonly Provider[] =
  process.env.LATCHKEY_TEST_DATABASES === 'sqlite' ? ['sqlite'] : ['sqlite', 'postgresql']

export const TEMPLATE = 'template'
export const sqliteUrl = (folder: string) => `file:${join(folder, 'latchkey.db')}`

/** Runs work at its end in reverse order, such as a test. */
export interface Scope {
  teardown(work: () => unknown): void
}

/**
 * The source of a new database: the migrated template of the test run, none, or another database of the same provider
 * without connections.
 */
export type Origin = 'migrated' | 'empty' | { url: string }

let count = 0

/** Creates a database, which is deleted after the test. @returns its URL */
export async function newDatabase(scope: Scope, provider: Provider, origin: Origin): Promise<string> {
  const world = await theWorld()
  const name = `${process.pid}_${++count}`
  return provider === 'sqlite' ? newFile(scope, world, name, origin) : newCopy(scope, world, name, origin)
}

/** Creates a separate folder, because an embedded database has a signing key beside it. */
function newFile(scope: Scope, { folder }: World, name: string, origin: Origin): string {
  const home = join(folder, name)
  scope.teardown(() => rmSync(home, { recursive: true, force: true }))
  mkdirSync(home)
  const from = typeof origin === 'object' ? dirname(origin.url.slice('file:'.length)) : join(folder, TEMPLATE)
  // All files, because the write-ahead log is part of the database.
  for (const file of origin === 'empty' ? [] : readdirSync(from)) copyFileSync(join(from, file), join(home, file))
  return sqliteUrl(home)
}

async function newCopy(scope: Scope, { prefix, postgres }: World, name: string, origin: Origin): Promise<string> {
  if ('missing' in postgres) throw new Error(postgres.missing)
  const { url } = postgres
  const database = `${prefix}_${name}`
  scope.teardown(() => dropBehind(url, database))
  if (typeof origin === 'object') return createDatabase(url, database, nameOf(origin.url))
  return createDatabase(url, database, origin === 'migrated' ? `${prefix}_${TEMPLATE}` : 'template0')
}

const drops: Promise<void>[] = []

/** Drops a database in the background, because each drop waits for a checkpoint, which takes longer than most tests. */
function dropBehind(url: string, name: string): void {
  if (drops.length === 0) tap.teardown(() => Promise.all(drops))
  drops.push(dropDatabase(url, name))
}

/** A database of its own for each test, gone after it. */
import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import tap from 'tap'
import { createDatabase, dropDatabase, nameOf } from './postgres.ts'
import { theWorld, type World } from './world.ts'

export type Provider = 'sqlite' | 'postgresql'
export const PROVIDERS: readonly Provider[] = ['sqlite', 'postgresql']

export const TEMPLATE = 'template'
export const sqliteUrl = (folder: string) => `file:${join(folder, 'latchkey.db')}`

/** What ends, such as a test; last in, first out. */
export interface Scope {
  teardown(work: () => unknown): void
}

/**
 * What a new database is a copy of: the run's migrated template, nothing, or another database of the same provider,
 * given by its URL, to which nobody is connected.
 */
export type Origin = 'migrated' | 'empty' | { url: string }

let count = 0

/** @returns the URL of a new database, which is dropped after the test */
export async function newDatabase(scope: Scope, provider: Provider, origin: Origin): Promise<string> {
  const world = await theWorld()
  const name = `${process.pid}_${++count}`
  return provider === 'sqlite' ? newFile(scope, world, name, origin) : newCopy(scope, world, name, origin)
}

/** In a folder of its own, since an embedded database keeps a signing key beside it. */
function newFile(scope: Scope, { folder }: World, name: string, origin: Origin): string {
  const home = join(folder, name)
  scope.teardown(() => rmSync(home, { recursive: true, force: true }))
  mkdirSync(home)
  const from = typeof origin === 'object' ? dirname(origin.url.slice('file:'.length)) : join(folder, TEMPLATE)
  // All there is, for a write-ahead log is part of its database.
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

/** Not waited for but at the end: each drop waits for a checkpoint, which takes longer than many a test. */
function dropBehind(url: string, name: string): void {
  if (drops.length === 0) tap.teardown(() => Promise.all(drops))
  drops.push(dropDatabase(url, name))
}

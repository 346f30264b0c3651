/** Measures logins and refreshes with login sessions, compared with the blacklist, with many rows, and concurrently. */
import { rmSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { type Contestants, compare } from './measure.ts'
import { build, databases, dropDatabases, folder, pairOf } from './world.ts'

const FEW = 1000
const MANY = 1_000_000

export async function sessions(): Promise<void> {
  const stores: Contestants = {}
  const logins: Contestants = {}
  const sizes: Contestants = {}
  const crowds: Contestants = {}
  const apps: FastifyInstance[] = []
  const open = async (databaseUrl: string, options = {}) => {
    const app = await build({ databaseUrl, ...options })
    apps.push(app)
    return app
  }
  for (const [database, urls] of Object.entries(await databases(['few', 'many']))) {
    const [few = '', many = ''] = urls
    const small = await open(few)
    const large = await open(many)
    const blacklist = await open(few, { refreshStore: 'blacklist' })
    await fill(small, FEW)
    await fill(large, MANY)
    stores[`sessions on ${database}`] = await refreshing(small)
    stores[`blacklist on ${database}`] = await refreshing(blacklist)
    logins[`sessions on ${database}`] = () => pairOf(small)
    logins[`blacklist on ${database}`] = () => pairOf(blacklist)
    sizes[`${FEW} sessions on ${database}`] = await refreshing(small)
    sizes[`${MANY} sessions on ${database}`] = await refreshing(large)
    for (const count of [1, 50, 500]) crowds[`${count} concurrent on ${database}`] = await crowding(small, count)
  }
  await compare('Refresh with rotation', stores, { calls: 100 })
  await compare('Login (with MD5 as password hash)', logins, { calls: 50 })
  await compare('Refresh by number of sessions', sizes, { calls: 100 })
  await compare('Concurrent refreshes of one token, until the last response', crowds, {
    calls: 1,
    rounds: 9
  })
  for (const app of apps) await app.close()
  await dropDatabases()
  rmSync(folder, { recursive: true, force: true })
}

/** Returns a function that refreshes the successor of its last call. */
async function refreshing(app: FastifyInstance): Promise<() => Promise<void>> {
  let { refresh } = await pairOf(app)
  return async () => {
    refresh = (await app.auth.tokens.refresh(refresh)).refresh ?? ''
  }
}

async function crowding(app: FastifyInstance, count: number): Promise<() => Promise<void>> {
  let { refresh } = await pairOf(app)
  return async () => {
    const answers = await Promise.all(Array.from({ length: count }, () => app.auth.tokens.refresh(refresh)))
    refresh = answers[0]?.refresh ?? ''
  }
}

/** Adds `count` sessions of users that do not exist, ten thousand per statement. */
async function fill({ auth: { database } }: FastifyInstance, count: number): Promise<void> {
  const now = new Date()
  const end = new Date(now.getTime() + 86_400_000)
  for (let from = 0; from < count; from += 10_000) {
    const to = Math.min(count, from + 10_000)
    await database.$executeRaw`
      WITH RECURSIVE numbers (n) AS (SELECT ${from} + 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${to})
      INSERT INTO "latchkey_session" (id, user_id, jti, created_at, refreshed_at, idle_expires_at, expires_at, label, user_agent, address)
      SELECT 'filler-' || n, 1000 + n / 10, 'jti-' || n, ${now}, ${now}, ${end}, ${end}, '', 'Mozilla/5.0', '203.0.113.1' FROM numbers`
  }
}

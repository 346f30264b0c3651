/**
 * Measures refreshes per second over HTTP, compared with a real SimpleJWT on the same PostgreSQL database.
 *
 * `PEER_ORIGIN` is the origin of its server, which must rotate and blacklist; `DATABASE_URL` is the database that it
 * has migrated, and `JWT_SIGNING_KEY` its key.
 */
import { post, serve } from './processes.ts'
import { build } from './world.ts'

const WORKERS = 8
const ROUNDS = 5
/** Of a round, in milliseconds. */
const LENGTH = 2000

export async function peer(): Promise<void> {
  const { PEER_ORIGIN: theirs, DATABASE_URL: databaseUrl, JWT_SIGNING_KEY: signingKey } = process.env
  if (!theirs || !databaseUrl || !signingKey)
    return console.log('\nSkipped the comparison with SimpleJWT: set PEER_ORIGIN, DATABASE_URL and JWT_SIGNING_KEY.')
  const app = await build({ databaseUrl, signingKey })
  await app.close()
  const servers = [
    await serve(3901, { JWT_REFRESH_STORE: 'session' }),
    await serve(3902, { JWT_REFRESH_STORE: 'blacklist' })
  ]
  const contestants = {
    'Latchkey, sessions': 'http://127.0.0.1:3901',
    'Latchkey, blacklist': 'http://127.0.0.1:3902',
    'SimpleJWT on Django': theirs
  }
  const best = new Map(Object.keys(contestants).map((name) => [name, 0]))
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, origin] of Object.entries(contestants)) {
      best.set(name, Math.max(best.get(name) as number, await refreshesOf(origin)))
    }
  }
  for (const server of servers) server.kill()
  const last = best.get('SimpleJWT on Django') as number
  console.log(`\nRefreshes with rotation per second, by ${WORKERS} concurrent clients`)
  for (const [name, count] of best)
    console.log(`  ${count.toFixed(0).padStart(6)} /s  ${(count / last).toFixed(2).padStart(6)} ×  ${name}`)
}

async function refreshesOf(origin: string): Promise<number> {
  const end = performance.now() + LENGTH
  const counts = await Promise.all(
    Array.from({ length: WORKERS }, async () => {
      let { refresh } = await post(`${origin}/api/token/`, { username: 'alice', password: 'secret' })
      let count = 0
      for (; performance.now() < end; count++)
        refresh = (await post(`${origin}/api/token/refresh/`, { refresh })).refresh
      return count
    })
  )
  return counts.reduce((sum, count) => sum + count, 0) / (LENGTH / 1000)
}

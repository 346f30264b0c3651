/**
 * How many refreshes a second, over HTTP, beside the real SimpleJWT on the same PostgreSQL database?
 *
 * `PEER_ORIGIN` is where that listens, which has to rotate and to blacklist; `DATABASE_URL` the database that it has migrated,
 * and `JWT_SIGNING_KEY` its key.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { build } from './world.ts'

const WORKERS = 8
const ROUNDS = 5
/** In milliseconds. */
const LENGTH = 2000

export async function peer(): Promise<void> {
  const { PEER_ORIGIN: theirs, DATABASE_URL: databaseUrl, JWT_SIGNING_KEY: signingKey } = process.env
  if (!theirs || !databaseUrl || !signingKey)
    return console.log('\nNo peer: set PEER_ORIGIN, DATABASE_URL and JWT_SIGNING_KEY.')
  const app = await build({ databaseUrl, signingKey })
  await app.close()
  const servers = [await serve('session', 3901), await serve('blacklist', 3902)]
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
  console.log(`\nRefreshes a second that rotate, by ${WORKERS} clients at once`)
  for (const [name, count] of best)
    console.log(`  ${count.toFixed(0).padStart(6)} /s  ${(count / last).toFixed(2).padStart(6)} ×  ${name}`)
}

async function serve(store: string, port: number): Promise<ChildProcess> {
  const env = {
    ...process.env,
    JWT_REFRESH_STORE: store,
    PORT: String(port),
    LOGIN_RATE: 'off',
    LOG_LEVEL: 'silent',
    PASSWORD_HASHERS: 'md5'
  }
  const server = spawn(process.execPath, ['dist/cli.js', 'serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  await once(createInterface(server.stdout as NonNullable<typeof server.stdout>), 'line')
  return server
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

async function post(url: string, body: object): Promise<{ refresh: string }> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as { refresh: string }
}

/** Measures how long a busy server accepts access tokens of a session that was ended at another server. */
import { rmSync } from 'node:fs'
import { post, serve } from './processes.ts'
import { build, databases, dropDatabases, folder } from './world.ts'

const WORKERS = 8
const SAMPLES = 20
const [HERE, THERE] = ['http://127.0.0.1:3903', 'http://127.0.0.1:3904']
const ALICE = { username: 'alice', password: 'secret' }
const signingKey = 'a-secret-for-measuring-0123456789-abcdefghijklmnop'

export async function revocations(): Promise<void> {
  for (const [database, [databaseUrl = '']] of Object.entries(await databases(['revocations']))) {
    await (await build({ databaseUrl, signingKey })).close()
    const settings = { DATABASE_URL: databaseUrl, JWT_SIGNING_KEY: signingKey }
    const servers = [await serve(3903, settings), await serve(3904, settings)]
    let isOver = false
    let requests = 0
    const load = Array.from({ length: WORKERS }, async () => {
      const { access } = await post(`${THERE}/api/token/`, ALICE)
      for (; !isOver; requests++) await statusOf(access)
    })
    const start = performance.now()
    const samples = []
    for (let sample = 0; sample < SAMPLES; sample++) samples.push(await delayOf())
    isOver = true
    await Promise.all(load)
    const rate = (1000 * requests) / (performance.now() - start)
    for (const server of servers) server.kill()
    const [median, worst] = [samples.toSorted((a, b) => a - b)[SAMPLES / 2], Math.max(...samples)]
    console.log(`\nDelay of a revocation at another server on ${database}, at ${rate.toFixed(0)} requests per second`)
    console.log(
      `  ${median?.toFixed(0).padStart(6)} ms  median\n  ${worst.toFixed(0).padStart(6)} ms  maximum of ${SAMPLES}`
    )
  }
  await dropDatabases()
  rmSync(folder, { recursive: true, force: true })
}

/** Ends a session. @returns the time in milliseconds from the response until the access token is rejected */
async function delayOf(): Promise<number> {
  const { access, refresh } = await post(`${HERE}/api/token/`, ALICE)
  if ((await statusOf(access)) !== 200) throw new Error('the new access token is rejected')
  await post(`${HERE}/api/token/blacklist/`, { refresh })
  const start = performance.now()
  while ((await statusOf(access)) === 200);
  return performance.now() - start
}

async function statusOf(access: string): Promise<number> {
  const answer = await fetch(`${THERE}/api/protected/`, { headers: { authorization: `Bearer ${access}` } })
  await answer.arrayBuffer()
  return answer.status
}

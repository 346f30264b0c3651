/** Server processes: their responses stay valid after kill -9, and they shut down gracefully. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { emptyFolder, type Server, serve } from '../cli/command-line.ts'
import { onEachDatabase, SIGNING_KEY, type TestWorld, worldOf } from '../support/build.ts'
import { addUser, type Credentials, obtainPair, refreshWith } from '../support/journeys.ts'
import { wireTo } from '../support/listening.ts'
import { CHEAP } from '../support/settings.ts'

const SESSIONS = 6
/** Each kill needs the start of a server: `KILLS=50 npx tap run test/security/crash.test.ts` repeats it. */
const KILLS = Number(process.env.KILLS ?? 1)

interface Pair {
  /** An app in this process, on the database of the servers. */
  app: FastifyInstance
  alice: Credentials
  start: () => Promise<Server>
}

async function onOneDatabase(t: Test, { build }: TestWorld): Promise<Pair> {
  const app = await build(t)
  const folder = emptyFolder(t)
  const environment = {
    DATABASE_URL: app.auth.settings.databaseUrl,
    JWT_SIGNING_KEY: SIGNING_KEY,
    LOGIN_RATE: 'off',
    PASSWORD_HASHERS: String(CHEAP.passwordHashers)
  }
  return { app, alice: await addUser(app), start: () => serve(t, folder, environment) }
}

/** Returns status and body, or undefined if the server has been killed. */
async function post(origin: string, url: string, body: object) {
  try {
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(origin + url, { method: 'POST', body: JSON.stringify(body), headers })
    return { status: answer.status, body: (await answer.json()) as Record<string, string> }
  } catch {
    return undefined
  }
}

interface Session {
  current: string
  used: string[]
  isOver: boolean
}

/** Refreshes until the server is killed. */
async function rotate({ origin }: Server, session: Session): Promise<void> {
  for (;;) {
    const answer = await post(origin, '/api/token/refresh/', { refresh: session.current })
    session.isOver = answer?.status !== 200
    if (answer === undefined || session.isOver) return
    session.used.push(session.current)
    session.current = answer.body.refresh ?? ''
  }
}

onEachDatabase(t, (t, world) => {
  t.test('acknowledged logouts and refreshes are kept after kill -9, and no session is lost', async (t) => {
    const { app, alice, start } = await onOneDatabase(t, world)
    const sessions: Session[] = []
    for (let kills = 0; kills < KILLS; kills++) {
      const server = await start()
      const idle = await obtainPair(app, alice)
      const { refresh: left } = await obtainPair(app, alice)
      t.equal((await post(server.origin, '/api/token/blacklist/', { refresh: left }))?.status, 200)
      const begun = await Promise.all(Array.from({ length: SESSIONS }, () => obtainPair(app, alice)))
      const running = begun.map(({ refresh }): Session => ({ current: refresh, used: [], isOver: false }))
      const rotations = running.map((session) => rotate(server, session))
      while (running.some(({ used, isOver }) => used.length < 3 && !isOver)) await sleep(5)

      server.kill('SIGKILL')
      await Promise.all([...rotations, server.ended])

      t.equal((await refreshWith(app, left)).statusCode, 401, 'the logout is kept')
      t.equal((await refreshWith(app, idle.refresh)).statusCode, 200, 'an idle session is kept')
      sessions.push(...running)
    }
    for (const { current, used } of sessions) {
      const { statusCode } = await refreshWith(app, current)
      t.equal(statusCode, 200, 'the session is kept, whether or not the last response arrived')
      t.equal((await refreshWith(app, used.at(-2) ?? '')).statusCode, 401, 'an older token is rejected')
      t.equal((await refreshWith(app, current)).statusCode, 401, 'reuse ends the session')
    }
  })
})

t.test('graceful shutdown: connections with incomplete requests do not prevent exit code 0', async (t) => {
  const { start } = await onOneDatabase(t, worldOf('sqlite'))
  const server = await start()
  const port = Number(new URL(server.origin).port)
  const [silent, half, whole] = [wireTo(port), wireTo(port), wireTo(port)]
  half.send('POST /api/token/ HTTP/1.1\r\nHost: localhost\r\nContent-Le')
  whole.send('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await whole.until('{"status":"ok"}')

  server.kill('SIGTERM')

  await whole.ended
  t.notOk(await post(server.origin, '/api/token/verify/', { token: 'x' }), 'new connections are rejected')
  const { code, signal, stderr } = await server.ended
  t.strictSame({ code, signal, stderr }, { code: 0, signal: null, stderr: '' })
  await Promise.all([silent.ended, half.ended])
})

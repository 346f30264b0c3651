/** `latchkey serve`: first start, graceful shutdown, and errors. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import t from 'tap'
import { openDatabase } from '../../src/database/open.ts'
import { SIGNING_KEY, worldOf } from '../support/build.ts'
import { bearer } from '../support/journeys.ts'
import { halvesOf, wireTo } from '../support/listening.ts'
import { dropDatabase, nameOf } from '../support/postgres.ts'
import { theWorld } from '../support/world.ts'
import { emptyFolder, latchkey, type Outcome, type Server, SLOWLY, serve } from './command-line.ts'

// Each server is a new process.
t.setTimeout(SLOWLY)

/** In seconds. A shutdown that waits for timers or idle connections takes ten. */
const AT_ONCE = 8
/** A low cost of hashes, for speed. */
const QUICK = { BCRYPT_ROUNDS: '4' }

const PASSWORD = 'an0ther-Pass!'
/** The values of the link that sets the password of the first superuser. */
const linkIn = ({ stdout }: Server) =>
  / -d uid=(?<uid>\S+) -d token=(?<token>\S+) -d new_password=/.exec(stdout())?.groups
const portOf = ({ origin }: Server) => Number(new URL(origin).port)

async function post(server: Server, url: string, payload: object, headers: Record<string, string> = {}) {
  const body = JSON.stringify(payload)
  const types = { 'content-type': 'application/json' }
  const answer = await fetch(server.origin + url, { method: 'POST', body, headers: { ...types, ...headers } })
  const text = await answer.text()
  return { status: answer.status, body: (text === '' ? {} : JSON.parse(text)) as Record<string, string> }
}

/** Sends a signal and measures the seconds until the exit. */
async function endWith(server: Server, signal: NodeJS.Signals): Promise<Outcome & { took: number }> {
  const started = performance.now()
  server.kill(signal)
  const outcome = await server.ended
  return { ...outcome, took: (performance.now() - started) / 1000 }
}

t.test(
  'the first start creates database, key and superuser, and prints a link that sets the password once',
  async (t) => {
    const folder = emptyFolder(t)
    const first = await serve(t, folder, { ...QUICK, LOG_LEVEL: 'trace' })
    const password = PASSWORD
    const link = linkIn(first)

    t.match(first.stdout(), 'Superuser created: username admin.')
    t.match(first.stdout(), `curl ${first.origin}/auth/users/reset_password_confirm/ -d uid=`)
    t.match(first.stdout(), `API documentation: ${first.origin}/docs/\n`)
    t.strictSame(
      readdirSync(`${folder}/data`).filter((name) => !/-(wal|shm)$/.test(name)),
      ['latchkey.db', 'latchkey.db.key']
    )
    t.equal(statSync(`${folder}/data/latchkey.db.key`).mode & 0o777, 0o600)
    t.equal((await post(first, '/api/token/', { username: 'admin', password: '' })).status, 400)
    const reset = { ...link, new_password: password }
    t.equal((await post(first, '/auth/users/reset_password_confirm/', reset)).status, 204)
    t.equal((await post(first, '/auth/users/reset_password_confirm/', reset)).status, 400, 'once')
    const signedIn = await post(first, '/api/token/', { username: 'admin', password })
    t.equal(signedIn.status, 200)
    const { access = '', refresh = '' } = signedIn.body
    const query = 'token=in-the-query'
    const seen = await fetch(`${first.origin}/api/protected/?${query}`, { headers: bearer(access) })
    t.equal(seen.status, 200)
    t.equal((await post(first, `/api/token/?${query}`, { username: 'admin', password: 'wrong-in-body' })).status, 401)
    t.equal((await post(first, '/api/token/verify/', { token: access })).status, 200)
    t.equal((await fetch(`${first.origin}/%zz?${query}`)).status, 400)
    t.equal(
      (await fetch(`${first.origin}/none?${query}`, { headers: { authorization: 'Basic c2VjcmV0' } })).status,
      404
    )
    t.equal(
      (await post(first, '/api/token/', { username: 'x'.repeat(70_000) }, { cookie: 'a=in-a-cookie' })).status,
      413
    )

    t.test('SIGTERM: graceful shutdown completes the request in flight and closes idle connections', async (t) => {
      const [start, rest] = halvesOf('/api/token/', { username: 'admin', password })
      const [busy, idle] = [wireTo(portOf(first)), wireTo(portOf(first))]
      busy.send(start)
      idle.send('GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n')
      await idle.until('{"status":"ok"}')

      const ended = endWith(first, 'SIGTERM')
      await idle.ended
      busy.send(rest)

      t.match(await busy.ended, /^HTTP\/1\.1 200 OK\r\n.*"access":"/s)
      const { code, signal, stderr, took } = await ended
      t.equal(code, 0)
      t.equal(signal, null)
      t.equal(stderr, '')
      t.ok(took < AT_ONCE, `in ${took} s`)
    })

    t.test('the log contains no passwords, tokens, headers, query strings, bodies or keys', async (t) => {
      const { stdout } = await first.ended
      const log = stdout.split('\n').filter((line) => line.startsWith('{'))
      t.ok(log.length >= 10, 'the log is not empty')
      t.match(log.join('\n'), '"path":"/api/protected/"')
      const secrets = [
        password,
        link?.token,
        access,
        refresh,
        access.split('.')[1],
        'in-the-query',
        'wrong-in-body',
        'in-a-cookie'
      ]
      for (const secret of [...secrets, 'c2VjcmV0', 'authorization', 'Bearer', 'xxxx']) {
        t.notOk(
          log.some((line) => line.includes(`${secret}`)),
          `${secret}`
        )
      }
      t.notOk(log.join('\n').includes(readFileSync(`${folder}/data/latchkey.db.key`, 'utf8').trim()))
    })

    t.test('the next start prints no link, accepts earlier tokens, and exits on SIGINT', async (t) => {
      const later = await serve(t, folder, QUICK)
      t.equal(linkIn(later), undefined)
      t.notMatch(later.stdout(), /password/i)
      t.equal((await fetch(`${later.origin}/api/protected/`, { headers: bearer(access) })).status, 200)
      t.equal((await post(later, '/api/token/', { username: 'admin', password })).status, 200)
      const { code, signal, took } = await endWith(later, 'SIGINT')
      t.equal(code, 0)
      t.equal(signal, null)
      t.ok(took < AT_ONCE, `in ${took} s`)
    })
  }
)

t.test('a port in use is reported in one line, and no file is written', async (t) => {
  const other = createServer()
  t.teardown(() => other.close())
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as { port: number }
  const folder = emptyFolder(t)
  const { code, stdout, stderr } = await latchkey(folder, ['serve'], { environment: { PORT: `${port}` } })
  t.equal(code, 1)
  t.equal(stdout, '')
  t.equal(stderr, `latchkey: 127.0.0.1:${port} is in use; choose another PORT\n`)
  t.strictSame(readdirSync(folder), [])
})

t.test('an address that is not available is reported in one line, and no file is written', async (t) => {
  const folder = emptyFolder(t)
  const { code, stderr } = await latchkey(folder, ['serve'], { environment: { HOST: '192.0.2.1' } })
  t.equal(code, 1)
  t.match(stderr, /^latchkey: 192\.0\.2\.1:3000 cannot be used: .*\n$/)
  t.strictSame(readdirSync(folder), [])
})

t.test(
  'concurrent first starts in one folder create one superuser, and a taken port stops only its own server',
  async (t) => {
    const folder = emptyFolder(t)
    const free = createServer()
    await new Promise<void>((resolve) => free.listen(0, '127.0.0.1', resolve))
    const { port } = free.address() as { port: number }
    await new Promise((resolve) => free.close(resolve))

    // With a slow hash, so that both start before the superuser exists.
    const slow = { BCRYPT_ROUNDS: '12' }
    const ports = [port, port, 0].map(String)
    const started = await Promise.allSettled(ports.map((PORT) => serve(t, folder, { ...slow, PORT })))

    const servers = started.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    t.equal(servers.length, 2)
    const refused = started.find((one) => one.status === 'rejected')
    t.equal(refused?.reason.message, `no server, but 1: latchkey: 127.0.0.1:${port} is in use; choose another PORT\n`)
    const links = servers.map(linkIn).filter((link) => link !== undefined)
    t.equal(links.length, 1)
    const reset = { ...links[0], new_password: PASSWORD }
    t.equal((await post(servers[0] as Server, '/auth/users/reset_password_confirm/', reset)).status, 204)
    for (const server of servers) {
      const { status, body } = await post(server, '/api/token/', { username: 'admin', password: PASSWORD })
      t.equal(status, 200)
      for (const other of servers) {
        const seen = await fetch(`${other.origin}/api/protected/`, { headers: bearer(body.access ?? '') })
        t.equal(seen.status, 200, 'the key is shared')
      }
    }
  }
)

t.test('an unexpected error at the start exits with code 1 and its stack', async (t) => {
  const url = await worldOf('sqlite').databaseUrl(t)
  const database = await openDatabase(url)
  await database.$executeRawUnsafe(
    "CREATE TRIGGER unexpected BEFORE INSERT ON auth_user BEGIN SELECT RAISE(ABORT, 'no'); END"
  )
  await database.$disconnect()
  const environment = { ...QUICK, PORT: '0', LOG_LEVEL: 'silent', DATABASE_URL: url }
  const { code, stdout, stderr, lingered } = await latchkey(emptyFolder(t), ['serve'], { environment })
  t.equal(code, 1)
  t.equal(stdout, '')
  t.match(stderr, /^latchkey: Prisma\w+Error: .*\n {4}at /s)
  t.ok(lingered < AT_ONCE, `${lingered} s`)
})

t.test('PostgreSQL: no superuser is created, and a lost database is logged without secrets (503)', async (t) => {
  const { postgres } = await theWorld()
  if ('missing' in postgres) return t.plan(0, postgres.missing)
  const DATABASE_URL = await worldOf('postgresql').databaseUrl(t)
  const server = await serve(t, emptyFolder(t), { ...QUICK, DATABASE_URL, JWT_SIGNING_KEY: SIGNING_KEY })
  t.match(server.stdout(), / with PostgreSQL\.\n/)
  t.equal(linkIn(server), undefined)
  await dropDatabase(postgres.url, nameOf(DATABASE_URL))
  const username = 'name-in-body'
  t.equal((await post(server, '/api/token/', { username, password: 'password-in-body' })).status, 503)

  const { code, stdout, stderr, took } = await endWith(server, 'SIGTERM')

  t.equal(code, 0)
  t.ok(took < AT_ONCE, `in ${took} s`)
  t.match(stdout, '"level":40', 'a warning')
  t.notMatch(stdout + stderr, /name-in-body|password-in-body/)
  t.notMatch(stdout + stderr, new RegExp(SIGNING_KEY))
})

/** Databases that cannot be opened: a one-line error at the start, without the password. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t, { type Test } from 'tap'
import { migrate, pendingMigrations } from '../../src/database/migrate.ts'
import { ImproperlyConfigured } from '../../src/errors.ts'
import { worldOf } from '../support/build.ts'
import { theWorld } from '../support/world.ts'
import { run } from './catalog.ts'
import { startChild } from './children.ts'
import { ALL } from './migrations.ts'

const PASSWORD = 's3cr3t'

async function isRefused(t: Test, name: string, databaseUrl: string, line: RegExp | string): Promise<void> {
  const attempts = await Promise.allSettled([migrate(databaseUrl), pendingMigrations(databaseUrl)])
  for (const attempt of attempts) {
    const error = attempt.status === 'rejected' ? attempt.reason : undefined
    t.type(error, ImproperlyConfigured, name)
    t.strictSame(error.faults, [error.message])
    t.match(error.message, line)
    t.notMatch(error.message, '\n')
    t.notMatch(inspect(error, { depth: 9, showHidden: true }), PASSWORD, 'the password is not in the logged error')
  }
}

/** A server that sends the same response to every client: bytes, only the end of the connection, or none (null). */
async function serverThatSays(t: Test, answer: Buffer | 'goodbye' | null): Promise<string> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    if (answer === 'goodbye') socket.end()
    else socket.once('data', () => answer && socket.end(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return `postgresql://latchkey:${PASSWORD}@127.0.0.1:${(server.address() as AddressInfo).port}/latchkey`
}

/** PostgreSQL's ErrorResponse. */
function refusalOf(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`)
  const head = Buffer.from('E....')
  head.writeInt32BE(fields.length + 4, 1)
  return Buffer.concat([head, fields])
}

t.jobs = 3

t.test('errors of PostgreSQL at the connection are reported with its message', async (t) => {
  const cases: [string, string][] = [
    ['28P01', 'password authentication failed for user "latchkey"'],
    ['28000', 'no pg_hba.conf entry for host "127.0.0.1", user "latchkey", database "latchkey", no encryption'],
    ['53300', 'sorry, too many clients already'],
    ['57P03', 'the database system is starting up']
  ]

  for (const [code, message] of cases) {
    await isRefused(t, code, await serverThatSays(t, refusalOf(code, message)), `database: ${message}`)
  }
})

t.test('unreachable servers, invalid URLs, closed connections and missing TLS are reported', async (t) => {
  const nowhere = `postgresql://latchkey:${PASSWORD}@`
  const goodbye = await serverThatSays(t, 'goodbye')
  const open = `${await serverThatSays(t, Buffer.from('N'))}?sslmode=verify-full`

  await isRefused(t, 'port', `${nowhere}127.0.0.1:1/latchkey`, /^database: cannot be reached$/)
  await isRefused(t, 'ports', `${nowhere}localhost:1/latchkey`, /^database: cannot be reached$/)
  await isRefused(t, 'name', `${nowhere}nowhere.invalid/latchkey`, /^database: cannot be reached$/)
  await isRefused(t, 'no URL', `${nowhere}[::1/latchkey`, /^database: Invalid URL$/)
  await isRefused(t, 'no port', `${nowhere}127.0.0.1:99999/latchkey`, /^database: Invalid URL$/)
  await isRefused(t, 'hangs up', goodbye, /^database: Connection terminated unexpectedly$/)
  await isRefused(t, 'no TLS', open, /^database: The server does not support SSL connections$/)
})

t.test('a PostgreSQL that does not respond is reported within ten seconds', async (t) => {
  const url = await serverThatSays(t, null)

  const begun = performance.now()
  await isRefused(t, 'silence', url, /^database: .*time/)
  t.ok(performance.now() - begun < 10_000)
})

t.test('a missing database on the server is reported', async (t) => {
  const { postgres } = await theWorld()
  if ('missing' in postgres) return t.plan(0, 'no PostgreSQL')
  const url = new URL(postgres.url)
  url.pathname = '/lk_d_nowhere'

  await isRefused(t, 'no such database', url.href, /^database: database "lk_d_nowhere" does not exist$/)
})

t.test('a path that is not a database file is reported', async (t) => {
  const folder = t.testdir({ file: 'x', 'folder.db': {}, 'text.db': 'no database, but a text. '.repeat(50) })

  await isRefused(t, 'folder', `file:${folder}/folder.db`, /^database: the file cannot be opened$/)
  await isRefused(t, 'text', `file:${folder}/text.db`, /^database: file is not a database$/)
  await isRefused(t, 'too long', `file:${folder}/${'x'.repeat(300)}.db`, /^database: ENAMETOOLONG: /)
  await isRefused(t, 'below a file', `file:${folder}/file/x.db`, /^database: (EEXIST|ENOTDIR): /)
})

t.test('missing permissions to read or write a file are reported, even if no migration is pending', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-modes-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const mode = (path: string, mode: number) => chmodSync(join(folder, path), mode)
  mkdirSync(join(folder, 'closed'))
  for (const name of ['full.db', 'secret.db']) await migrate(`file:${join(folder, name)}`)
  writeFileSync(join(folder, 'empty.db'), '')
  const modes = { 'full.db': 0o444, 'empty.db': 0o444, 'secret.db': 0o000, closed: 0o555, '': 0o755 }
  for (const [path, bits] of Object.entries(modes)) mode(path, bits)
  // File modes do not apply to root, so the child runs as another user.
  const who = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}

  const paths = ['full.db', 'empty.db', 'secret.db', 'closed/new.db']
  const child = await startChild(
    t,
    'migrate',
    paths.map((path) => `file:${join(folder, path)}`),
    who
  )
  child.tell()
  await child.ended

  t.equal(child.heard.length, paths.length)
  for (const line of child.heard) t.match(line, /^database: EACCES: permission denied, (access|open) '[^']*'$/)
})

t.test('migrate waits for a lock of another process on a database without write-ahead log', async (t) => {
  const { emptyDatabaseUrl } = worldOf('sqlite')
  const url = await emptyDatabaseUrl(t)
  await run(url, 'CREATE TABLE thing (id integer)')
  const child = await startChild(t, 'hold', url)
  const held = child.hear()
  child.tell()
  await held
  setTimeout(() => child.tell(), 500)

  t.strictSame(await migrate(url), ALL)
  t.strictSame(await migrate(url), [])
})

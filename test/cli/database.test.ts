/** migrate, check, flushexpiredtokens and clearsessions, and what every command says of a database that it cannot use. */
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openDatabase } from '../../src/database/open.ts'
import { SIGNING_KEY, worldOf } from '../support/build.ts'
import { theWorld } from '../support/world.ts'
import { type Environment, emptyFolder, latchkey, SLOWLY, serve } from './command-line.ts'

/** In seconds. PostgreSQL's pool and Prisma's engine have timers of ten, which nobody is to wait for. */
const AT_ONCE = 5
// Each command is a process.
t.setTimeout(SLOWLY)

const environmentFor = (databaseUrl: string): Environment => ({
  DATABASE_URL: databaseUrl,
  JWT_SIGNING_KEY: SIGNING_KEY
})
/** All that is in a folder, at any depth. */
const allIn = (folder: string) => (readdirSync(folder, { recursive: true }) as string[]).toSorted()

t.test('check tells of a fresh folder what will be made there, and makes nothing', async (t) => {
  const folder = emptyFolder(t)
  const { code, stdout, stderr } = await latchkey(folder, ['check'])
  t.equal(code, 0)
  t.equal(stdout, 'Settings: OK\nDatabase: does not exist yet; the first start creates it\n')
  t.equal(stderr, '')
  t.strictSame(allIn(folder), [])
})

t.test('migrate makes an embedded database, for its owner only, and check then finds fault with nothing', async (t) => {
  const folder = emptyFolder(t)
  const made = await latchkey(folder, ['migrate'])
  t.match(made, { code: 0, stdout: /^(Applied \d{4}_latchkey_\w+\.\n){3,}$/, stderr: '' })
  t.ok(made.lingered < AT_ONCE, `${made.lingered} s`)
  t.strictSame(allIn(folder), ['data', 'data/latchkey.db'])
  t.equal(statSync(`${folder}/data`).mode & 0o777, 0o700)
  t.equal(statSync(`${folder}/data/latchkey.db`).mode & 0o777, 0o600)
  const [again, check] = await Promise.all([latchkey(folder, ['migrate']), latchkey(folder, ['check'])])
  t.match(again, { code: 0, stdout: 'No migrations to apply.\n', stderr: '' })
  t.match(check, {
    ...{ code: 0, stderr: '' },
    stdout: 'Settings: OK\nDatabase: OK\nSigning key: does not exist yet; the next start creates it\nMigrations: OK\n'
  })
  t.notOk(existsSync(`${folder}/data/latchkey.db.key`), 'check makes no key')
})

t.test('on PostgreSQL', async (t) => {
  const { postgres } = await theWorld()
  if ('missing' in postgres) return t.plan(0, postgres.missing)
  const { databaseUrl, emptyDatabaseUrl } = worldOf('postgresql')

  t.test('check tells what is to be migrated, migrate does it, and check is content', async (t) => {
    const folder = emptyFolder(t)
    const environment = environmentFor(await emptyDatabaseUrl(t))

    const pending = await latchkey(folder, ['check'], { environment })
    t.equal(pending.code, 1)
    t.equal(pending.stdout, 'Settings: OK\nDatabase: OK\nSigning key: OK\n')
    t.match(pending.stderr, /^latchkey: Migrations: not applied: 0001_latchkey_\w+(, \d{4}_latchkey_\w+)+\n$/)
    const applied = await latchkey(folder, ['migrate'], { environment })
    t.match(applied, { code: 0, stdout: /^(Applied \d{4}_latchkey_\w+\.\n){3,}$/, stderr: '' })
    const check = await latchkey(folder, ['check'], { environment })
    t.match(check, {
      ...{ code: 0, stderr: '' },
      stdout: 'Settings: OK\nDatabase: OK\nSigning key: OK\nMigrations: OK\n'
    })
    for (const { lingered } of [pending, applied, check]) t.ok(lingered < AT_ONCE, `${lingered} s`)
    t.strictSame(allIn(folder), [])
  })

  t.test('flushexpiredtokens deletes what is recorded of expired tokens, and nothing else', async (t) => {
    const url = await databaseUrl(t)
    const hour = 3_600_000
    const database = await openDatabase(url)
    await database.outstandingToken.createMany({
      data: [-2, -1, 1].map((hours) => ({
        ...{ token: 't', jti: `jti${hours}`, userId: null, createdAt: new Date() },
        expiresAt: new Date(Date.now() + hours * hour)
      }))
    })
    await database.$disconnect()

    const flushed = await latchkey(emptyFolder(t), ['flushexpiredtokens'], { environment: environmentFor(url) })

    t.match(flushed, { code: 0, stdout: '2 expired tokens and login sessions deleted.\n', stderr: '' })
    t.ok(flushed.lingered < AT_ONCE, `${flushed.lingered} s`)
    const after = await openDatabase(url)
    t.match(await after.outstandingToken.findMany(), [{ jti: 'jti1' }])
    await after.$disconnect()
  })

  t.test('clearsessions deletes expired sessions of browsers, and nothing else', async (t) => {
    const url = await databaseUrl(t)
    const database = await openDatabase(url)
    await database.browserSession.createMany({
      data: [-2, -1, 1].map((days) => ({
        ...{ sessionKey: `session${days}`, sessionData: '' },
        expireDate: new Date(Date.now() + days * 86_400_000)
      }))
    })
    await database.$disconnect()

    const cleared = await latchkey(emptyFolder(t), ['clearsessions'], { environment: environmentFor(url) })

    t.match(cleared, { code: 0, stdout: '2 expired browser sessions deleted.\n', stderr: '' })
    const after = await openDatabase(url)
    t.match(await after.browserSession.findMany(), [{ sessionKey: 'session1' }])
    await after.$disconnect()
  })
})

t.test('a database that cannot be used is one line, without its address, and the end', async (t) => {
  const newer = await worldOf('sqlite').databaseUrl(t)
  const database = await openDatabase(newer)
  await database.$executeRawUnsafe(
    "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES ('x', 'x', 0, '9999_latchkey_later')"
  )
  await database.$disconnect()
  const faults: [url: string, line: RegExp][] = [
    [newer, /^latchkey: database: a newer version of Latchkey has migrated it; upgrade Latchkey\n$/],
    ['postgresql://user:hunter2@127.0.0.1:1/hunter2', /^latchkey: database: .+\n$/],
    ['file:/dev/null/hunter2/x.db', /^latchkey: database: .+\n$/]
  ]
  const folder = emptyFolder(t)
  const outcomes = await Promise.all(
    faults.map(([url]) => latchkey(folder, ['serve'], { environment: { ...environmentFor(url), PORT: '0' } }))
  )
  for (const [index, { code, stdout, stderr, lingered }] of outcomes.entries()) {
    const [url, line] = faults[index] as (typeof faults)[number]
    t.equal(code, 1, url)
    t.equal(stdout, '')
    t.match(stderr, line)
    t.notMatch(stderr, /:hunter2|user:/)
    t.ok(lingered < AT_ONCE, `${lingered} s`)
  }
  t.strictSame(allIn(folder), [])
})

t.test('keys in the database are seen, made, changed and revoked by command, and a server follows', async (t) => {
  const folder = emptyFolder(t)
  const environment = {
    JWT_KEY_ENCRYPTION_KEY: 'a-key-for-keys-0123456789-abcdefghijklmnop',
    JWT_ALGORITHM: 'ES256'
  }
  const keys = (...args: string[]) => latchkey(folder, ['keys', ...args], { environment })
  const { origin } = await serve(t, folder, environment)
  const published = async () => {
    const answer = await fetch(`${origin}/.well-known/jwks.json`)
    t.equal(answer.headers.get('cache-control'), 'public, max-age=300')
    t.match(answer.headers.get('content-type'), /^application\/jwk-set\+json/)
    return ((await answer.json()) as { keys: { kid: string; d?: string }[] }).keys
  }
  const before = await published()
  t.ok(before.length === 2 && before.every(({ d }) => d === undefined), 'the current one and the next, in public')

  const listed = await keys('list')
  t.match(listed, { code: 0, stdout: /^[\w-]{43} {2}ES256 {2}current .*\n[\w-]{43} {2}ES256 {2}next .*\n$/ })
  const early = await keys('rotate')
  t.match(early, { code: 1, stderr: /^latchkey: services may not know the next key yet; wait \d+ s, or use --now\n$/ })
  const [, next = ''] = /\n([\w-]{43})/.exec(listed.stdout) ?? []
  t.match(await keys('rotate', '--now'), { code: 0, stdout: `Current key: ${next}\n` })
  t.match(await keys('generate'), { code: 0, stdout: /^Next key: [\w-]{43}\n$/ })
  t.match(await keys('revoke', next), { code: 0, stdout: `Revoked: ${next}\n` })
  const hyphenated = `-${'a'.repeat(42)}`
  for (const args of [[hyphenated], ['--', hyphenated]]) {
    const unknown = await keys('revoke', ...args)
    t.match(unknown, { code: 1, stderr: `latchkey: no key ${hyphenated} to revoke` }, args.join(' '))
  }
  t.match(await keys('revoke', '../x'), {
    code: 1,
    stderr: 'latchkey: no key ../x to revoke; see `latchkey keys list`\n'
  })

  const deadline = performance.now() + 15_000
  while ((await published()).some(({ kid }) => kid === next) && performance.now() < deadline) await sleep(200)
  const states = (await keys('list')).stdout.match(/current|next|previous|revoked/g)
  t.strictSame(states, ['current', 'next', 'previous', 'revoked'])
  t.notOk((await published()).some(({ kid }) => kid === next))
  for (const args of [[], ['revoke'], ['list', 'x'], ['constructor']]) t.equal((await keys(...args)).code, 2)
  const without = await latchkey(folder, ['keys', 'list'])
  t.match(without, { code: 1, stderr: /the signing keys are in the database only if JWT_KEY_ENCRYPTION_KEY is set/ })
})

t.test('a key can be in a file, and one that is not there is a line', async (t) => {
  const folder = emptyFolder(t)
  const made = await latchkey(folder, ['generatekey', '--algorithm', 'EdDSA'])
  writeFileSync(`${folder}/key.pem`, made.stdout)
  const environment = { JWT_ALGORITHM: 'EdDSA', JWT_SIGNING_KEY: 'file:key.pem' }

  t.match(made.stdout, /^-----BEGIN PRIVATE KEY-----\n/)
  t.match(await latchkey(folder, ['migrate'], { environment }), { code: 0 })
  t.match(await latchkey(folder, ['check'], { environment }), { code: 0, stdout: /^Signing key: OK$/m })
  const gone = await latchkey(folder, ['check'], { environment: { ...environment, JWT_SIGNING_KEY: 'file:no.pem' } })
  t.match(gone, { code: 1, stderr: /^latchkey: JWT_SIGNING_KEY: cannot read the file \(ENOENT\)\n$/ })
  const wrong = await latchkey(folder, ['check'], { environment: { ...environment, JWT_ALGORITHM: 'RS256' } })
  t.match(wrong, { code: 1, stderr: 'latchkey: JWT_SIGNING_KEY: must be an RSA key for RS256\n' })
  t.equal((await latchkey(folder, ['generatekey', '--algorithm', 'none'])).code, 2)
})

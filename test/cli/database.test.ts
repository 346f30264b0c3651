/** The commands migrate, check, flushexpiredtokens, clearsessions, keys and generatekey, and errors of the database. */
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { openDatabase } from '../../src/database/open.ts'
import { SIGNING_KEY, worldOf } from '../support/build.ts'
import { theWorld } from '../support/world.ts'
import { type Environment, emptyFolder, latchkey, SLOWLY, serve } from './command-line.ts'

/** In seconds. The timers of PostgreSQL's pool and Prisma's engine take 10 s, and must not delay the exit. */
const AT_ONCE = 5
// Each command starts a process.
t.setTimeout(SLOWLY)

const environmentFor = (databaseUrl: string): Environment => ({
  DATABASE_URL: databaseUrl,
  JWT_SIGNING_KEY: SIGNING_KEY
})
/** All paths in a folder, recursively and sorted. */
const allIn = (folder: string) => (readdirSync(folder, { recursive: true }) as string[]).toSorted()

t.test('check in an empty folder succeeds and creates nothing', async (t) => {
  const folder = emptyFolder(t)
  const { code, stdout, stderr } = await latchkey(folder, ['check'])
  t.equal(code, 0)
  t.equal(stdout, 'Settings: OK\nDatabase: does not exist yet; the first start creates it\n')
  t.equal(stderr, '')
  t.strictSame(allIn(folder), [])
})

t.test('migrate creates an embedded database with modes 700 and 600, and check then succeeds', async (t) => {
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
  t.notOk(existsSync(`${folder}/data/latchkey.db.key`), 'check creates no key')
})

t.test('PostgreSQL', async (t) => {
  const { postgres } = await theWorld()
  if ('missing' in postgres) return t.plan(0, postgres.missing)
  const { databaseUrl, emptyDatabaseUrl } = worldOf('postgresql')

  t.test('check reports pending migrations, and succeeds after migrate', async (t) => {
    const folder = emptyFolder(t)
    const environment = environmentFor(await emptyDatabaseUrl(t))

    const pending = await latchkey(folder, ['check'], { environment })
    t.equal(pending.code, 1)
    t.equal(pending.stdout, 'Settings: OK\nDatabase: OK\nSigning key: OK\n')
    t.match(pending.stderr, /^latchkey: Migrations: not applied: 0001_latchkey_\w+(, \d{4}_latchkey_\w+)+\n$/)
    const { JWT_SIGNING_KEY, ...withoutKey } = environment as Record<string, string>
    t.ok(JWT_SIGNING_KEY)
    const applied = await latchkey(folder, ['migrate'], { environment: withoutKey })
    t.match(applied, { code: 0, stdout: /^(Applied \d{4}_latchkey_\w+\.\n){3,}$/, stderr: '' }, 'needs no signing key')
    const check = await latchkey(folder, ['check'], { environment })
    t.match(check, {
      ...{ code: 0, stderr: '' },
      stdout: 'Settings: OK\nDatabase: OK\nSigning key: OK\nMigrations: OK\n'
    })
    for (const { lingered } of [pending, applied, check]) t.ok(lingered < AT_ONCE, `${lingered} s`)
    t.strictSame(allIn(folder), [])
  })

  t.test('flushexpiredtokens deletes only expired tokens', async (t) => {
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

  t.test('clearsessions deletes only expired browser sessions', async (t) => {
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

t.test('serve exits with code 1 and one line without the URL if the database cannot be used', async (t) => {
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

t.test('keys lists, generates, rotates and revokes keys, and a running server follows', async (t) => {
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
  t.ok(before.length === 2 && before.every(({ d }) => d === undefined), 'the current and the next public key')

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

t.test('JWT_SIGNING_KEY can name a PEM file of generatekey, and check reports missing and wrong keys', async (t) => {
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

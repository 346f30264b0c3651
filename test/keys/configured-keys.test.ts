import { execFile } from 'node:child_process'
import fs, { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { generateSecret, weaknessOfSecret } from '../../src/crypto/jwa.ts'
import { ImproperlyConfigured } from '../../src/errors.ts'
import { keyFileOf, loadSigningKey } from '../../src/keys/configured-keys.ts'
import { loadSettings } from '../../src/settings/load.ts'
import type { Settings } from '../../src/settings/schema.ts'
import { SIGNING_KEY, worldOf } from '../support/build.ts'
import { addUser, bearer, obtainPair } from '../support/journeys.ts'
import { TYPESCRIPT } from '../support/processes.ts'

const KEYS = new URL('../../src/keys/configured-keys.ts', import.meta.url).href
const FORM = /^[A-Za-z0-9_-]{64}$/

const secretOf = (settings: Settings) => loadSigningKey(settings).export().toString()

/** Settings without a key and with a database in `folder`, so that the key file is `auth.db.key`. */
const keylessIn = (folder: string) => loadSettings({ databaseUrl: `file:${folder}/auth.db` })

t.test('generated keys are unique and strong secrets of 64 characters', async (t) => {
  const keys = Array.from({ length: 10 }, generateSecret)

  for (const key of keys) {
    t.match(key, FORM)
    t.equal(weaknessOfSecret(key), undefined)
  }
  t.equal(new Set(keys).size, keys.length)
})

t.test('a configured key is used unchanged, and no file is created', async (t) => {
  const folder = t.testdir()

  const key = secretOf({ ...keylessIn(folder), signingKey: SIGNING_KEY })

  t.equal(key, SIGNING_KEY)
  t.strictSame(readdirSync(folder), [])
})

t.test('without a key one is generated once, stored beside the database with mode 600, and read again', async (t) => {
  const folder = t.testdir()

  const key = secretOf(keylessIn(folder))

  t.match(key, FORM)
  t.strictSame(readdirSync(folder), ['auth.db.key'], 'no temporary file is left')
  t.equal(statSync(join(folder, 'auth.db.key')).mode & 0o777, 0o600)
  t.equal(readFileSync(join(folder, 'auth.db.key'), 'utf8'), `${key}\n`)
  t.equal(secretOf(keylessIn(folder)), key)
  t.not(secretOf(keylessIn(t.testdir())), key, 'another database has another key')
})

t.test('white space around the key in a file is ignored', async (t) => {
  const folder = t.testdir({ 'auth.db.key': `  ${SIGNING_KEY}\r\n\n` })

  t.equal(secretOf(keylessIn(folder)), SIGNING_KEY)
})

t.test('processes that generate a key concurrently all use the same one', async (t) => {
  const folder = t.testdir()
  const start = Date.now() + 2000
  const script = `
    import { loadSigningKey } from ${JSON.stringify(KEYS)}
    while (Date.now() < ${start});
    console.log(loadSigningKey({ signingKey: null, algorithm: 'HS256', databaseUrl: ${JSON.stringify(`file:${folder}/auth.db`)} }).export().toString())`
  const run = () => promisify(execFile)(process.execPath, [TYPESCRIPT, '--input-type=module', '--eval', script])

  const keys = (await Promise.all([run(), run(), run()])).map(({ stdout }) => stdout.trim())

  t.match(keys[0], FORM)
  t.equal(new Set(keys).size, 1)
  t.strictSame(readdirSync(folder), ['auth.db.key'])
})

/** Replaces `linkSync`, which moves the key file to its path atomically. */
function replaceLink(t: Test, link: (from: string, to: string) => void): void {
  t.teardown(syncBuiltinESMExports)
  t.intercept(fs, 'linkSync', { value: link })
  syncBuiltinESMExports()
}

t.test('if another process creates the key file first, its key is used and the generated one discarded', async (t) => {
  const folder = t.testdir()
  const { linkSync } = fs
  replaceLink(t, (from, to) => {
    writeFileSync(to, `${SIGNING_KEY}\n`)
    linkSync(from, to)
  })

  t.equal(secretOf(keylessIn(folder)), SIGNING_KEY)
  t.strictSame(readdirSync(folder), ['auth.db.key'])
})

t.test('if the key file cannot be created the error names it, and no temporary file is left', async (t) => {
  const folder = t.testdir()
  replaceLink(t, () => {
    throw Object.assign(new Error('operation not permitted'), { code: 'EPERM' })
  })

  t.throws(() => loadSigningKey(keylessIn(folder)), {
    name: 'ImproperlyConfigured',
    message: `${folder}/auth.db.key: operation not permitted`
  })
  t.strictSame(readdirSync(folder), [])
})

t.test('for a weak or unreadable key file the error names the file without its content', async (t) => {
  const secret = 'hunter2-hunter2'
  const bad: [string, unknown, RegExp][] = [
    ['an empty file', '', /auth\.db\.key: the key in it must have at least 32 bytes/],
    ['a short key', secret, /auth\.db\.key: the key in it must have at least 32 bytes/],
    ['a key that is all blanks', ' '.repeat(64), /auth\.db\.key: the key in it must have at least 32 bytes/],
    ['a key that can be guessed', secret.repeat(4), /auth\.db\.key: the key in it is predictable/],
    ['a PEM', `-----BEGIN PRIVATE KEY-----\n${generateSecret()}`, /auth\.db\.key: the key in it is a PEM or SSH key/],
    ['a folder', {}, /auth\.db\.key: EISDIR/]
  ]

  for (const [name, content, message] of bad) {
    const settings = keylessIn(t.testdir({ 'auth.db.key': content as string }))
    const fault = await Promise.resolve(settings)
      .then(loadSigningKey)
      .catch((error) => error)

    t.type(fault, ImproperlyConfigured, name)
    t.match(fault.message, message, name)
    t.equal(fault.faults.length, 1)
    t.notMatch(fault.message, secret)
    t.type(fault.cause, Error, 'the cause is kept')
  }
})

t.test('for a missing folder the error names the key file', async (t) => {
  const folder = join(t.testdir({ file: '' }), 'none')

  t.throws(() => loadSigningKey(keylessIn(folder)), {
    name: 'ImproperlyConfigured',
    message: `${folder}/auth.db.key: ENOENT`
  })
})

t.test('with PostgreSQL there is no key file, and signingKey is required', async (t) => {
  t.equal(keyFileOf({ databaseUrl: 'postgresql://localhost/latchkey' }), null)
  t.throws(() => loadSigningKey({ ...keylessIn(t.testdir()), databaseUrl: 'postgresql://localhost/latchkey' }), {
    name: 'ImproperlyConfigured',
    message: 'signingKey: is required with PostgreSQL'
  })
})

t.test('tokens remain valid after a restart without a configured key', async (t) => {
  const { build, databaseUrl } = worldOf('sqlite')
  const keyless = { databaseUrl: await databaseUrl(t), signingKey: undefined }
  const app = await build(t, keyless)
  const { access } = await obtainPair(app, await addUser(app))
  await app.close()

  const restarted = await build(t, keyless)

  const url = '/api/protected/'
  t.equal((await restarted.inject({ url, headers: bearer(access) })).statusCode, 200)
  t.equal(
    (await (await build(t)).inject({ url, headers: bearer(access) })).statusCode,
    401,
    'another server rejects it'
  )
})

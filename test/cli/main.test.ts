/** Output, exit codes and settings of the CLI. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { weaknessOfSecret } from '../../src/crypto/jwa.ts'
import { version } from '../../src/version.ts'
import { emptyFolder, latchkey, SLOWLY } from './command-line.ts'

// Each command starts a process.
t.setTimeout(SLOWLY)

const COMMANDS = [
  'serve',
  'migrate',
  'createsuperuser',
  'changepassword',
  'flushexpiredtokens',
  'clearsessions',
  'generatekey',
  'check'
]

t.test('without a command or with --help it prints the usage with all commands', async (t) => {
  for (const args of [[], ['migrate', '--help']]) {
    const { code, stdout, stderr } = await latchkey(emptyFolder(t), args)
    t.equal(code, 0)
    t.equal(stderr, '')
    t.match(stdout, /^usage: latchkey COMMAND\n/)
    for (const command of COMMANDS) t.match(stdout, new RegExp(`^  ${command}\\b`, 'm'))
  }
})

t.test('--version prints the version', async (t) => {
  const { code, stdout } = await latchkey(emptyFolder(t), ['--version'])
  t.equal(code, 0)
  t.equal(stdout, `${version}\n`)
})

t.test('invalid commands, options and arguments exit with code 2 and a message', async (t) => {
  const misuses: [args: string[], message: RegExp][] = [
    [['constructor'], /^latchkey: unknown command constructor\n\nusage: latchkey COMMAND\n/],
    [['migrate', '--fake'], /^latchkey: Unknown option '--fake'/],
    [['createsuperuser', '--password', 'x'], /^latchkey: Unknown option '--password'/],
    [['createsuperuser', '--username'], /^latchkey: Option '--username <value>' argument missing/],
    [['changepassword', 'alice', 'bob'], /^latchkey: usage: latchkey changepassword USER\n$/],
    [['migrate', 'auth'], /^latchkey: usage: latchkey migrate\n$/]
  ]
  const folder = emptyFolder(t)
  const outcomes = await Promise.all(misuses.map(([args]) => latchkey(folder, args)))
  for (const [index, [args, message]] of misuses.entries()) {
    t.match(outcomes[index], { code: 2, stdout: '', stderr: message }, args.join(' '))
  }
  t.strictSame(readdirSync(folder), [])
})

t.test('generatekey prints a strong random secret and writes no file', async (t) => {
  const folder = emptyFolder(t)
  const [one, other] = await Promise.all([latchkey(folder, ['generatekey']), latchkey(folder, ['generatekey'])])
  t.match(one.stdout, /^[\w-]{64}\n$/)
  t.not(one.stdout, other.stdout)
  t.equal(weaknessOfSecret(one.stdout.trim()), undefined)
  t.strictSame(readdirSync(folder), [], 'no file is written')
})

t.test('invalid settings are reported in one line each, with exit code 1 and without values', async (t) => {
  const environment = { PORT: 'http', JWT_ALGORITHM: 'none', JWT_SECRET: 'hunter2', JWT_SIGNING_KEY: 'hunter2' }
  for (const command of ['check', 'serve']) {
    const folder = emptyFolder(t)
    const { code, stdout, stderr } = await latchkey(folder, [command], { environment })
    t.equal(code, 1)
    t.equal(stdout, '')
    t.strictSame(stderr.trimEnd().split('\n').toSorted(), [
      'latchkey: JWT_ALGORITHM: must be one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA',
      'latchkey: JWT_SECRET: unknown setting',
      'latchkey: JWT_SIGNING_KEY: must have at least 32 bytes; generate one with `latchkey generatekey`',
      'latchkey: PORT: must be a whole number from 0 to 65535'
    ])
    t.strictSame(readdirSync(folder), [])
  }
})

t.test('settings are read from .env, the environment has priority, and empty variables count as unset', async (t) => {
  const folder = emptyFolder(t)
  writeFileSync(
    `${folder}/.env`,
    'PORT=wrong\nLOG_LEVEL="wrong" # quoted\nLOGIN_RATE=wrong\nBCRYPT_ROUNDS=4\nJWT_PORT=1'
  )
  const environment = { PORT: '80', LOG_LEVEL: ' ', BCRYPT_ROUNDS: 'wrong', PASSWORD_TRIM: 'wrong' }

  const { code, stderr } = await latchkey(folder, ['check'], { environment })

  t.equal(code, 1)
  const named = [...stderr.matchAll(/^latchkey: (\w+):/gm)].map(([, name = '']) => name)
  t.strictSame(named.toSorted(), ['BCRYPT_ROUNDS', 'JWT_PORT', 'LOGIN_RATE', 'LOG_LEVEL', 'PASSWORD_TRIM'])
})

t.test('an unreadable .env is reported in one line with exit code 1', async (t) => {
  const folder = emptyFolder(t)
  mkdirSync(`${folder}/.env`)
  const { code, stderr } = await latchkey(folder, ['check'])
  t.equal(code, 1)
  t.match(stderr, /^latchkey: \.env: .*\n$/)
})

#!/usr/bin/env node
/**
 * The command line: a table of commands, each of which calls the domain. Exit codes: 0 success, 1 failure, 2 wrong usage.
 *
 * Commands import their modules when they run, so that `--help` does not load database drivers.
 */
import { existsSync, readFileSync } from 'node:fs'
import { type ParseArgsConfig, parseArgs, parseEnv } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { ALGORITHMS, generateKeyText } from '../crypto/jwa.ts'
import { AuthError, ImproperlyConfigured } from '../errors.ts'
import type { PasswordOwner } from '../passwords/validators.ts'
import type { Auth } from '../plugin.ts'
import type { Settings } from '../settings/schema.ts'
import { version } from '../version.ts'
import { CommandError } from './command-error.ts'
import { askForPassword, askForText, closePrompt, type Validate } from './prompt.ts'

interface Command {
  usage?: string
  /** How many positional arguments the command takes; by default none. */
  positionals?: [min: number, max: number]
  /** Arguments that begin with a hyphen, but are positional. */
  hyphenated?: RegExp
  help: string
  options?: NonNullable<ParseArgsConfig['options']>
  run: (values: Record<string, unknown>, positionals: string[]) => Promise<void>
}

const print = (line: string): void => void process.stdout.write(`${line}\n`)
const warn = (line: string): void => void process.stderr.write(`latchkey: ${line}\n`)

const COMMANDS: Record<string, Command> = {
  serve: { help: 'Start the server.', run: serve },
  migrate: { help: 'Apply pending migrations.', run: runMigrations },
  createsuperuser: {
    usage: '[--noinput --username NAME --email ADDRESS]',
    help: 'Create a superuser. With --noinput, the password is read from LATCHKEY_SUPERUSER_PASSWORD.',
    options: { username: { type: 'string' }, email: { type: 'string' }, noinput: { type: 'boolean' } },
    run: createSuperuser
  },
  changepassword: { usage: 'USER', positionals: [1, 1], help: "Change a user's password.", run: changePassword },
  flushexpiredtokens: { help: 'Delete expired tokens and login sessions.', run: flushExpiredTokens },
  clearsessions: { help: 'Delete expired browser sessions.', run: clearSessions },
  generatekey: {
    usage: '[--algorithm NAME]',
    help: 'Print a new JWT_SIGNING_KEY: a secret, or with --algorithm RS256, ES256, EdDSA etc. a private key.',
    options: { algorithm: { type: 'string' } },
    run: printKey
  },
  'sync-permissions': {
    usage: '[--schema FILE --app NAME]',
    help: "Create missing permissions of Django's own models, or of the models in a Prisma schema.",
    options: { schema: { type: 'string' }, app: { type: 'string' } },
    run: syncPermissions
  },
  keys: {
    usage: 'list | generate | rotate [--now] | revoke KID',
    positionals: [1, 2],
    // A key id is base64url (RFC 7638), and one in 64 begins with a hyphen.
    hyphenated: /^-[\w-]{42}$/,
    help: 'List, generate, rotate or revoke the signing keys in the database (with JWT_KEY_ENCRYPTION_KEY).',
    options: { now: { type: 'boolean' } },
    run: manageKeys
  },
  check: { help: 'Check settings, database, signing key and migrations without changing anything.', run: check }
}

/** Reads environment variables, which take precedence, and `.env` in the working directory. Empty variables are ignored. */
async function readSettings({ needsSigningKey = true } = {}): Promise<Settings> {
  const { loadEnvironment } = await import('../settings/load.ts')
  const variables = Object.entries(process.env).filter(([, value]) => value?.trim())
  return loadEnvironment({ ...readEnvFile(), ...Object.fromEntries(variables) }, { needsSigningKey })
}

function readEnvFile(): NodeJS.Dict<string> {
  try {
    return existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {}
  } catch (error) {
    throw new CommandError(`.env: ${(error as Error).message}`)
  }
}

async function serve(): Promise<void> {
  // Otherwise loading the modules enlarges V8's young generation permanently, by 20 MB that an idle server does not use.
  setFlagsFromString('--semi-space-growth-factor=1')
  const settings = await readSettings()
  const { runServer } = await import('./serve.ts')
  await runServer(settings)
  setFlagsFromString('--semi-space-growth-factor=2')
}

async function runMigrations(): Promise<void> {
  const { databaseUrl } = await readSettings({ needsSigningKey: false })
  const { migrate } = await import('../database/migrate.ts')
  const applied = await migrate(databaseUrl)
  for (const name of applied) print(`Applied ${name}.`)
  if (applied.length === 0) print('No migrations to apply.')
  // As Django does after its migrations, also if an earlier run was killed before.
  await createPermissions(databaseUrl)
}

async function createPermissions(databaseUrl: string): Promise<void> {
  const [{ openDatabase }, { AUTH_MODELS, syncPermissions }] = await Promise.all([
    import('../database/open.ts'),
    import('../permissions/content-types.ts')
  ])
  const database = await openDatabase(databaseUrl)
  try {
    await syncPermissions(database, AUTH_MODELS)
  } finally {
    await database.$disconnect()
  }
}

async function createSuperuser({ username, email, noinput }: Record<string, unknown>): Promise<void> {
  if (noinput && typeof username !== 'string') throw new CommandError('You must use --username with --noinput.')
  await withAuth(async ({ users, settings }) => {
    const owner = {
      username: typeof username === 'string' ? username : await askForText('Username: '),
      email: typeof email === 'string' ? email : noinput ? '' : await askForText('Email address: ')
    }
    const password = noinput
      ? process.env.LATCHKEY_SUPERUSER_PASSWORD || null
      : await askForPassword(await createValidator(settings, owner), true)
    await users.createSuperuser({ ...owner, password })
  })
  print('Superuser created successfully.')
}

async function changePassword(_values: unknown, [username = '']: string[]): Promise<void> {
  await withAuth(async ({ users, settings }) => {
    const user = await users.get('username', username)
    if (user === null) throw new CommandError(`user '${username}' does not exist`)
    print(`Changing password for user '${username}'`)
    await users.setPassword(user.id, await askForPassword(await createValidator(settings, user)))
  })
  print(`Password changed successfully for user '${username}'`)
}

async function createValidator(settings: Settings, owner: PasswordOwner): Promise<Validate> {
  const { Passwords } = await import('../passwords/passwords.ts')
  const passwords = new Passwords(settings, (reason) =>
    warn(`could not check the password against known breaches: ${reason}`)
  )
  return async (password) => (await passwords.faultsOf(password, owner)).map(({ message }) => message)
}

async function syncPermissions(options: Record<string, unknown>): Promise<void> {
  const { readModels } = await import('./sync-permissions.ts')
  const models = readModels(options)
  await withAuth(async ({ permissions }) => {
    const created = await permissions.syncPermissions(models)
    for (const name of created) print(`Created ${name}.`)
    if (created.length === 0) print('No permissions to create.')
  })
}

async function flushExpiredTokens(): Promise<void> {
  await withAuth(async ({ tokens }) =>
    print(`${await tokens.flushExpiredTokens()} expired tokens and login sessions deleted.`)
  )
}

async function clearSessions(): Promise<void> {
  await withAuth(async ({ browserSessions }) =>
    print(`${await browserSessions.clearExpired()} expired browser sessions deleted.`)
  )
}

async function printKey({ algorithm = 'HS256' }: Record<string, unknown>): Promise<void> {
  const known = ALGORITHMS.find((name) => name === algorithm)
  if (known === undefined) throw new CommandError(`--algorithm must be one of ${ALGORITHMS.join(', ')}`, 2)
  print(generateKeyText(known).trim())
}

async function manageKeys({ now }: Record<string, unknown>, [verb = '', kid]: string[]): Promise<void> {
  const { isKeysCommand, runKeysCommand } = await import('./keys.ts')
  if (!isKeysCommand(verb, kid)) throw new CommandError(`usage: latchkey keys ${COMMANDS.keys?.usage}`, 2)
  await withAuth(async ({ keys }) => print(await runKeysCommand(keys, { verb, kid: kid ?? '', now: now === true })))
}

async function check(): Promise<void> {
  const settings = await readSettings()
  print('Settings: OK')
  const { filePathOf } = await import('../database/url.ts')
  const path = filePathOf(settings.databaseUrl)
  if (path !== null && !existsSync(path)) {
    print('Database: does not exist yet; the first start creates it')
    return
  }
  const { pendingMigrations } = await import('../database/migrate.ts')
  const pending = await pendingMigrations(settings.databaseUrl)
  print('Database: OK')
  print(`Signing key: ${await checkSigningKey(settings)}`)
  if (pending.length > 0) throw new CommandError(`Migrations: not applied: ${pending.join(', ')}`)
  print('Migrations: OK')
}

/** @throws {ImproperlyConfigured} if the key beside the embedded database is not valid */
async function checkSigningKey(settings: Settings): Promise<string> {
  if (settings.keyEncryptionKey !== null) return 'in the database'
  const { keyFileOf, loadSigningKey } = await import('../keys/configured-keys.ts')
  const path = keyFileOf(settings)
  if (settings.signingKey === null && path !== null && !existsSync(path)) {
    return 'does not exist yet; the next start creates it'
  }
  loadSigningKey(settings)
  return 'OK'
}

/** Registers the plugin on an app that does not listen, and closes it after the work. */
async function withAuth(work: (auth: Auth) => Promise<void>): Promise<void> {
  const settings = await readSettings()
  const [{ default: Fastify }, { default: latchkey }] = await Promise.all([import('fastify'), import('../plugin.ts')])
  const app = Fastify()
  try {
    await app.register(latchkey, settings)
    await work(app.auth)
  } finally {
    await app.close()
  }
}

function help(): string {
  const rows = Object.entries(COMMANDS).map(
    ([name, { usage = '', help }]) => `  ${`${name} ${usage}`.trim()}\n      ${help}`
  )
  return [
    'usage: latchkey COMMAND',
    '',
    ...rows,
    '',
    'Settings are read from environment variables and from .env in the working directory.'
  ].join('\n')
}

async function main([name, ...args]: string[]): Promise<void> {
  if (name === undefined || name === 'help' || [name, ...args].includes('--help')) return print(help())
  if (name === '--version') return print(version)
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) throw new CommandError(`unknown command ${name}\n\n${help()}`, 2)
  const { values, positionals } = parse(command, args)
  const [min, max] = command.positionals ?? [0, 0]
  if (positionals.length < min || positionals.length > max) {
    throw new CommandError(`usage: latchkey ${`${name} ${command.usage ?? ''}`.trim()}`, 2)
  }
  await command.run(values, positionals)
}

function parse({ options = {}, hyphenated }: Command, args: string[]) {
  const at = args.includes('--') ? -1 : args.findIndex((arg) => hyphenated?.test(arg))
  const separated = at < 0 ? args : args.toSpliced(at, 0, '--')
  try {
    return parseArgs({ args: separated, options, allowPositionals: true })
  } catch (error) {
    throw new CommandError((error as Error).message, 2)
  }
}

/** Prints one line for each expected error, and the stack trace of an unexpected one. */
function report(error: unknown): void {
  const lines =
    error instanceof ImproperlyConfigured
      ? error.faults
      : error instanceof AuthError
        ? Object.values(error.body).flat()
        : [error instanceof CommandError ? error.message : ((error as Error).stack ?? String(error))]
  for (const line of lines) warn(String(line))
  process.exitCode = error instanceof CommandError ? error.exitCode : 1
}

await main(process.argv.slice(2)).catch(report).finally(closePrompt)

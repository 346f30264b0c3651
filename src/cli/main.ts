#!/usr/bin/env node
/**
 * The command line: a table of commands, each a call into the domain. Exit codes: 0 done, 1 failed, 2 misused.
 *
 * What a command needs is loaded when it runs, so that help, say, need not wait for a database's driver.
 */
import { existsSync, readFileSync } from 'node:fs'
import { type ParseArgsConfig, parseArgs, parseEnv } from 'node:util'
import { ALGORITHMS, generateKeyText } from '../crypto/jwa.ts'
import { AuthError, ImproperlyConfigured } from '../errors.ts'
import type { PasswordOwner } from '../passwords/validators.ts'
import type { Auth } from '../plugin.ts'
import type { Settings } from '../settings/schema.ts'
import { version } from '../version.ts'
import { CommandError } from './command-error.ts'
import { askForPassword, askForText, endQuestions, type Validate } from './prompt.ts'

interface Command {
  usage?: string
  /** How many names it takes besides its options, from and to; none if left out. */
  names?: [least: number, most: number]
  help: string
  options?: NonNullable<ParseArgsConfig['options']>
  run: (values: Record<string, unknown>, positionals: string[]) => Promise<void>
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const warn = (line: string): void => void process.stderr.write(`latchkey: ${line}\n`)

const COMMANDS: Record<string, Command> = {
  serve: { help: 'Start the API.', run: serve },
  migrate: { help: 'Bring the database up to date.', run: runMigrations },
  createsuperuser: {
    usage: '[--noinput --username NAME --email ADDRESS]',
    help: 'Make a superuser. With --noinput, LATCHKEY_SUPERUSER_PASSWORD holds the password.',
    options: { username: { type: 'string' }, email: { type: 'string' }, noinput: { type: 'boolean' } },
    run: createSuperuser
  },
  changepassword: { usage: 'USER', names: [1, 1], help: "Change a user's password.", run: changePassword },
  flushexpiredtokens: { help: 'Delete what is recorded of expired tokens and sessions.', run: flushExpiredTokens },
  clearsessions: { help: 'Delete expired sessions of browsers.', run: clearSessions },
  generatekey: {
    usage: '[--algorithm NAME]',
    help: 'Print a new JWT_SIGNING_KEY: a secret, or a private key for ES256, EdDSA and the like.',
    options: { algorithm: { type: 'string' } },
    run: printKey
  },
  'sync-permissions': {
    usage: '[--schema FILE --app NAME]',
    help: "Make the permissions that are missing: of Django's own models, or of those in a Prisma schema.",
    options: { schema: { type: 'string' }, app: { type: 'string' } },
    run: syncPermissions
  },
  keys: {
    usage: 'list | generate | rotate [--now] | revoke KID',
    names: [1, 2],
    help: 'The signing keys in the database (JWT_KEY_ENCRYPTION_KEY): see, make, change and refuse them.',
    options: { now: { type: 'boolean' } },
    run: manageKeys
  },
  check: { help: 'Check settings, database, key and migrations, and change nothing.', run: check }
}

/** The environment over `.env` of the working directory. */
async function readSettings(): Promise<Settings> {
  const { loadEnvironment } = await import('../settings/load.ts')
  const given = Object.entries(process.env).filter(([, value]) => value?.trim())
  return loadEnvironment({ ...readEnvFile(), ...Object.fromEntries(given) })
}

function readEnvFile(): NodeJS.Dict<string> {
  try {
    return existsSync('.env') ? parseEnv(readFileSync('.env', 'utf8')) : {}
  } catch (error) {
    throw new CommandError(`.env: ${(error as Error).message}`)
  }
}

async function serve(): Promise<void> {
  const settings = await readSettings()
  const { runServer } = await import('./serve.ts')
  await runServer(settings)
}

async function runMigrations(): Promise<void> {
  const { databaseUrl } = await readSettings()
  const { migrate } = await import('../database/migrate.ts')
  const applied = await migrate(databaseUrl)
  for (const name of applied) say(`Applied ${name}.`)
  if (applied.length === 0) say('No migrations to apply.')
}

async function createSuperuser({ username, email, noinput }: Record<string, unknown>): Promise<void> {
  if (noinput && typeof username !== 'string') throw new CommandError('You must use --username with --noinput.')
  await withAuth(async ({ users, settings }) => {
    const owner = {
      username: typeof username === 'string' ? username : await askForText('Username: '),
      email: typeof email === 'string' ? email : noinput ? '' : await askForText('Email address: ')
    }
    const given = process.env.LATCHKEY_SUPERUSER_PASSWORD || null
    const password = noinput ? given : await askForPassword(await validatorFor(settings, owner), true)
    await users.createSuperuser({ ...owner, password })
  })
  say('Superuser created successfully.')
}

async function changePassword(_values: unknown, [username = '']: string[]): Promise<void> {
  await withAuth(async ({ users, settings }) => {
    const user = await users.get('username', username)
    if (user === null) throw new CommandError(`user '${username}' does not exist`)
    say(`Changing password for user '${username}'`)
    await users.setPassword(user.id, await askForPassword(await validatorFor(settings, user)))
  })
  say(`Password changed successfully for user '${username}'`)
}

async function validatorFor(settings: Settings, owner: PasswordOwner): Promise<Validate> {
  const [{ faultsOfPassword }, { passwordRulesOf }] = await Promise.all([
    import('../passwords/validators.ts'),
    import('../passwords/breaches.ts')
  ])
  const rules = passwordRulesOf(settings, (reason) => warn(`the password was not looked up among breaches: ${reason}`))
  return async (password) => (await faultsOfPassword(password, owner, rules)).map(({ message }) => message)
}

async function syncPermissions(options: Record<string, unknown>): Promise<void> {
  const { modelsToSync } = await import('./sync-permissions.ts')
  const models = modelsToSync(options)
  await withAuth(async ({ permissions }) => {
    const made = await permissions.syncPermissions(models)
    say(made.length === 0 ? 'No permissions to make.' : made.map((name) => `Made ${name}.`).join('\n'))
  })
}

async function flushExpiredTokens(): Promise<void> {
  await withAuth(async ({ tokens }) => say(`${await tokens.flushExpiredTokens()} expired tokens and sessions deleted.`))
}

async function clearSessions(): Promise<void> {
  await withAuth(async ({ browserSessions }) =>
    say(`${await browserSessions.clearExpired()} expired sessions deleted.`)
  )
}

async function printKey({ algorithm = 'HS256' }: Record<string, unknown>): Promise<void> {
  const wanted = ALGORITHMS.find((name) => name === algorithm)
  if (wanted === undefined) throw new CommandError(`--algorithm must be one of ${ALGORITHMS.join(', ')}`, 2)
  say(generateKeyText(wanted).trim())
}

async function manageKeys({ now }: Record<string, unknown>, [verb = '', kid]: string[]): Promise<void> {
  const { isKeysCommand, runKeysCommand } = await import('./keys.ts')
  if (!isKeysCommand(verb, kid)) throw new CommandError(`usage: latchkey keys ${COMMANDS.keys?.usage}`, 2)
  await withAuth(async ({ keys }) => say(await runKeysCommand(keys, { verb, kid: kid ?? '', now: now === true })))
}

async function check(): Promise<void> {
  const settings = await readSettings()
  say('Settings: good.')
  const { filePathOf } = await import('../database/url.ts')
  const path = filePathOf(settings.databaseUrl)
  if (path !== null && !existsSync(path)) {
    say('Database: not there yet; the first start makes it, and a key.')
    return
  }
  const { pendingMigrations } = await import('../database/migrate.ts')
  const pending = await pendingMigrations(settings.databaseUrl)
  say('Database: good.')
  await checkKey(settings, path)
  if (pending.length > 0) throw new CommandError(`Migrations: to apply: ${pending.join(', ')}`)
  say('Migrations: all applied.')
}

/** @param path of the embedded database, beside which a key is kept */
async function checkKey(settings: Settings, path: string | null): Promise<void> {
  if (settings.keyEncryptionKey !== null) return say('Keys: in the database.')
  if (settings.signingKey === null && !existsSync(`${path}.key`))
    return say('Key: not there yet; the next start makes it.')
  const { loadSigningKey } = await import('../keys/configured-keys.ts')
  loadSigningKey(settings)
  say('Key: good.')
}

/** The domains without a server. */
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
  return ['usage: latchkey COMMAND', '', ...rows, '', 'Settings come from the environment and from .env.'].join('\n')
}

async function main([name, ...args]: string[]): Promise<void> {
  if (name === undefined || name === 'help' || [name, ...args].includes('--help')) return say(help())
  if (name === '--version') return say(version)
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command === undefined) throw new CommandError(`there is no command ${name}\n\n${help()}`, 2)
  const { values, positionals } = parse(command, args)
  const [least, most] = command.names ?? [0, 0]
  if (positionals.length < least || positionals.length > most) {
    throw new CommandError(`usage: latchkey ${`${name} ${command.usage ?? ''}`.trim()}`, 2)
  }
  await command.run(values, positionals)
}

function parse({ options = {} }: Command, args: string[]) {
  try {
    return parseArgs({ args, options, allowPositionals: true })
  } catch (error) {
    throw new CommandError((error as Error).message, 2)
  }
}

/** An expected fault is a line for each; an unexpected one keeps its stack. */
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

await main(process.argv.slice(2)).catch(report).finally(endQuestions)

/** `latchkey serve`: starts the server, and creates a first superuser in a new embedded database. */
import { createServer as createProbe } from 'node:net'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import type { Link } from '../accounts/accounts.ts'
import { ValidationError } from '../errors.ts'
import type { Auth } from '../plugin.ts'
import type { Settings } from '../settings/schema.ts'
import { version } from '../version.ts'
import { CommandError } from './command-error.ts'

/** A shutdown that takes longer ends the process with an error. */
const SHUTDOWN_TIMEOUT_MS = 10_000

/**
 * Starts the server, which runs until SIGTERM or SIGINT.
 *
 * @throws {CommandError} if the address cannot be used
 * @throws {ImproperlyConfigured} if the database or the signing key cannot be used
 */
export async function runServer(settings: Settings): Promise<void> {
  await assertAddressFree(settings)
  const { createServer } = await import('../server/server.ts')
  const app = await createServer(settings)
  try {
    await start(app)
  } catch (error) {
    await app.close()
    throw error
  }
}

const PROVIDER_NAMES = { sqlite: 'SQLite', postgresql: 'PostgreSQL' }

async function start(app: FastifyInstance): Promise<void> {
  const { settings, database } = app.auth
  // Asked before listening, since a user who registers at once must not prevent the superuser. It is created afterwards,
  // since of several servers that start with one address, the one that listens prints the link.
  const isNew = database.provider === 'sqlite' && (await database.user.count()) === 0
  const address = await app.listen({ host: settings.host, port: settings.port }).catch(throwAddressError(settings))
  const link = isNew ? await createFirstSuperuser(app.auth) : null
  closeWithGrace({ delay: SHUTDOWN_TIMEOUT_MS, logger: app.log }, () => app.close())
  const lines = [
    `Latchkey ${version} is listening on ${address} with ${PROVIDER_NAMES[database.provider]}.`,
    `API documentation: ${address}/docs/`
  ]
  if (link !== null) {
    const url = `${address}/auth/users/reset_password_confirm/`
    lines.push(
      'Superuser created: username admin. Set its password with `npx latchkey changepassword admin`, or once with:',
      `curl ${url} -d uid=${link.uid} -d token=${link.token} -d new_password=…`
    )
  }
  // One write, so that no log line appears in between.
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** Checks the address before anything is written, so that starting a second server by mistake has no effect. */
async function assertAddressFree(settings: Settings): Promise<void> {
  const { host, port } = settings
  const probe = createProbe()
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject).listen({ host, port }, () => probe.close(() => resolve()))
  }).catch(throwAddressError(settings))
}

const throwAddressError =
  ({ host, port }: Settings) =>
  ({ code, message }: NodeJS.ErrnoException): never => {
    const reason = code === 'EADDRINUSE' ? 'is in use; choose another PORT' : `cannot be used: ${message}`
    throw new CommandError(`${host}:${port} ${reason}`)
  }

/**
 * Creates the superuser `admin` in a new embedded database.
 *
 * It has no password: what is printed may be kept in a log, and the link is valid once and for a limited time.
 *
 * @returns the values of the link that sets the password, or null if another process has created it
 */
async function createFirstSuperuser({ accounts, users }: Auth): Promise<Link | null> {
  try {
    const { id } = await users.createSuperuser({ username: 'admin' })
    const user = await users.get('id', id)
    return user && accounts.makePasswordLink(user)
  } catch (error) {
    // Another process that started at the same time has created it.
    if (error instanceof ValidationError) return null
    throw error
  }
}

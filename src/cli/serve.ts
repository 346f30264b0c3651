/** `latchkey serve`: from the settings to a server that listens, and a first superuser on a new embedded database. */
import { createServer as createProbe } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { generateSecret } from '../crypto/jwa.ts'
import { ValidationError } from '../errors.ts'
import type { Auth } from '../plugin.ts'
import type { Settings } from '../settings/schema.ts'
import { version } from '../version.ts'
import { CommandError } from './command-error.ts'

/** Until the process is told to end. */
export async function runServer(settings: Settings): Promise<void> {
  await assertFree(settings)
  // Grown by what starting allocates, V8's young generation would stay so: 20 MB that an idle server has no use for.
  setFlagsFromString('--semi-space-growth-factor=1')
  const { createServer } = await import('../server/server.ts')
  const app = await createServer(settings)
  try {
    await start(app)
    setFlagsFromString('--semi-space-growth-factor=2')
  } catch (error) {
    await app.close()
    throw error
  }
}

async function start(app: FastifyInstance): Promise<void> {
  const { settings, database } = app.auth
  const address = await app.listen({ host: settings.host, port: settings.port }).catch(refuseAddress(settings))
  const admin = await makeFirstUser(app.auth)
  closeWithGrace({ delay: 10_000, logger: app.log }, () => app.close())
  const greeting = [
    `Latchkey ${version} is at ${address} with ${database.provider === 'sqlite' ? 'SQLite' : 'PostgreSQL'}.`,
    `To read and try the API: ${address}/docs/`
  ]
  if (admin !== null) {
    greeting.push(
      `To sign in: name admin, password ${admin}`,
      'This password is shown only once. To change it: npm run latchkey -- changepassword admin'
    )
  }
  // In one piece, lest a log come between.
  process.stdout.write(`${greeting.join('\n')}\n`)
}

/** Before anything is written: a second start by mistake is to leave no trace. */
async function assertFree(settings: Settings): Promise<void> {
  const { host, port } = settings
  const probe = createProbe()
  await new Promise<void>((resolve, reject) => {
    probe.once('error', reject).listen({ host, port }, () => probe.close(() => resolve()))
  }).catch(refuseAddress(settings))
}

const refuseAddress =
  ({ host, port }: Settings) =>
  ({ code, message }: NodeJS.ErrnoException): never => {
    const reason = code === 'EADDRINUSE' ? 'is in use; choose another PORT' : `cannot be used: ${message}`
    throw new CommandError(`${host}:${port} ${reason}`)
  }

/** A new embedded database gets a superuser, so that there is somebody to sign in as. */
async function makeFirstUser({ database, users }: Auth): Promise<string | null> {
  if (database.provider !== 'sqlite' || (await database.user.count()) > 0) return null
  const password = generateSecret().slice(0, 20)
  try {
    await users.createSuperuser({ username: 'admin', password })
    return password
  } catch (error) {
    // Another process, started at the same time, was faster.
    if (error instanceof ValidationError) return null
    throw error
  }
}

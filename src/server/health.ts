/** Health checks: `/health/live` and `/health/ready`. */
import type { FastifyInstance } from 'fastify'
import { ServiceUnavailable } from '../errors.ts'

/**
 * Registers the health checks. The server is live while it responds, and ready while it can handle requests: 503 when the
 * database does not respond, the revocation list is older than `revocationMaxLag`, or the server is shutting down.
 */
export function healthRoutes(app: FastifyInstance, isClosing: () => boolean): void {
  const options = { schema: { hide: true } }
  app.get('/health/live', options, async () => ({ status: 'ok' }))
  app.get('/health/ready', options, async () => {
    if (isClosing()) throw new ServiceUnavailable('The server is shutting down.')
    await assertDatabase(app)
    const { revocations, settings } = app.auth
    if (revocations.secondsSinceSync > settings.revocationMaxLag) {
      throw new ServiceUnavailable('The revocation list is out of date.')
    }
    return { status: 'ok' }
  })
}

/** Reads a table: on SQLite a `SELECT 1` succeeds without access to the file. */
async function assertDatabase({ auth }: FastifyInstance): Promise<void> {
  await auth.database.user.findFirst({ select: { id: true } }).catch((cause: unknown) => {
    // Whatever the error is, this server cannot handle requests.
    throw new ServiceUnavailable(undefined, { cause })
  })
}

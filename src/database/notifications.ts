/** PostgreSQL's notices of new revocations, on a connection of their own. */
import { isEmbedded } from './open.ts'

/** All in milliseconds. */
const PAUSE = { first: 100, longest: 5000 }
const PATIENCE = 5000

/**
 * Calls when something was revoked, and whenever the connection has come back, since something may have been missed. Where
 * there are no notices (SQLite, a pooler that swallows them) it never calls.
 *
 * @returns ends it
 */
export async function listen(databaseUrl: string, onNotice: () => void): Promise<() => Promise<void>> {
  if (isEmbedded(databaseUrl)) return async () => {}
  const { default: pg } = await import('pg')
  let client: InstanceType<typeof pg.Client> | null = null
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  let pause = PAUSE.first

  const again = () => {
    if (isClosed || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      void connect()
    }, pause).unref()
    pause = Math.min(2 * pause, PAUSE.longest)
  }

  async function connect(): Promise<void> {
    const own = new pg.Client({
      connectionString: databaseUrl,
      connectionTimeoutMillis: PATIENCE,
      keepAlive: true,
      keepAliveInitialDelayMillis: PATIENCE
    })
    client = own
    own.on('notification', onNotice)
    own.on('error', () => {})
    own.on('end', again)
    try {
      await own.connect()
      await own.query('LISTEN latchkey_revocation')
      pause = PAUSE.first
      onNotice()
    } catch {
      await own.end().catch(() => {})
      again()
    }
  }

  await connect()
  return async () => {
    isClosed = true
    clearTimeout(timer)
    await client?.end().catch(() => {})
  }
}

/** PostgreSQL's LISTEN, on a connection of its own, which is restored whenever it breaks. */

const RECONNECT_MIN_MS = 100
const RECONNECT_MAX_MS = 5000
const CONNECT_TIMEOUT_MS = 5000
const KEEP_ALIVE_DELAY_MS = 5000

/**
 * Listens to a channel. A pooler in transaction mode does not pass notifications on: callers must also poll.
 *
 * @param onNotice called for each notification, and after each (re)connection, since notifications may have been missed
 * @returns a function that stops listening
 */
export async function listen(databaseUrl: string, channel: string, onNotice: () => void): Promise<() => Promise<void>> {
  const { default: pg } = await import('pg')
  let client: InstanceType<typeof pg.Client> | null = null
  let timer: NodeJS.Timeout | undefined
  let isClosed = false
  let delayMs = RECONNECT_MIN_MS

  const reconnect = () => {
    if (isClosed || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      void connect()
    }, delayMs).unref()
    delayMs = Math.min(2 * delayMs, RECONNECT_MAX_MS)
  }

  async function connect(): Promise<void> {
    const own = new pg.Client({
      connectionString: databaseUrl,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: KEEP_ALIVE_DELAY_MS
    })
    client = own
    own.on('notification', onNotice)
    // Without a listener an 'error' would end the process; 'end' follows it.
    own.on('error', () => {})
    own.on('end', reconnect)
    try {
      await own.connect()
      await own.query(`LISTEN ${own.escapeIdentifier(channel)}`)
      delayMs = RECONNECT_MIN_MS
      onNotice()
    } catch {
      await own.end().catch(() => {})
      reconnect()
    }
  }

  await connect()
  return async () => {
    isClosed = true
    clearTimeout(timer)
    await client?.end().catch(() => {})
  }
}

/** What is left of sessions that are over, and how it goes: in small batches, so that others get their turns. */
import type { Database } from '../database/open.ts'

const BATCH = 500
/** Between two looks, and between two batches while there is more; in milliseconds. */
const PAUSES = { idle: 60_000, busy: 1000 }

/** Deletes all sessions whose last token has expired, and the revocations that no token is left for. @returns how many sessions */
export async function flushExpired(database: Database): Promise<number> {
  let flushed = 0
  for (let batch = BATCH; batch === BATCH; flushed += batch) batch = await flushBatch(database)
  return flushed
}

/**
 * Does the same beside everything else, as long as the process lives.
 *
 * @param onFault told of what cannot be deleted now, and will be later
 * @returns ends it
 */
export function keepFlushing(database: Database, onFault: (error: unknown) => void): () => void {
  let timer = setTimeout(flush, PAUSES.idle).unref()
  let isClosed = false
  async function flush() {
    const batch = await flushBatch(database).catch((error) => {
      if (!isClosed) onFault(error)
      return 0
    })
    if (!isClosed) timer = setTimeout(flush, batch === BATCH ? PAUSES.busy : PAUSES.idle).unref()
  }
  return () => {
    isClosed = true
    clearTimeout(timer)
  }
}

async function flushBatch({ session, revocation }: Database): Promise<number> {
  const now = new Date()
  const where = { idleExpiresAt: { lt: now } }
  const expired = await session.findMany({ where, select: { id: true }, take: BATCH })
  // Again with the condition: one may have been refreshed meanwhile.
  if (expired.length > 0) await session.deleteMany({ where: { ...where, id: { in: expired.map(({ id }) => id) } } })
  await revocation.deleteMany({ where: { expiresAt: { lt: now } } })
  return expired.length
}

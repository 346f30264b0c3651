/** Deletes expired sessions and revocations, in small batches so that other statements are not delayed. */
import type { Database } from '../database/open.ts'

const BATCH_SIZE = 500
const INTERVAL_MS = 60_000
/** Between two batches while there is more to delete. */
const BATCH_INTERVAL_MS = 1000

/** Deletes all sessions whose last token has expired, and expired revocations. @returns the number of sessions */
export async function deleteExpired(database: Database): Promise<number> {
  let deleted = 0
  for (let batch = BATCH_SIZE; batch === BATCH_SIZE; deleted += batch) batch = await deleteBatch(database)
  return deleted
}

/**
 * Does the same in the background until it is stopped.
 *
 * @param onFault called with an error; the next attempt follows
 * @returns stops it
 */
export function startCleanup(database: Database, onFault: (error: unknown) => void): () => void {
  let timer = setTimeout(run, INTERVAL_MS).unref()
  let isClosed = false
  async function run() {
    const batch = await deleteBatch(database).catch((error) => {
      if (!isClosed) onFault(error)
      return 0
    })
    if (!isClosed) timer = setTimeout(run, batch === BATCH_SIZE ? BATCH_INTERVAL_MS : INTERVAL_MS).unref()
  }
  return () => {
    isClosed = true
    clearTimeout(timer)
  }
}

async function deleteBatch({ session, revocation }: Database): Promise<number> {
  const now = new Date()
  const where = { idleExpiresAt: { lt: now } }
  const expired = await session.findMany({ where, select: { id: true }, take: BATCH_SIZE })
  // The condition again: a session may have been refreshed meanwhile.
  if (expired.length > 0) await session.deleteMany({ where: { ...where, id: { in: expired.map(({ id }) => id) } } })
  await revocation.deleteMany({ where: { expiresAt: { lt: now } } })
  return expired.length
}

/** What to do when another transaction was there first. */
import { isDeadlock, isForeignKeyViolation, isMissingRow, isUniqueViolation } from './errors.ts'

const MAX_ATTEMPTS = 5

/**
 * Does again what a rival got in the way of: the next attempt reads what it has made, or finds gone what it has deleted.
 *
 * @param attempt reads, then changes all or nothing
 */
export async function amongRivals<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt()
    } catch (error) {
      if (attempts === MAX_ATTEMPTS || !isOfRivals(error)) throw error
    }
  }
}

/** A row was there already, another was gone or no longer the same, or two transactions have waited for each other. */
const isOfRivals = (error: unknown): boolean =>
  isUniqueViolation(error) || isForeignKeyViolation(error) || isMissingRow(error) || isDeadlock(error)

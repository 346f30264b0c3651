/** What to do when another transaction was there first. */
import { DatabaseUnavailable, isDeadlock, isForeignKeyViolation, isMissingRow, isUniqueViolation } from './errors.ts'

const MAX_ATTEMPTS = 5

/**
 * Does again what a rival got in the way of: the next attempt reads what it has made, or finds gone what it has deleted.
 *
 * @param attempt reads, then changes all or nothing
 * @throws {DatabaseUnavailable} if a row never stays as it is for long enough
 */
export async function amongRivals<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt()
    } catch (error) {
      if (!isOfRivals(error)) throw error
      if (attempts === MAX_ATTEMPTS)
        throw isMissingRow(error) ? new DatabaseUnavailable(undefined, { cause: error }) : error
    }
  }
}

/** A row was there already, another was gone or no longer the same, or two transactions have waited for each other. */
const isOfRivals = (error: unknown): boolean =>
  isUniqueViolation(error) || isForeignKeyViolation(error) || isMissingRow(error) || isDeadlock(error)

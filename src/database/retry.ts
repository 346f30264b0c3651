/** Retries of operations that conflict with another transaction. */
import { DatabaseUnavailable, isDeadlock, isForeignKeyViolation, isMissingRow, isUniqueViolation } from './errors.ts'

const MAX_ATTEMPTS = 5

/**
 * Repeats an operation that lost a race against another transaction. The next attempt sees what that transaction committed.
 *
 * @param attempt reads the rows, then changes all of them or none
 * @returns the result of the first attempt that succeeds
 * @throws {DatabaseUnavailable} if the row to change is missing in all five attempts, so that the client may try again later
 * @throws the error of the fifth attempt if it is another conflict, or at once any error that is none
 */
export async function retryOnConflict<Result>(attempt: () => Promise<Result>): Promise<Result> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await attempt()
    } catch (error) {
      if (!isConflict(error)) throw error
      if (attempts === MAX_ATTEMPTS) {
        throw isMissingRow(error) ? new DatabaseUnavailable(undefined, { cause: error }) : error
      }
    }
  }
}

const isConflict = (error: unknown): boolean =>
  isUniqueViolation(error) || isForeignKeyViolation(error) || isMissingRow(error) || isDeadlock(error)

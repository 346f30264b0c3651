/** Comparison of secrets. */
import { timingSafeEqual } from 'node:crypto'

/**
 * Compares two strings as UTF-8, as Django's `constant_time_compare` does. The time depends on their lengths only, so that
 * it does not reveal how many leading characters of a guess are right.
 */
export function constantTimeEqual(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}

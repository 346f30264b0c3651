/**
 * How long the refusal of a login takes: as long as the slowest check of a password in the last minutes, by waiting. Hashes
 * of different algorithms would otherwise reveal which users exist (user enumeration).
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** A slow check is remembered for one to two of these. */
const WINDOW_MS = 300_000
/** One check that was slow because the machine was busy must not delay refusals for long. */
const MAX_MS = 5000

export class RefusalTime {
  #startedAt = 0
  #current = 0
  #previous = 0

  /** @param ms the time that a check took */
  record(ms: number, now = performance.now()): void {
    this.#forget(now)
    this.#current = Math.max(this.#current, Math.min(ms, MAX_MS))
  }

  /** Returns the milliseconds that remain after a check that took `ms`. */
  remainingAfter(ms: number, now = performance.now()): number {
    this.#forget(now)
    return Math.max(0, Math.max(this.#current, this.#previous) - ms)
  }

  /** Waits for what remains after a check that took `ms`. */
  async wait(ms: number): Promise<void> {
    const remaining = this.remainingAfter(ms)
    if (remaining > 0) await sleep(Math.ceil(remaining))
  }

  #forget(now: number): void {
    const age = now - this.#startedAt
    if (age < WINDOW_MS) return
    this.#previous = age < 2 * WINDOW_MS ? this.#current : 0
    this.#current = 0
    this.#startedAt = now
  }
}

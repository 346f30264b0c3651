/**
 * Keeps hashing from taking the whole machine: as many at a time as there are cores, and a short line behind them.
 *
 * There is one line for the process, since its cores are shared by all that runs in it.
 */
import { availableParallelism } from 'node:os'
import { ServiceUnavailable } from '../errors.ts'

const MAX_RUNNING = availableParallelism()
const MAX_WAITING = 100

/** Too many passwords are waiting to be hashed: nothing was done, try again later. */
export class HashingOverloaded extends ServiceUnavailable {}

let running = 0
const waiting: (() => void)[] = []

/**
 * Runs a job when its turn comes, first come, first served.
 *
 * @throws {HashingOverloaded} when 100 are waiting already
 */
export async function whenItsTurnComes<Result>(job: () => Promise<Result>): Promise<Result> {
  await enter()
  try {
    return await job()
  } finally {
    leave()
  }
}

function enter(): Promise<void> {
  if (running < MAX_RUNNING) {
    running++
    return Promise.resolve()
  }
  if (waiting.length >= MAX_WAITING) return Promise.reject(new HashingOverloaded())
  return new Promise((resolve) => waiting.push(resolve))
}

function leave(): void {
  const next = waiting.shift()
  // The place goes from hand to hand, so that nobody can slip in between.
  if (next) next()
  else running--
}

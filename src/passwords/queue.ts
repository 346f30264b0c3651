/**
 * Limits concurrent password hashing to the number of cores, with a bounded queue, so that a burst of logins cannot
 * exhaust memory or delay every other request.
 *
 * The queue is shared by the whole process, like the cores.
 */
import { availableParallelism } from 'node:os'
import { ServiceUnavailable } from '../errors.ts'

const MAX_RUNNING = availableParallelism()
const MAX_WAITING = 100

/** 503: the queue of passwords to hash is full. Nothing was hashed; the client may retry. */
export class HashingOverloaded extends ServiceUnavailable {}

let running = 0
const waiting: (() => void)[] = []

/**
 * Runs a job as soon as a slot is free, in the order of the calls.
 *
 * @throws {HashingOverloaded} if 100 jobs are waiting; and any error of the job
 */
export async function runQueued<Result>(job: () => Promise<Result>): Promise<Result> {
  await acquireSlot()
  try {
    return await job()
  } finally {
    releaseSlot()
  }
}

function acquireSlot(): Promise<void> {
  if (running < MAX_RUNNING) {
    running++
    return Promise.resolve()
  }
  if (waiting.length >= MAX_WAITING) return Promise.reject(new HashingOverloaded())
  return new Promise((resolve) => waiting.push(resolve))
}

function releaseSlot(): void {
  const next = waiting.shift()
  // Without decrementing `running`, so that a new job cannot take the slot before the waiting one.
  if (next) next()
  else running--
}

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
/** A job that would wait longer, or has waited longer, is rejected. */
const MAX_WAIT_MS = 10_000

/** 503: too many passwords are waiting to be hashed. Nothing was hashed; the client may retry. */
export class HashingOverloaded extends ServiceUnavailable {
  constructor() {
    super()
    this.headers['retry-after'] = String(Math.max(1, Math.ceil(waitMs() / 1000)))
  }
}

interface WaitingJob {
  since: number
  /** True if the client has closed the connection. */
  isAbandoned: () => boolean
  start: () => void
  reject: (error: HashingOverloaded) => void
}

let running = 0
let waiting: WaitingJob[] = []
/** The moving average of how long a job takes. */
let averageMs = 0

/** Milliseconds that a new job would wait. */
const waitMs = () => (waiting.length * averageMs) / MAX_RUNNING

/**
 * Rejects work early, before it costs a query.
 *
 * @throws {HashingOverloaded} if 100 jobs are waiting, or the last of them for more than ten seconds
 */
export function assertRoom(): void {
  if (isFull()) dropAbandoned()
  if (isFull()) throw new HashingOverloaded()
}

function dropAbandoned(): void {
  const all = waiting
  waiting = all.filter(({ isAbandoned }) => !isAbandoned())
  for (const { isAbandoned, reject } of all) if (isAbandoned()) reject(new HashingOverloaded())
}

const isFull = () => waiting.length >= MAX_WAITING || waitMs() > MAX_WAIT_MS

/**
 * Runs a job as soon as a slot is free, in the order of the calls.
 *
 * @param isAbandoned true if nobody waits for the result any more; the job then loses its place
 * @throws {HashingOverloaded} as assertRoom, or after ten seconds of waiting; and any error of the job
 */
export async function runQueued<Result>(job: () => Promise<Result>, isAbandoned = () => false): Promise<Result> {
  await acquireSlot(isAbandoned)
  const startedAt = performance.now()
  try {
    return await job()
  } finally {
    averageMs += (performance.now() - startedAt - averageMs) / 8
    releaseSlot()
  }
}

async function acquireSlot(isAbandoned: () => boolean): Promise<void> {
  if (running < MAX_RUNNING) {
    running++
    return
  }
  assertRoom()
  await new Promise<void>((start, reject) => waiting.push({ since: performance.now(), isAbandoned, start, reject }))
}

function releaseSlot(): void {
  let next = waiting.shift()
  while (next !== undefined && (next.isAbandoned() || performance.now() - next.since > MAX_WAIT_MS)) {
    next.reject(new HashingOverloaded())
    next = waiting.shift()
  }
  // Without decrementing `running`, so that a new job cannot take the slot before the waiting one.
  if (next !== undefined) next.start()
  else running--
}

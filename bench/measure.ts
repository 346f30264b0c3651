/** Measures contestants in turn in short rounds and takes the best round of each, so that disturbances affect all. */

export type Contestants = Record<string, () => unknown>

export interface Rounds {
  rounds?: number
  /** Calls per round. */
  calls?: number
}

/** Prints the best time of each contestant and its ratio to that of the first. */
export async function compare(question: string, contestants: Contestants, { rounds = 15, calls = 1000 }: Rounds = {}) {
  const best = new Map(Object.keys(contestants).map((name) => [name, Number.POSITIVE_INFINITY]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, act] of Object.entries(contestants)) {
      best.set(name, Math.min(best.get(name) as number, await timeOf(act, calls)))
    }
  }
  const [first = 1] = best.values()
  console.log(`\n${question}`)
  for (const [name, time] of best) {
    console.log(`  ${time.toFixed(2).padStart(9)} µs  ${(time / first).toFixed(2).padStart(6)} ×  ${name}`)
  }
}

/** Returns the time per call in microseconds. */
async function timeOf(act: () => unknown, calls: number): Promise<number> {
  const start = performance.now()
  for (let call = 0; call < calls; call++) {
    const result = act() as PromiseLike<unknown> | undefined
    // Awaiting a value that is not a promise costs as much as some of the measured calls.
    if (typeof result?.then === 'function') await result
  }
  return (1000 * (performance.now() - start)) / calls
}

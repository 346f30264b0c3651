/** Abort signals, also of platforms that only implement parts of them. */

/**
 * Waits for `work`, which is not started if the signal is aborted, and continues in the background if it is aborted
 * later.
 *
 * @throws the signal's reason, as `fetch` does, as soon as it is aborted
 */
export async function waitUnlessAborted<T>(signal: AbortSignal | null, work: () => Promise<T>): Promise<T> {
  if (signal === null) return work()
  if (signal.aborted) throw reasonOf(signal)
  let abort = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(reasonOf(signal))
  })
  signal.addEventListener('abort', abort)
  try {
    return await Promise.race([work(), aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

/** React Native has signals without a reason, and no DOMException. */
const reasonOf = (signal: AbortSignal): unknown =>
  signal.reason ?? Object.assign(new Error('This operation was aborted.'), { name: 'AbortError' })

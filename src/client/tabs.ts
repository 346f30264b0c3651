/**
 * Coordination with other tabs of the same browser. Where the browser APIs are missing, such as in React Native, it
 * does nothing.
 */

/** A message to the other tabs: the user has logged in or out. */
export type TabMessage = 'in' | 'out'

interface Channel {
  postMessage(message: TabMessage): void
  addEventListener(type: 'message', listener: (event: { data: TabMessage }) => void): void
  /** Node.js only: an open channel would keep the process running. */
  unref?(): void
}

interface Locks {
  request<T>(name: string, options: { ifAvailable?: boolean }, work: (lock: unknown) => Promise<T>): Promise<T>
}

interface Browser {
  navigator?: { locks?: Locks }
  BroadcastChannel?: new (name: string) => Channel
}

const browser = globalThis as unknown as Browser

/**
 * Runs `work` while no other tab holds the lock of this name (Web Locks API). Without that API, two tabs may use the
 * same refresh token concurrently: within the grace period, the server returns the same successor to both.
 *
 * @param work receives true if it had to wait for another tab
 */
export async function withTabLock<T>(name: string, work: (hasWaited: boolean) => Promise<T>): Promise<T> {
  const locks = browser.navigator?.locks
  if (!locks) return work(false)
  const immediate = await locks.request(name, { ifAvailable: true }, async (lock) =>
    lock ? { result: await work(false) } : null
  )
  return immediate ? immediate.result : locks.request(name, {}, () => work(true))
}

/**
 * Opens a BroadcastChannel between the tabs.
 *
 * @param onMessage called with the messages of other tabs
 * @returns a function that sends a message to the other tabs
 */
export function openTabChannel(name: string, onMessage: (message: TabMessage) => void): (message: TabMessage) => void {
  const channel = browser.BroadcastChannel && new browser.BroadcastChannel(name)
  channel?.addEventListener('message', ({ data }) => onMessage(data))
  channel?.unref?.()
  return (message) => channel?.postMessage(message)
}

/** Other tabs of the same browser. Where there is no such thing, as in React Native, there is one tab. */

/** What a tab tells the others. */
export type News = 'in' | 'out'

interface Channel {
  postMessage(news: News): void
  addEventListener(type: 'message', listener: (event: { data: News }) => void): void
  /** Of Node.js, whose processes would not end otherwise. */
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
 * Does the work while no other tab does any. Where there are no locks two tabs may show the same refresh token: within
 * the grace, the server gives both the same successor.
 *
 * @param work is told whether it had to wait for another tab
 */
export async function takeTurn<T>(name: string, work: (hasWaited: boolean) => Promise<T>): Promise<T> {
  const locks = browser.navigator?.locks
  if (!locks) return work(false)
  const atOnce = await locks.request(name, { ifAvailable: true }, async (lock) =>
    lock ? { done: await work(false) } : null
  )
  return atOnce ? atOnce.done : locks.request(name, {}, () => work(true))
}

/** @param onNews what others tell */
export function tellingOthers(name: string, onNews: (news: News) => void): (news: News) => void {
  const channel = browser.BroadcastChannel && new browser.BroadcastChannel(name)
  channel?.addEventListener('message', ({ data }) => onNews(data))
  channel?.unref?.()
  return (news) => channel?.postMessage(news)
}

/** Other tabs of the same browser. Where there is no such thing, as in React Native, there is one tab. */

/** What a tab tells the others. */
export type News = 'in' | 'out'

interface Channel {
  postMessage(news: News): void
  addEventListener(type: 'message', listener: (event: { data: News }) => void): void
  /** Of Node.js, whose processes would not end otherwise. */
  unref?(): void
}

interface Browser {
  navigator?: { locks?: { request<T>(name: string, work: () => Promise<T>): Promise<T> } }
  BroadcastChannel?: new (name: string) => Channel
}

const browser = globalThis as unknown as Browser

export interface Tabs {
  /** Does the work while no other tab does any. */
  takeTurn<T>(work: () => Promise<T>): Promise<T>
  tell(news: News): void
}

/** @param onNews what others tell */
export function tabsOf(name: string, onNews: (news: News) => void): Tabs {
  const channel = browser.BroadcastChannel && new browser.BroadcastChannel(name)
  channel?.addEventListener('message', ({ data }) => onNews(data))
  channel?.unref?.()
  return {
    // Without locks two tabs may show the same refresh token: within the grace the server gives both the same successor.
    takeTurn: (work) => browser.navigator?.locks?.request(name, work) ?? work(),
    tell: (news) => channel?.postMessage(news)
  }
}

export const ALONE: Tabs = { takeTurn: (work) => work(), tell: () => undefined }

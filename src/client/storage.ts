/** Where tokens are kept. */

/**
 * A place for texts, synchronous or not. React Native's AsyncStorage needs its two methods renamed:
 * `{ get: AsyncStorage.getItem, set: AsyncStorage.setItem, remove: AsyncStorage.removeItem }`.
 */
export interface ClientStorage {
  get(key: string): string | null | undefined | Promise<string | null | undefined>
  set(key: string, value: string): unknown
  remove(key: string): unknown
  /** Calls back whenever another tab has changed that. Tabs that share a storage take turns to refresh. */
  watch?(key: string, onChange: () => void): void
}

/** Gone with the page or the process. */
export function memoryStorage(): ClientStorage {
  const values = new Map<string, string>()
  return {
    get: (key) => values.get(key),
    set: (key, value) => values.set(key, value),
    remove: (key) => values.delete(key)
  }
}

/** What `localStorage` and `sessionStorage` have in common. */
interface WebStorage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

type ListenToStorage = (
  type: 'storage',
  listener: (event: { key: string | null; storageArea: unknown }) => void
) => void

/** @param area `localStorage`, for a login that all tabs share, or `sessionStorage`, for one in this tab */
export function webStorage(area: WebStorage): ClientStorage {
  return {
    get: (key) => area.getItem(key),
    set: (key, value) => area.setItem(key, value),
    remove: (key) => area.removeItem(key),
    watch: (key, onChange) => {
      const { addEventListener } = globalThis as unknown as { addEventListener?: ListenToStorage }
      // Without a key, all has been removed.
      addEventListener?.('storage', (event) => {
        if (event.storageArea === area && (event.key ?? key) === key) onChange()
      })
    }
  }
}

/** The page's `localStorage`, where there is one that may be used. */
export function localStorageIfAny(): ClientStorage {
  try {
    const { localStorage } = globalThis as unknown as { localStorage?: WebStorage }
    return localStorage ? webStorage(localStorage) : memoryStorage()
  } catch {
    // Sandboxed pages may not even look at it.
    return memoryStorage()
  }
}

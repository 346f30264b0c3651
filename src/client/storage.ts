/** Storage of the client's tokens. */

/**
 * A key-value store, synchronous or asynchronous. For React Native's AsyncStorage, rename its methods:
 * `{ get: AsyncStorage.getItem, set: AsyncStorage.setItem, remove: AsyncStorage.removeItem }`.
 */
export interface ClientStorage {
  get(key: string): string | null | undefined | Promise<string | null | undefined>
  set(key: string, value: string): unknown
  remove(key: string): unknown
  /** Calls `onChange` whenever another tab changes the value. Tabs with such a shared storage refresh one at a time. */
  watch?(key: string, onChange: () => void): void
}

/** Returns a storage in memory, which is lost when the page or process ends. */
export function memoryStorage(): ClientStorage {
  const values = new Map<string, string>()
  return {
    get: (key) => values.get(key),
    set: (key, value) => values.set(key, value),
    remove: (key) => values.delete(key)
  }
}

/** The common interface of `localStorage` and `sessionStorage`. */
interface WebStorage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

type AddStorageListener = (
  type: 'storage',
  listener: (event: { key: string | null; storageArea: unknown }) => void
) => void

/**
 * Returns a storage in the Web Storage API.
 *
 * @param area `localStorage`, which all tabs share, or `sessionStorage`, which is per tab
 */
export function webStorage(area: WebStorage): ClientStorage {
  return {
    get: (key) => area.getItem(key),
    set: (key, value) => area.setItem(key, value),
    remove: (key) => area.removeItem(key),
    watch: (key, onChange) => {
      const { addEventListener } = globalThis as unknown as { addEventListener?: AddStorageListener }
      // The key is null if the other tab has called `clear()`.
      addEventListener?.('storage', (event) => {
        if (event.storageArea === area && (event.key ?? key) === key) onChange()
      })
    }
  }
}

/** Returns the page's `localStorage`, or a storage in memory if it does not exist or cannot be accessed. */
export function localStorageIfAvailable(): ClientStorage {
  try {
    const { localStorage } = globalThis as unknown as { localStorage?: WebStorage }
    return localStorage ? webStorage(localStorage) : memoryStorage()
  } catch {
    // In a sandboxed page, reading the property throws a SecurityError.
    return memoryStorage()
  }
}

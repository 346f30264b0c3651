/** Look-up of passwords in the Pwned Passwords API, or another server with the same range API. */
import { createHash } from 'node:crypto'
import { boundedFetch } from '../bounded-fetch.ts'

/** The largest responses have about 50,000 bytes. */
const FETCH_LIMITS = { timeoutMs: 2000, maxBytes: 256 * 1024 }
/** Minimum time between two calls of `onFault`. */
const REPORT_INTERVAL_MS = 60_000
/** The number of digits of a SHA-1 hash that are sent. */
const PREFIX_LENGTH = 5
/** The rest of each hash with that prefix, and the number of its occurrences in breaches. */
const HASH_LIST = /^[0-9A-F]{35}:\d+(\r?\n[0-9A-F]{35}:\d+)*\s*$/i

/**
 * Creates a function that checks whether a password was part of a known data breach. If the look-up fails, it returns
 * false: an outage of the API must not prevent users from setting a password.
 *
 * k-anonymity: only the first five digits of the password's SHA-1 hash are sent, which thousands of passwords share.
 *
 * @param url the address to which the digits are appended
 * @param onFault called with the reason of a failed look-up, at most once a minute
 */
export function createBreachCheck(
  url: string,
  onFault: (reason: string) => void
): (password: string) => Promise<boolean> {
  let reportedAtMs = Number.NEGATIVE_INFINITY
  return async (password) => {
    // The API requires SHA-1. The hash is not stored.
    const hash = createHash('sha1').update(password).digest('hex').toUpperCase()
    try {
      return isListed(await fetchHashes(url + hash.slice(0, PREFIX_LENGTH)), hash.slice(PREFIX_LENGTH))
    } catch (error) {
      if (performance.now() - reportedAtMs < REPORT_INTERVAL_MS) return false
      reportedAtMs = performance.now()
      onFault(reasonOf(error))
      return false
    }
  }
}

async function fetchHashes(url: string): Promise<string> {
  // Padding with unused entries, so that the length of the encrypted response does not reveal the prefix.
  const headers = { accept: 'text/plain', 'add-padding': 'true' }
  return (await boundedFetch(url, headers, FETCH_LIMITS)).toString('latin1')
}

function isListed(list: string, suffix: string): boolean {
  if (!HASH_LIST.test(list)) throw new Error('the response is not a list of password hashes')
  const line = list
    .toUpperCase()
    .split(/\r?\n/)
    .find((entry) => entry.startsWith(`${suffix}:`))
  // The count of a padding entry is 0.
  return line !== undefined && Number(line.slice(suffix.length + 1)) > 0
}

/** The reason without the URL, which ends with digits of the password's hash. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : message
}

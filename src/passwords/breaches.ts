/** What the settings ask of a new password: a length, and that it was in no breach that others know of. */
import { createHash } from 'node:crypto'
import { boundedFetch } from '../bounded-fetch.ts'
import type { Settings } from '../settings/schema.ts'
import type { PasswordRules } from './validators.ts'

/** The longest lists have some 50,000 bytes. */
const FETCH_LIMITS = { timeoutMs: 2000, maxBytes: 256 * 1024 }
/** Least time between two reports of a fault. */
const REPORT_INTERVAL_MS = 60_000
/** A list of hashes without their first five digits, each with how often it was seen. */
const LIST = /^[0-9A-F]{35}:\d+(\r?\n[0-9A-F]{35}:\d+)*\s*$/i

/** @param onFault told, at most once a minute, why a password could not be looked up; it passes then */
export function passwordRulesOf(
  { passwordMinLength, passwordBreachedUrl: url }: Settings,
  onFault: (reason: string) => void
): PasswordRules {
  return { minLength: passwordMinLength, ...(url !== null && { isBreached: breachCheck(url, onFault) }) }
}

/** By k-anonymity: five digits of a hash leave, which thousands of passwords share, and the rest is compared here. */
function breachCheck(url: string, onFault: (reason: string) => void): (password: string) => Promise<boolean> {
  let toldAt = Number.NEGATIVE_INFINITY
  return async (password) => {
    // What such lists are made of; it protects nothing here.
    const hash = createHash('sha1').update(password).digest('hex').toUpperCase()
    try {
      return isListed(await listAt(url + hash.slice(0, 5)), hash.slice(5))
    } catch (error) {
      if (performance.now() - toldAt < REPORT_INTERVAL_MS) return false
      toldAt = performance.now()
      onFault(reasonOf(error))
      return false
    }
  }
}

async function listAt(url: string): Promise<string> {
  // Padding with unused entries, so that the length of the encrypted response does not reveal the prefix.
  const headers = { accept: 'text/plain', 'add-padding': 'true' }
  return (await boundedFetch(url, headers, FETCH_LIMITS)).toString('latin1')
}

function isListed(list: string, rest: string): boolean {
  if (!LIST.test(list)) throw new Error('the answer is no list of hashes')
  const line = list
    .toUpperCase()
    .split(/\r?\n/)
    .find((entry) => entry.startsWith(`${rest}:`))
  // An entry that only pads was seen no time.
  return line !== undefined && Number(line.slice(rest.length + 1)) > 0
}

/** Without the address, whose end is of the password's hash. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : message
}

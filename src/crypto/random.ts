/** Random text from the operating system's generator, for secrets and for ids that must not be guessable. */
import { randomBytes, randomInt, randomUUID } from 'node:crypto'

/** Django's RANDOM_STRING_CHARS: 62 characters. */
export const ALPHANUMERIC = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'

/** Django's `get_random_string`: characters of the alphabet, each equally likely. */
export function randomText(length: number, alphabet: string = ALPHANUMERIC): string {
  return Array.from({ length }, () => alphabet.charAt(randomInt(alphabet.length))).join('')
}

/** Lower-case hexadecimal digits, two for each byte. */
export const randomHex = (bytes: number): string => randomBytes(bytes).toString('hex')

/** Python's `uuid4().hex`: a random UUID of 32 lower-case hexadecimal digits, without hyphens. */
export const uuidHex = (): string => randomUUID().replaceAll('-', '')

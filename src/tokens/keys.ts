/** The secret that signs tokens: from the settings, or made once and kept beside an embedded database. */
import { randomBytes } from 'node:crypto'
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { weaknessOfSecret } from '../config.ts'
import { pathOfUrl } from '../database/sqlite.ts'
import { ImproperlyConfigured } from '../errors.ts'
import type { Settings } from '../settings.ts'

/** 384 random bits in base64url: 64 characters. */
export const generateKey = (): string => randomBytes(48).toString('base64url')

/**
 * The secret to sign with. Without `signingKey`, it is read from the file beside the embedded database, which is made
 * first if it is not there, with mode 0600.
 *
 * @throws {ImproperlyConfigured} if that file cannot be read or holds no good secret
 */
export function loadSigningKey({ signingKey, databaseUrl }: Settings): string {
  if (signingKey !== null) return signingKey
  const path = `${pathOfUrl(databaseUrl)}.key`
  try {
    const key = readKey(path) ?? makeKey(path)
    const weakness = weaknessOfSecret(key)
    if (weakness === undefined) return key
    throw new ImproperlyConfigured([`${path}: the key in it ${weakness}`])
  } catch (error) {
    if (error instanceof ImproperlyConfigured) throw error
    throw new ImproperlyConfigured([`${path}: ${(error as Error).message}`], { cause: error })
  }
}

function readKey(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Written aside and then linked, so that of several processes one wins and nobody reads half a key. */
function makeKey(path: string): string {
  const draft = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`
  writeFileSync(draft, `${generateKey()}\n`, { mode: 0o600, flag: 'wx', flush: true })
  try {
    linkSync(draft, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(draft)
  }
  return readFileSync(path, 'utf8').trim()
}

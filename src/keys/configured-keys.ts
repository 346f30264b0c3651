/** The keys that sign and verify tokens: those of the settings, or one made and kept beside an embedded database. */
import type { KeyObject } from 'node:crypto'
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import {
  generateSecret,
  isSymmetric,
  publicJwk,
  readSigningKey,
  thumbprintOf,
  UnfitKey,
  verifyingPart
} from '../crypto/jwa.ts'
import { randomHex } from '../crypto/random.ts'
import { filePathOf } from '../database/url.ts'
import { ImproperlyConfigured } from '../errors.ts'
import { fallbackOf } from '../settings/load.ts'
import type { Settings } from '../settings/schema.ts'
import { type CreateVerifier, fallbackKeys, type KeySet, signingKey } from './key-set.ts'

/** As in SimpleJWT: one key signs, and no token names it. Others verify what was signed before. */
export async function fixedKeys(settings: Settings, createVerifier: CreateVerifier): Promise<KeySet> {
  const { algorithm } = settings
  const own = loadSigningKey(settings)
  const verifying = verifyingPart(own)
  const keys = [{ algorithm, verify: await createVerifier(algorithm, verifying), acceptedUntil: Infinity }]
  keys.push(...(await fallbackKeys(settings, createVerifier)))
  const published = verifying.type === 'secret' ? [] : [publicJwk(verifying, thumbprintOf(verifying), algorithm)]
  return {
    signing: signingKey(algorithm, own),
    find: async (wanted) => keys.filter((key) => key.algorithm === wanted),
    published: () => published,
    close: () => undefined
  }
}

/**
 * The key to sign with. Without `signingKey`, a secret is read from the file beside the embedded database, which is made
 * first if it is not there, with mode 0600.
 *
 * @throws {ImproperlyConfigured} if that file cannot be read or holds no good secret
 */
export function loadSigningKey({ signingKey, algorithm, databaseUrl }: Settings): KeyObject {
  if (signingKey !== null) return readSigningKey(signingKey, algorithm)
  const path = `${filePathOf(databaseUrl)}.key`
  try {
    return readSigningKey(readKey(path) ?? makeKey(path), algorithm)
  } catch (error) {
    const { message } = error as Error
    const fault = error instanceof UnfitKey ? `the key in it ${message}` : message
    throw new ImproperlyConfigured([`${path}: ${fault}`], { cause: error })
  }
}

/**
 * Django's SECRET_KEY, and then those that were in its place before. Unless it is set, it is what tokens are signed with, as
 * SimpleJWT signs with it unless told otherwise.
 */
export function loadSecrets(settings: Settings): [string, ...string[]] {
  const { secretKey, secretKeyFallbacks, signingKey, keyEncryptionKey, signingKeyFallbacks, algorithm } = settings
  if (secretKey !== null) return [secretKey, ...secretKeyFallbacks]
  const secret = signingKey ?? keyEncryptionKey ?? loadSigningKey(settings).export().toString()
  // Of another kind they are public, and would let anybody make links and sessions.
  const older = signingKeyFallbacks
    .map((text) => fallbackOf(text, algorithm))
    .filter((fallback) => isSymmetric(fallback.algorithm))
  return [secret, ...secretKeyFallbacks, ...older.map(({ key }) => key)]
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
  const draft = `${path}.${process.pid}.${randomHex(4)}`
  writeFileSync(draft, `${generateSecret()}\n`, { mode: 0o600, flag: 'wx', flush: true })
  try {
    linkSync(draft, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(draft)
  }
  return readFileSync(path, 'utf8').trim()
}

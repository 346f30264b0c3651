/** The keys of the settings, and the secret that is generated beside an embedded database if no key is set. */
import type { KeyObject } from 'node:crypto'
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import {
  generateSecret,
  InvalidKey,
  isSymmetric,
  publicJwk,
  readSigningKey,
  readVerifyingKey,
  thumbprintOf,
  verifyingPart
} from '../crypto/jwa.ts'
import { randomHex } from '../crypto/random.ts'
import { filePathOf } from '../database/url.ts'
import { ImproperlyConfigured } from '../errors.ts'
import { fallbackOf } from '../settings/checks.ts'
import type { Settings } from '../settings/schema.ts'
import { createSigningKey, type KeySet, type VerifyingKey } from './key-set.ts'
import { createVerifier } from './verify-signature.ts'

/**
 * Loads the signing key and its fallbacks. As in SimpleJWT, tokens have no `kid`.
 *
 * @throws {ImproperlyConfigured} see `loadSigningKey`
 */
export async function loadConfiguredKeys(settings: Settings): Promise<KeySet> {
  const { algorithm } = settings
  const key = loadSigningKey(settings)
  const verifying = verifyingPart(key)
  const verify = await createVerifier(algorithm, verifying)
  const keys = [{ algorithm, verify, acceptedUntil: Infinity }, ...(await loadFallbackKeys(settings))]
  const published = verifying.type === 'secret' ? [] : [publicJwk(verifying, thumbprintOf(verifying), algorithm)]
  return {
    signing: createSigningKey(algorithm, key),
    find: async (wanted) => keys.filter((key) => key.algorithm === wanted),
    published: () => published,
    close: () => undefined
  }
}

/** Loads the keys of SIGNING_KEY_FALLBACKS, which verify tokens but do not sign. */
export function loadFallbackKeys(settings: Settings): Promise<VerifyingKey[]> {
  return Promise.all(
    settings.signingKeyFallbacks.map(async (text) => {
      const { algorithm, key } = fallbackOf(text, settings.algorithm)
      const verify = await createVerifier(algorithm, readVerifyingKey(key, algorithm))
      return { algorithm, verify, acceptedUntil: Infinity }
    })
  )
}

/** The path of the generated secret, beside the SQLite file; null for PostgreSQL. */
export function keyFileOf({ databaseUrl }: Pick<Settings, 'databaseUrl'>): string | null {
  const path = filePathOf(databaseUrl)
  return path === null ? null : `${path}.key`
}

/**
 * Loads the key that signs tokens. If `signingKey` is not set, it is a secret in the file beside the embedded database. The
 * file is created with mode 0600 if it does not exist.
 *
 * @throws {ImproperlyConfigured} if that file cannot be read or created, or does not contain a valid secret
 */
export function loadSigningKey({ signingKey, algorithm, databaseUrl }: Settings): KeyObject {
  if (signingKey !== null) return readSigningKey(signingKey, algorithm)
  const path = keyFileOf({ databaseUrl })
  if (path === null) throw new ImproperlyConfigured(['signingKey: is required with PostgreSQL'])
  try {
    return readSigningKey(readKeyFile(path) ?? createKeyFile(path), algorithm)
  } catch (error) {
    const { message } = error as Error
    const fault = error instanceof InvalidKey ? `the key in it ${message}` : message
    throw new ImproperlyConfigured([`${path}: ${fault}`], { cause: error })
  }
}

/**
 * Loads Django's SECRET_KEY, followed by its fallbacks. Without `secretKey` it is the secret that signs tokens, as in
 * SimpleJWT, where SIGNING_KEY defaults to SECRET_KEY; or the secret that encrypts the signing keys in the database.
 *
 * @returns at least one secret; the first one signs, all of them verify
 * @throws {ImproperlyConfigured} see `loadSigningKey`
 */
export function loadSecrets(settings: Settings): [string, ...string[]] {
  const { secretKey, secretKeyFallbacks, signingKey, keyEncryptionKey, signingKeyFallbacks, algorithm } = settings
  if (secretKey !== null) return [secretKey, ...secretKeyFallbacks]
  const secret = signingKey ?? keyEncryptionKey ?? loadSigningKey(settings).export().toString()
  // Fallbacks of an asymmetric algorithm may be public keys, with which anyone could forge links and browser sessions.
  const olderSecrets = signingKeyFallbacks
    .map((text) => fallbackOf(text, algorithm))
    .filter((fallback) => isSymmetric(fallback.algorithm))
    .map(({ key }) => key)
  return [secret, ...secretKeyFallbacks, ...olderSecrets]
}

function readKeyFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Creates the file under a temporary name and links it to its own: of several processes one succeeds and the others use its
 * key, and none reads a partial file.
 */
function createKeyFile(path: string): string {
  const temporary = `${path}.${process.pid}.${randomHex(4)}`
  writeFileSync(temporary, `${generateSecret()}\n`, { mode: 0o600, flag: 'wx', flush: true })
  try {
    linkSync(temporary, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(temporary)
  }
  return readFileSync(path, 'utf8').trim()
}

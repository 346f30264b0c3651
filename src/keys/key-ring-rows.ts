/** The rows of `latchkey_signing_key`: creation, decryption and summary. */
import type { KeyObject } from 'node:crypto'
import { decrypt, encrypt } from '../crypto/encryption.ts'
import {
  type Algorithm,
  generateKeyText,
  publicJwk,
  readSigningKey,
  thumbprintOf,
  verifyingPart
} from '../crypto/jwa.ts'
import type { SigningKeyRow } from '../database/open.ts'
import { ImproperlyConfigured } from '../errors.ts'

type KeyState = 'next' | 'current' | 'previous' | 'revoked'

export interface KeySummary {
  kid: string
  algorithm: string
  state: KeyState
  createdAt: Date
  /** When the key became the current one; null for a next key. */
  activatedAt: Date | null
  /** When the last of its tokens expires; null while it signs. */
  expiresAt: Date | null
}

/** Generates a key, and returns its row with the private key or secret encrypted. */
export function createRow(algorithm: Algorithm, role: 'current' | 'next', encryptionKey: Buffer): SigningKeyRow {
  const text = generateKeyText(algorithm)
  const key = verifyingPart(readSigningKey(text, algorithm))
  const kid = thumbprintOf(key)
  const now = new Date()
  return {
    kid,
    algorithm,
    role,
    encryptedKey: encrypt(encryptionKey, text, kid),
    publicJwk: key.type === 'secret' ? null : JSON.stringify(publicJwk(key, kid, algorithm)),
    createdAt: now,
    activatedAt: role === 'current' ? now : null,
    expiresAt: null,
    revokedAt: null
  }
}

/** @throws {ImproperlyConfigured} if the row was encrypted with another `keyEncryptionKey` */
export function decryptRow({ kid, algorithm, encryptedKey }: SigningKeyRow, encryptionKey: Buffer): KeyObject {
  try {
    return readSigningKey(decrypt(encryptionKey, encryptedKey ?? '', kid), algorithm as Algorithm)
  } catch (cause) {
    throw new ImproperlyConfigured([`keyEncryptionKey: cannot decrypt the signing key ${kid}`], { cause })
  }
}

const ORDER: KeyState[] = ['current', 'next', 'previous', 'revoked']

/** Sorted by state (current, next, previous, revoked), then the newest first. */
export function summariesOf(rows: SigningKeyRow[]): KeySummary[] {
  return rows
    .map(({ kid, algorithm, role, createdAt, activatedAt, expiresAt, revokedAt }) => {
      const state = revokedAt === null ? ((role as KeyState | null) ?? 'previous') : 'revoked'
      return { kid, algorithm, state, createdAt, activatedAt, expiresAt }
    })
    .sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || +b.createdAt - +a.createdAt)
}

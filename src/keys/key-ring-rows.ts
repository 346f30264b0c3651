/** The rows of the key ring: how a key becomes one, and a key again. */
import type { KeyObject } from 'node:crypto'
import type { Seal } from '../crypto/encryption.ts'
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

export type KeyState = 'next' | 'current' | 'previous' | 'revoked'

export interface KeySummary {
  kid: string
  algorithm: string
  state: KeyState
  createdAt: Date
  /** When it has signed its first token, when the last of them expires. */
  activatedAt: Date | null
  expiresAt: Date | null
}

export function newRow(algorithm: Algorithm, role: 'current' | 'next', seal: Seal): SigningKeyRow {
  const text = generateKeyText(algorithm)
  const key = verifyingPart(readSigningKey(text, algorithm))
  const kid = thumbprintOf(key)
  const now = new Date()
  return {
    ...{ kid, algorithm, role, sealed: seal.close(text, kid) },
    publicJwk: key.type === 'secret' ? null : JSON.stringify(publicJwk(key, kid, algorithm)),
    ...{ createdAt: now, activatedAt: role === 'current' ? now : null, expiresAt: null, revokedAt: null }
  }
}

/** @throws {ImproperlyConfigured} if it was sealed with another key */
export function openRow({ kid, algorithm, sealed }: SigningKeyRow, seal: Seal): KeyObject {
  try {
    return readSigningKey(seal.open(sealed ?? '', kid), algorithm as Algorithm)
  } catch (cause) {
    throw new ImproperlyConfigured([`keyEncryptionKey: does not open the signing key ${kid}`], { cause })
  }
}

const ORDER: KeyState[] = ['current', 'next', 'previous', 'revoked']

/** The current one first, then the next, then the others, the newest first. */
export function summariesOf(rows: SigningKeyRow[]): KeySummary[] {
  return rows
    .map(({ kid, algorithm, role, createdAt, activatedAt, expiresAt, revokedAt }) => {
      const state = revokedAt === null ? ((role as KeyState | null) ?? 'previous') : 'revoked'
      return { kid, algorithm, state, createdAt, activatedAt, expiresAt }
    })
    .sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || +b.createdAt - +a.createdAt)
}

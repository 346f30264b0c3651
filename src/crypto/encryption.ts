/** Keeps text secret where others may read: AES-256-GCM. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

const CIPHER = 'aes-256-gcm'
/** In bytes. */
const NONCE = 12
const TAG = 16

export class Seal {
  readonly #key: Buffer

  constructor(secret: string) {
    this.#key = Buffer.from(hkdfSync('sha256', secret, '', 'latchkey signing keys', 32))
  }

  /** @param label what it is; sealed under one label, nothing opens under another */
  close(text: string, label: string): string {
    const nonce = randomBytes(NONCE)
    const cipher = createCipheriv(CIPHER, this.#key, nonce).setAAD(Buffer.from(label))
    const sealed = [nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]
    return Buffer.concat(sealed).toString('base64url')
  }

  /** @throws {Error} if it was sealed with another secret, under another label, or changed since */
  open(sealed: string, label: string): string {
    const bytes = Buffer.from(sealed, 'base64url')
    const cipher = createDecipheriv(CIPHER, this.#key, bytes.subarray(0, NONCE), { authTagLength: TAG })
    cipher.setAAD(Buffer.from(label)).setAuthTag(bytes.subarray(-TAG))
    return cipher.update(bytes.subarray(NONCE, -TAG), undefined, 'utf8') + cipher.final('utf8')
  }
}

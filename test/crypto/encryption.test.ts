/** Authenticated encryption. */
import t from 'tap'
import { decrypt, deriveKey, encrypt } from '../../src/crypto/encryption.ts'

const key = deriveKey('a secret of the settings', 'a purpose')

t.test('text is decrypted with the same key and context', async (t) => {
  for (const text of ['', 'a', 'é 😀\0\n', 'x'.repeat(10_000)])
    t.equal(decrypt(key, encrypt(key, text, 'row 1'), 'row 1'), text)
})

t.test('the same text is encrypted differently each time', async (t) => {
  t.not(encrypt(key, 'a', 'row 1'), encrypt(key, 'a', 'row 1'))
  t.notMatch(encrypt(key, 'a long enough text', 'row 1'), Buffer.from('long enough').toString('base64url'))
})

t.test('another secret, purpose or context does not decrypt', async (t) => {
  const encrypted = encrypt(key, 'text', 'row 1')
  t.throws(() => decrypt(deriveKey('another secret', 'a purpose'), encrypted, 'row 1'))
  t.throws(() => decrypt(deriveKey('a secret of the settings', 'another purpose'), encrypted, 'row 1'))
  t.throws(() => decrypt(key, encrypted, 'row 2'))
})

t.test('altered or truncated ciphertext does not decrypt', async (t) => {
  const bytes = Buffer.from(encrypt(key, 'text', 'row 1'), 'base64url')
  for (const index of bytes.keys()) {
    const altered = Buffer.from(bytes)
    altered[index] = (altered[index] ?? 0) ^ 1
    t.throws(() => decrypt(key, altered.toString('base64url'), 'row 1'), `byte ${index}`)
    t.throws(() => decrypt(key, bytes.subarray(0, index).toString('base64url'), 'row 1'), `first ${index} bytes`)
  }
})

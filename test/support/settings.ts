import type { LatchkeyOptions } from '../../src/index.ts'
import { HASHERS } from '../../src/settings/schema.ts'

export const SIGNING_KEY = 'research-secret-key-0123456789-abcdefghijklmnopqrstuvwxyz'

/** What makes tests fast and repeatable; a test asks for anything else by itself. */
export const CHEAP: LatchkeyOptions = {
  passwordHashers: ['md5', ...HASHERS.filter((name) => name !== 'md5')],
  signingKey: SIGNING_KEY,
  loginRate: 'off'
}

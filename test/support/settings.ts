import type { LatchkeyOptions } from '../../src/index.ts'
import { HASHERS } from '../../src/settings/schema.ts'

export const SIGNING_KEY = 'research-secret-key-0123456789-abcdefghijklmnopqrstuvwxyz'

/** Settings that make tests fast and repeatable. */
export const CHEAP: LatchkeyOptions = {
  passwordHashers: ['md5', ...HASHERS.filter((name) => name !== 'md5')],
  signingKey: SIGNING_KEY,
  loginRate: 'off',
  accountsEmailDelay: '0'
}

/** Tokens of links in emails: Django's PasswordResetTokenGenerator, with a salt and a state for each purpose. */
import { createHash, createHmac } from 'node:crypto'
import { constantTimeEqual } from '../crypto/constant-time.ts'
import type { User as UserRow } from '../database/open.ts'
import { primaryKeyOf } from '../users/user.ts'

/** Seconds from 1970 to 2001, from where Django counts. */
const EPOCH = 978_307_200

/** What a link is for. A token of one purpose is invalid for the others. */
export type Purpose = 'activation' | 'emailChange' | 'passwordReset' | 'usernameReset'

/** Django's own salt for password resets, so that links of Django stay valid. */
const SALTS: Record<Purpose, string> = {
  activation: 'latchkey.accounts.activation',
  emailChange: 'latchkey.accounts.emailChange',
  passwordReset: 'django.contrib.auth.tokens.PasswordResetTokenGenerator',
  usernameReset: 'latchkey.accounts.usernameReset'
}

export type Owner = Pick<UserRow, 'id' | 'password' | 'lastLogin' | 'email' | 'username'> & {
  /** The address that the user has asked for. */
  newEmail?: string
}

/** The state that a token is for, besides Django's: a change of it makes the token invalid. */
const STATES: Record<Purpose, (owner: Owner) => string> = {
  activation: () => '',
  emailChange: ({ newEmail }) => `:${newEmail}`,
  passwordReset: () => '',
  usernameReset: ({ username }) => `:${username}`
}

export class EmailTokens {
  readonly #secrets: readonly string[]
  readonly #timeout: number

  /**
   * @param secrets SECRET_KEY, which signs, followed by SECRET_KEY_FALLBACKS, whose tokens are also accepted
   * @param timeout in seconds
   */
  constructor(secrets: readonly string[], timeout: number) {
    this.#secrets = secrets
    this.#timeout = timeout
  }

  make(purpose: Purpose, owner: Owner): string {
    return tokenOf(purpose, owner, secondsNow(), this.#secrets[0] as string)
  }

  /** False if the token has expired, is for another purpose, or the user's state has changed since. */
  check(purpose: Purpose, owner: Owner, token: string): boolean {
    const [, text = ''] = /^([0-9a-z]{1,13})-[0-9a-f]{32}$/.exec(token) ?? []
    const seconds = Number.parseInt(text, 36)
    if (Number.isNaN(seconds) || secondsNow() - seconds > this.#timeout) return false
    return this.#secrets.some((secret) => constantTimeEqual(tokenOf(purpose, owner, seconds, secret), token))
  }
}

/** The primary key as a link has it: `1` is `MQ`. */
export const uidOf = ({ id }: Pick<UserRow, 'id'>): string => Buffer.from(String(id)).toString('base64url')

/** @returns null for a text that cannot be a user id */
export const idOf = (uid: string): number | null =>
  uid.length > 20 ? null : primaryKeyOf(Buffer.from(uid, 'base64url').toString())

const secondsNow = () => Math.floor(Date.now() / 1000) - EPOCH

function tokenOf(purpose: Purpose, owner: Owner, seconds: number, secret: string): string {
  const { id, password, lastLogin, email } = owner
  const login = lastLogin === null ? '' : lastLogin.toISOString().slice(0, 19).replace('T', ' ')
  const state = `${id}${password}${login}${seconds}${email}${STATES[purpose](owner)}`
  const key = createHash('sha256').update(`${SALTS[purpose]}${secret}`).digest()
  const digest = createHmac('sha256', key).update(state).digest('hex')
  return `${seconds.toString(36)}-${[...digest].filter((_digit, index) => index % 2 === 0).join('')}`
}

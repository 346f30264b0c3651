/** Django's PasswordResetTokenGenerator: a token that is good until what it was made of changes. */
import { createHash, createHmac } from 'node:crypto'
import { constantTimeEqual } from '../crypto/constant-time.ts'
import type { User as UserRow } from '../database/open.ts'
import { primaryKeyOf } from '../users/user.ts'

/** Seconds from 1970 to 2001, from where Django counts. */
const EPOCH = 978_307_200
const SALT = 'django.contrib.auth.tokens.PasswordResetTokenGenerator'

export type Owner = Pick<UserRow, 'id' | 'password' | 'lastLogin' | 'email'>

export class ResetTokens {
  readonly #keys: Buffer[]
  readonly #timeout: number

  /**
   * @param secrets Django's SECRET_KEY, and then those whose tokens are still taken
   * @param timeout in seconds
   */
  constructor(secrets: readonly string[], timeout: number) {
    this.#keys = secrets.map((secret) => createHash('sha256').update(`${SALT}${secret}`).digest())
    this.#timeout = timeout
  }

  make(owner: Owner): string {
    const [key] = this.#keys
    return tokenOf(owner, secondsNow(), key as Buffer)
  }

  /** False once it is too old, or the password, the address or the last login is another. */
  check(owner: Owner, token: string): boolean {
    const [, text = ''] = /^([0-9a-z]{1,13})-[0-9a-f]{32}$/.exec(token) ?? []
    const seconds = Number.parseInt(text, 36)
    if (Number.isNaN(seconds) || secondsNow() - seconds > this.#timeout) return false
    return this.#keys.some((key) => constantTimeEqual(tokenOf(owner, seconds, key), token))
  }
}

/** The primary key as a link has it: `1` is `MQ`. */
export const uidOf = ({ id }: Pick<UserRow, 'id'>): string => Buffer.from(String(id)).toString('base64url')

/** @returns null for what is no user's */
export const idOf = (uid: string): number | null =>
  uid.length > 20 ? null : primaryKeyOf(Buffer.from(uid, 'base64url').toString())

const secondsNow = () => Math.floor(Date.now() / 1000) - EPOCH

function tokenOf({ id, password, lastLogin, email }: Owner, seconds: number, key: Buffer): string {
  const login = lastLogin === null ? '' : lastLogin.toISOString().slice(0, 19).replace('T', ' ')
  const digest = createHmac('sha256', key).update(`${id}${password}${login}${seconds}${email}`).digest('hex')
  return `${seconds.toString(36)}-${[...digest].filter((_, index) => index % 2 === 0).join('')}`
}

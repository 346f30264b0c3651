/** Browser sessions of django.contrib.sessions: rows of `django_session`, each identified by a key in a cookie. */
import { createHash, createHmac } from 'node:crypto'
import { constantTimeEqual } from '../crypto/constant-time.ts'
import { type Data, SignedData } from '../crypto/django-signing.ts'
import { randomText } from '../crypto/random.ts'
import type { Database, User as UserRow } from '../database/open.ts'
import type { Sessions } from '../sessions/sessions.ts'
import type { Settings } from '../settings/schema.ts'
import type { Users } from '../users/users.ts'

/** A row with its decoded data. */
export class BrowserSession {
  /** The value of the cookie. */
  readonly key: string
  /** `_auth_user_id`, `_auth_user_backend`, `_auth_user_hash`, and other data of a Django app. */
  readonly data: Data
  readonly expiresAt: Date

  constructor(key: string, data: Data, expiresAt: Date) {
    this.key = key
    this.data = data
    this.expiresAt = expiresAt
  }
}

/** The user of a session. The hash is of the password, so that a new password ends the session. */
export type Owner = Pick<UserRow, 'id' | 'password'>

const SALT = 'django.contrib.sessions.SessionStore'
const HASH_SALT = 'django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash'
/** The time of the login in milliseconds since 1970; Django's own timestamp has whole seconds. */
const SINCE = '_latchkey_since'
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789'
const KEY = /^[a-zA-Z0-9]{8,40}$/
const BATCH = 1000

export class BrowserSessions {
  readonly #database: Database
  readonly #users: Users
  readonly #sessions: Sessions
  readonly #signed: SignedData
  readonly #hashKeys: Buffer[]
  readonly #settings: Settings

  /** @param secrets Django's SECRET_KEY, followed by SECRET_KEY_FALLBACKS */
  constructor(database: Database, users: Users, sessions: Sessions, secrets: readonly string[], settings: Settings) {
    this.#sessions = sessions
    this.#database = database
    this.#users = users
    this.#signed = new SignedData(secrets, SALT)
    this.#hashKeys = secrets.map((secret) => createHash('sha256').update(`${HASH_SALT}${secret}`).digest())
    this.#settings = settings
  }

  /** Finds the session of a key and its active user; null if there is none, or it has ended. */
  async find(key: string): Promise<{ session: BrowserSession; user: UserRow } | null> {
    const row = await this.#load(key)
    if (row === null) return null
    const { session, text } = row
    const user = await this.#users.get('id', session.data._auth_user_id)
    if (user === null || !user.isActive) return null
    const issuedAt = Math.max(Number(session.data[SINCE] ?? 0), 1000 * SignedData.signedAt(text))
    if (issuedAt <= (await this.#sessions.endedAt(user.id))) return null
    const place = this.#hashesOf(user).findIndex((hash) =>
      constantTimeEqual(hash, String(session.data._auth_user_hash))
    )
    if (place > 0) await this.#rehash(session, text, user)
    return place < 0 ? null : { session, user }
  }

  /**
   * Logs a user in with a new key, against session fixation.
   *
   * @param before the browser's current key; its data are kept unless they are of another user
   */
  async logIn(user: Owner, before: string | null): Promise<BrowserSession> {
    const previous = before === null ? null : await this.#load(before)
    const { data = {}, key } = previous?.session ?? {}
    const [backend] = this.#settings.authenticationBackends
    const own = {
      _auth_user_id: String(user.id),
      _auth_user_backend: `django.contrib.auth.backends.${backend}`,
      _auth_user_hash: this.#hashOf(user)
    }
    const { _auth_user_id: id = own._auth_user_id, _auth_user_hash: hash = own._auth_user_hash } = data
    const isOthers = id !== own._auth_user_id || !constantTimeEqual(String(hash), own._auth_user_hash)
    const expiresAt = new Date(Date.now() + 1000 * this.#settings.sessionCookieAge)
    return this.#replace(key, isOthers ? own : { ...data, ...own }, expiresAt)
  }

  /** Django's update_session_auth_hash: after a change of the password this session continues with a new key. */
  renew({ key, data, expiresAt }: BrowserSession, user: Owner): Promise<BrowserSession> {
    return this.#replace(key, { ...data, _auth_user_hash: this.#hashOf(user) }, expiresAt)
  }

  async logOut(key: string): Promise<void> {
    if (KEY.test(key)) await this.#database.browserSession.deleteMany({ where: { sessionKey: key } })
  }

  /**
   * Deletes expired sessions, in batches of a thousand.
   *
   * @returns the number
   */
  async clearExpired(): Promise<number> {
    const { browserSession } = this.#database
    const where = { expireDate: { lt: new Date() } }
    let cleared = 0
    for (let batch = BATCH; batch === BATCH; cleared += batch) {
      const expired = await browserSession.findMany({ where, select: { sessionKey: true }, take: BATCH })
      batch = expired.length
      await browserSession.deleteMany({ where: { sessionKey: { in: expired.map(({ sessionKey }) => sessionKey) } } })
    }
    return cleared
  }

  /** Data without a valid signature are ignored. */
  async #load(key: string): Promise<{ session: BrowserSession; text: string } | null> {
    if (!KEY.test(key)) return null
    const row = await this.#database.browserSession.findUnique({ where: { sessionKey: key } })
    if (row === null || row.expireDate.getTime() <= Date.now()) return null
    const { sessionData: text, expireDate } = row
    return { session: new BrowserSession(key, this.#signed.loads(text) ?? {}, expireDate), text }
  }

  async #replace(before: string | undefined, data: Data, expireDate: Date): Promise<BrowserSession> {
    const { browserSession } = this.#database
    const sessionKey = randomText(32, ALPHABET)
    await this.#database.$transaction([
      browserSession.create({
        data: { sessionKey, sessionData: this.#signed.dumps({ ...data, [SINCE]: Date.now() + 1 }), expireDate }
      }),
      browserSession.deleteMany({ where: { sessionKey: before ?? '' } })
    ])
    return new BrowserSession(sessionKey, data, expireDate)
  }

  /** Keeps the key, so that concurrent requests with it stay authenticated. */
  async #rehash({ key, data }: BrowserSession, before: string, user: Owner): Promise<void> {
    const sessionData = this.#signed.dumps({ ...data, _auth_user_hash: this.#hashOf(user) })
    const where = { sessionKey: key, sessionData: before }
    await this.#database.browserSession.updateMany({ where, data: { sessionData } })
  }

  #hashOf(user: Owner): string {
    return this.#hashesOf(user)[0] as string
  }

  #hashesOf({ password }: Owner): string[] {
    return this.#hashKeys.map((key) => createHmac('sha256', key).update(password).digest('hex'))
  }
}

/** Refresh tokens as sessions have them: each names its session, which says whether it is good and what comes next. */
import { isUniqueViolation } from '../../database/errors.ts'
import type { User as UserRow } from '../../database/open.ts'
import { InvalidToken } from '../../errors.ts'
import { adoptedSid, type Device, newSid, type Turn } from '../../sessions/session-rows.ts'
import type { EndReason, Sessions } from '../../sessions/sessions.ts'
import type { Settings } from '../../settings/schema.ts'
import type { Mint } from '../claims.ts'
import type { Claims } from '../jwt.ts'
import type { Blacklist } from './blacklist-store.ts'

/** A refresh token that was shown. */
interface Shown {
  token: string
  claims: Claims
  /** Known at least if the token names no session. */
  user: UserRow | null
  device: Device
}

export class SessionTokens {
  readonly #settings: Settings
  readonly #mint: Mint
  readonly #sessions: Sessions
  readonly #blacklist: Blacklist

  /** @param blacklist of tokens from before there were sessions */
  constructor(settings: Settings, mint: Mint, sessions: Sessions, blacklist: Blacklist) {
    this.#settings = settings
    this.#mint = mint
    this.#sessions = sessions
    this.#blacklist = blacklist
  }

  /** @returns the claims of the session's first token; null if the user has changed since its password was looked at */
  async begin(claims: Claims, user: UserRow, device: Device): Promise<Claims | null> {
    const end = secondsOf(this.#sessions.endOf(new Date((claims.iat as number) * 1000)))
    const sid = newSid()
    const first = { ...claims, exp: Math.min(claims.exp as number, end), sid }
    return (await this.#sessions.start(sid, user, this.#turnOf(first), device)) ? first : null
  }

  /**
   * The claims of the token that is good from now on.
   *
   * @param successor what it is to be, if nobody was faster; null without rotation, where it is the same
   * @throws {InvalidToken | AuthenticationFailed} as Sessions.rotate
   */
  async next(shown: Shown, successor: Claims | null): Promise<Claims> {
    const { claims } = shown
    const sid = typeof claims.sid === 'string' ? claims.sid : await this.#adopted(shown, successor)
    if (sid === null) return { ...(successor ?? claims), sid: adoptedSid(this.#jtiOf(claims)) }
    if (successor === null) {
      await this.#sessions.touch(sid, this.#jtiOf(claims), new Date())
      return { ...claims, sid }
    }
    const turn = await this.#sessions.rotate(sid, this.#jtiOf(claims), this.#turnOf(successor))
    const [exp, iat] = [secondsOf(turn.expiresAt), secondsOf(turn.issuedAt)]
    return { ...successor, exp, iat, [this.#settings.jtiClaim as string]: turn.jti, sid }
  }

  /** Notes that a sliding token was renewed. @throws as next */
  async touch(claims: Claims, now: number): Promise<void> {
    if (typeof claims.sid === 'string') await this.#sessions.touch(claims.sid, this.#jtiOf(claims), new Date(now))
  }

  /**
   * Ends the session of this token.
   *
   * @returns false if it has none
   * @throws {InvalidToken} if that has ended before
   */
  async end(claims: Claims, reason: EndReason): Promise<boolean> {
    const jti = this.#jtiOf(claims)
    const isAdopted = typeof claims.sid !== 'string' && (await this.#sessions.isAdopted(jti))
    const sid = isAdopted ? adoptedSid(jti) : claims.sid
    if (typeof sid !== 'string') return false
    if (!(await this.#sessions.end(sid, reason))) throw new InvalidToken('Token is blacklisted')
    return true
  }

  flushExpired(): Promise<number> {
    return this.#sessions.flushExpired()
  }

  /**
   * A token that names no session has one from now on.
   *
   * @returns its name if it had one already; null if it was adopted here, which has recorded its successor
   */
  async #adopted({ token, claims, user, device }: Shown, successor: Claims | null): Promise<string | null> {
    const jti = this.#jtiOf(claims)
    if (await this.#sessions.isAdopted(jti)) return adoptedSid(jti)
    if (await this.#blacklist.isBlacklisted(jti)) return this.#adoptedElsewhere(jti)
    if (user === null) throw new InvalidToken('Token contained no recognizable user identification')
    const record = this.#mint.recordOf(token, claims, user.id, Date.now())
    // A Django that is still running beside has to refuse it as well.
    const spent = successor === null ? [] : await this.#blacklist.spending(record)
    try {
      await this.#sessions.adopt(user.id, jti, this.#turnOf(successor ?? claims), spent, device)
      return null
    } catch (error) {
      if (!isUniqueViolation(error)) throw error
      return this.#adoptedElsewhere(jti)
    }
  }

  /** Somebody else has adopted it just now, or Django has rotated it. */
  async #adoptedElsewhere(jti: string): Promise<string> {
    if (await this.#sessions.isAdopted(jti)) return adoptedSid(jti)
    throw new InvalidToken('Token is blacklisted')
  }

  #jtiOf(claims: Claims): string {
    return claims[this.#settings.jtiClaim as string] as string
  }

  /** The session of a sliding token lasts until that can be renewed no more. */
  #turnOf(claims: Claims): Turn {
    const { [this.#settings.slidingTokenRefreshExpClaim]: end = claims.exp, iat } = claims
    return { jti: this.#jtiOf(claims), issuedAt: dateOf(iat), expiresAt: dateOf(end) }
  }
}

/** NumericDate, as a token has it. */
const secondsOf = (date: Date) => Math.floor(date.getTime() / 1000)
const dateOf = (seconds: unknown) => new Date(Math.floor(seconds as number) * 1000)

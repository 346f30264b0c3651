/** DRF's SessionAuthentication, and Django's login and logout with a session cookie. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { User as UserRow } from '../database/open.ts'
import { cookieNameOf, cookieOf, setCookie } from '../drf/cookies.ts'
import { varyBy } from '../drf/vary.ts'
import { AUTHENTICATION, type Authenticator } from '../guards/auth-core.ts'
import type { Settings } from '../settings/schema.ts'
import { withoutPassword } from '../users/user.ts'
import { BrowserSession, type BrowserSessions, type Owner } from './browser-sessions.ts'
import { csrfProtect, rotateToken } from './csrf.ts'

const cookieName = (request: FastifyRequest, { sessionCookieName }: Settings) =>
  cookieNameOf(request, sessionCookieName, 'sessionid')

/** It has no challenge, so that the response is a 403. `request.auth` is the session. */
export function sessionAuthenticator(sessions: BrowserSessions, settings: Settings): Authenticator {
  return {
    vary: 'Cookie',
    authenticate: async (request) => {
      const key = cookieOf(request, cookieName(request, settings))
      const found = key === undefined ? null : await sessions.find(key)
      if (found === null) return null
      await csrfProtect(request)
      return { user: withoutPassword(found.user), auth: found.session }
    }
  }
}

/**
 * Django's login: starts a browser session with a new key and a new CSRF token, and sets `last_login`.
 *
 * @param user returned by `users.authenticate`. Before, check the request with `csrfProtect`, and that the user is
 *   active.
 */
export async function login(request: FastifyRequest, reply: FastifyReply, user: UserRow): Promise<void> {
  const { browserSessions, users, settings } = request.server.auth
  const session = await browserSessions.logIn(user, cookieOf(request, cookieName(request, settings)) ?? null)
  await users.updateLastLogin(user.id)
  setSession(request, reply, session)
  rotateToken(request, reply)
}

/** Django's logout: deletes the session and its cookie. */
export async function logout(request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const { browserSessions, settings } = request.server.auth
  const name = cookieName(request, settings)
  const key = cookieOf(request, name)
  if (key !== undefined) await browserSessions.logOut(key)
  varyBy(reply, 'Cookie')
  setCookie(request, reply, [name, ''], { httpOnly: true, maxAge: 0, expires: new Date(0) })
}

/**
 * Django's update_session_auth_hash: after a change of the password, which ends all sessions, that of the request
 * continues. Does nothing if the request has no browser session.
 *
 * @param user with the new password
 */
export async function updateSessionAuthHash(request: FastifyRequest, reply: FastifyReply, user: Owner): Promise<void> {
  const current = request[AUTHENTICATION]
  if (!(current?.auth instanceof BrowserSession)) return
  const session = await request.server.auth.browserSessions.renew(current.auth, user)
  request[AUTHENTICATION] = { user: current.user, auth: session }
  request.auth = session
  setSession(request, reply, session)
}

function setSession(request: FastifyRequest, reply: FastifyReply, { key, expiresAt }: BrowserSession): void {
  const maxAge = Math.ceil((expiresAt.getTime() - Date.now()) / 1000)
  const name = cookieName(request, request.server.auth.settings)
  setCookie(request, reply, [name, key], { httpOnly: true, maxAge, expires: expiresAt })
  varyBy(reply, 'Cookie')
}

/**
 * DRF's BasicAuthentication: username and password with every request.
 *
 * Browsers send cached Basic credentials with requests of other sites, too, and there is no CSRF check, as in DRF.
 */
import type { FastifyRequest } from 'fastify'
import type { LoginThrottle } from '../drf/throttle.ts'
import { AuthenticationFailed } from '../errors.ts'
import type { Authenticator } from '../guards/auth-core.ts'
import { withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'
import { requestInfoOf } from './caller.ts'
import { wordsOf } from './header.ts'

const MALFORMED = 'Invalid basic header. Credentials not correctly base64 encoded.'

/** @param throttle shared with all other logins; wrong passwords count */
export function basicAuthenticator(users: Users, throttle: LoginThrottle): Authenticator {
  return {
    challenge: 'Basic realm="api"',
    authenticate: async (request) => {
      const credentials = credentialsOf(request)
      if (credentials === null) return null
      await throttle.take(request)
      const user = await users.authenticate(...credentials, requestInfoOf(request))
      if (user === null) throw new AuthenticationFailed('Invalid username/password.')
      throttle.giveBack(request)
      if (!user.isActive) throw new AuthenticationFailed('User inactive or deleted.')
      return { user: withoutPassword(user), auth: null }
    }
  }
}

function credentialsOf(request: FastifyRequest): [username: string, password: string] | null {
  const [scheme, text, ...rest] = wordsOf(request)
  if (scheme?.toLowerCase() !== 'basic') return null
  if (text === undefined) throw new AuthenticationFailed('Invalid basic header. No credentials provided.')
  if (rest.length > 0) {
    throw new AuthenticationFailed('Invalid basic header. Credentials string should not contain spaces.')
  }
  const [, username, password] = /^([^:]*):(.*)$/s.exec(decode(text)) ?? []
  if (username === undefined || password === undefined) throw new AuthenticationFailed(MALFORMED)
  return [username, password]
}

/** RFC 7617 asks for UTF-8; older clients send Latin-1. */
function decode(text: string): string {
  const isBase64 = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)
  if (!isBase64) throw new AuthenticationFailed(MALFORMED)
  const bytes = Buffer.from(text, 'base64')
  const decoded = bytes.toString('utf8')
  return Buffer.from(decoded).equals(bytes) ? decoded : bytes.toString('latin1')
}

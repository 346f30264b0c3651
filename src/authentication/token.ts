/** DRF's TokenAuthentication: a key that never expires, looked up at each request. */
import { isUtf8 } from 'node:buffer'
import type { FastifyRequest } from 'fastify'
import { AuthenticationFailed } from '../errors.ts'
import type { Authenticator } from '../guards/auth-core.ts'
import type { AuthTokens } from '../tokens/auth-tokens.ts'
import { withoutPassword } from '../users/user.ts'
import { wordsOf } from './header.ts'

/** `request.auth` is the key. */
export function tokenAuthenticator(authTokens: AuthTokens): Authenticator {
  return {
    challenge: 'Token',
    authenticate: async (request) => {
      const key = keyOf(request)
      if (key === null) return null
      const user = await authTokens.userOf(key)
      if (user === null) throw new AuthenticationFailed('Invalid token.')
      if (!user.isActive) throw new AuthenticationFailed('User inactive or deleted.')
      return { user: withoutPassword(user), auth: key }
    }
  }
}

function keyOf(request: FastifyRequest): string | null {
  const [scheme, key, ...rest] = wordsOf(request)
  if (scheme?.toLowerCase() !== 'token') return null
  if (key === undefined) throw new AuthenticationFailed('Invalid token header. No credentials provided.')
  if (rest.length > 0) throw new AuthenticationFailed('Invalid token header. Token string should not contain spaces.')
  if (!isUtf8(Buffer.from(key, 'latin1'))) {
    throw new AuthenticationFailed('Invalid token header. Token string should not contain invalid characters.')
  }
  return key
}

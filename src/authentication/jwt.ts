/** SimpleJWT's JWTAuthentication and, without the user's row, its JWTStatelessUserAuthentication. */
import type { FastifyRequest } from 'fastify'
import { BadAuthorizationHeader, InvalidToken, PasswordChanged, UserInactive, UserNotFound } from '../errors.ts'
import type { Settings } from '../settings/schema.ts'
import type { Claims } from '../tokens/jwt.ts'
import type { TokenReader } from '../tokens/verifier.ts'
import { type Caller, TokenUser } from '../users/token-user.ts'
import { isUserId, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'
import type { Authenticator } from './authenticate.ts'
import { wordsOf } from './header.ts'
import { TokenCookies } from './token-cookies.ts'

/**
 * @param users null where there are none, and callers are known only by token
 * @param TokenUserClass SimpleJWT's TOKEN_USER_CLASS, for such callers
 */
export function jwtAuthenticator(
  settings: Settings,
  reader: TokenReader,
  users: Users | null,
  TokenUserClass: typeof TokenUser = TokenUser
): Authenticator {
  const { userIdClaim, userIdField } = settings
  const header = settings.authHeaderName.slice('HTTP_'.length).replaceAll('_', '-').toLowerCase()
  // RFC 9110 §11.1: a scheme's name has no case, though the original's does.
  const schemes = new Set(settings.authHeaderTypes.map((scheme) => scheme.toLowerCase()))

  const cookies = new TokenCookies(settings)

  async function authenticate(request: FastifyRequest) {
    const token = tokenOf(wordsOf(request, header)) ?? cookies.accessOf(request)
    if (token === undefined) return null
    const claims = await reader.authenticate(token)
    return { user: await callerOf(claims), auth: claims }
  }

  /** Null for another scheme's credentials, which another authenticator may know. */
  function tokenOf([scheme, token, ...rest]: string[]): string | null {
    if (scheme === undefined || !schemes.has(scheme.toLowerCase())) return null
    if (token === undefined || rest.length > 0) throw new BadAuthorizationHeader()
    return token
  }

  async function callerOf(claims: Claims): Promise<Caller> {
    const id = claims[userIdClaim]
    if (id === undefined) throw new InvalidToken('Token contained no recognizable user identification')
    if (settings.stateless || users === null) {
      // What no user can have for an id is nobody's, even where nobody looks: `[1]` would read as 1.
      if (!isUserId(userIdField, id)) throw new UserNotFound()
      return new TokenUserClass(id, userIdField, claims)
    }
    const user = await users.get(userIdField, id)
    if (user === null) throw new UserNotFound()
    if (settings.checkUserIsActive && !user.isActive) throw new UserInactive()
    if (!(await users.isOfCurrentPassword(user, claims[settings.revokeTokenClaim]))) throw new PasswordChanged()
    return withoutPassword(user)
  }

  const vary = settings.accessCookieName === null ? {} : { vary: 'Cookie' }
  return { ...vary, challenge: `${settings.authHeaderTypes[0]} realm="api"`, authenticate }
}

/** SimpleJWT's JWTAuthentication and, without the user's row, its JWTStatelessUserAuthentication. */
import type { FastifyRequest } from 'fastify'
import { BadAuthorizationHeader, InvalidToken, PasswordChanged, UserInactive, UserNotFound } from '../errors.ts'
import type { Authenticator } from '../guards/auth-core.ts'
import type { Settings } from '../settings/schema.ts'
import type { Claims } from '../tokens/jwt.ts'
import type { TokenVerifier } from '../tokens/verifier.ts'
import { type Caller, TokenUser } from '../users/token-user.ts'
import { isUserId, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'
import { wordsOf } from './header.ts'
import type { TokenCookies } from './token-cookies.ts'

/** OpenAPI's security requirement of routes that need an access token. */
export const JWT_SECURITY = [{ jwt: [] }]

export interface JwtAuthenticatorParts {
  settings: Settings
  verifier: TokenVerifier
  /** Left out where no user table exists: then `request.user` is always a TokenUser. */
  users?: Users
  /** Left out where tokens are never in cookies. */
  cookies?: TokenCookies
  /** SimpleJWT's TOKEN_USER_CLASS. */
  tokenUserClass?: typeof TokenUser | undefined
}

/** What another service may call a user, such as `auth0|5f7c8ec7`. */
const isOpaqueId = (id: unknown): boolean =>
  typeof id === 'string' ? /^[^\p{Cc}\p{Cs}]{1,255}$/u.test(id) : Number.isSafeInteger(id)

export function jwtAuthenticator(parts: JwtAuthenticatorParts): Authenticator & { readonly challenge: string } {
  const { settings, verifier, users, cookies, tokenUserClass: TokenUserClass = TokenUser } = parts
  const { userIdClaim, userIdField } = settings
  const header = settings.authHeaderName.slice('HTTP_'.length).replaceAll('_', '-').toLowerCase()
  // RFC 9110 §11.1: scheme names are case-insensitive, although the original compares them exactly.
  const schemes = new Set(settings.authHeaderTypes.map((scheme) => scheme.toLowerCase()))

  async function authenticate(request: FastifyRequest) {
    const token = tokenOf(wordsOf(request, header)) ?? cookies?.accessOf(request)
    if (token === undefined) return null
    const claims = await verifier.authenticate(token)
    return { user: await callerOf(claims), auth: claims }
  }

  /** @returns null for credentials of another scheme, which another authenticator may accept */
  function tokenOf([scheme, token, ...rest]: string[]): string | null {
    if (scheme === undefined || !schemes.has(scheme.toLowerCase())) return null
    if (token === undefined || rest.length > 0) throw new BadAuthorizationHeader()
    return token
  }

  async function callerOf(claims: Claims): Promise<Caller> {
    const id = claims[userIdClaim]
    if (id === undefined) throw new InvalidToken('Token contained no recognizable user identification')
    if (users === undefined || verifier.isForeign(claims)) {
      if (!isOpaqueId(id)) throw new UserNotFound()
      return new TokenUserClass(id, users === undefined ? userIdField : null, claims)
    }
    if (settings.stateless) {
      // A value that cannot be a user id is rejected without a query, too: `[1]` would become "1".
      if (!isUserId(userIdField, id)) throw new UserNotFound()
      return new TokenUserClass(id, userIdField, claims)
    }
    const user = await users.get(userIdField, id)
    if (user === null) throw new UserNotFound()
    if (settings.checkUserIsActive && !user.isActive) throw new UserInactive()
    if (!(await users.isOfCurrentPassword(user, claims[settings.revokeTokenClaim]))) throw new PasswordChanged()
    // The row does not tell that the username was another user's when the token was issued.
    if (userIdField === 'username') verifier.assertUserNotRevoked(claims)
    return withoutPassword(user)
  }

  const vary = settings.accessCookieName === null ? {} : { vary: 'Cookie' }
  return { ...vary, challenge: `${settings.authHeaderTypes[0]} realm="api"`, authenticate }
}

/** The user, the login session and the plain data of a request. */
import type { FastifyRequest } from 'fastify'
import { UserInactive, UserNotFound } from '../errors.ts'
import { AUTHENTICATION, authenticatedUser } from '../guards/auth-core.ts'
import type { KeptCredentials } from '../sessions/session-rows.ts'
import type { RequestInfo } from '../tokens/request-info.ts'
import { TokenUser } from '../users/token-user.ts'
import { type User, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'

type AuthenticatedRequest = Pick<FastifyRequest, typeof AUTHENTICATION> & { server: { auth: { users: Users } } }

/** Reads the caller's row from the database. @throws {UserNotFound | UserInactive} */
export async function callerOf(request: AuthenticatedRequest): Promise<User> {
  const user = authenticatedUser(request)
  const field = user !== null && 'idField' in user ? user.idField : 'id'
  const row = await request.server.auth.users.get(field, user?.id)
  if (row === null) throw new UserNotFound()
  if (!row.isActive) throw new UserInactive()
  return withoutPassword(row)
}

/** The id of the caller's login session; null for credentials without one, and for tokens of another service. */
export function sidOf(request: Pick<FastifyRequest, typeof AUTHENTICATION>): string | null {
  const { user, auth } = request[AUTHENTICATION] ?? {}
  if (user instanceof TokenUser && user.idField === null) return null
  const { sid } = (auth ?? {}) as { sid?: unknown }
  return typeof sid === 'string' ? sid : null
}

/** True if the request was authenticated by a JSON Web Token. */
export const hasToken = (request: Pick<FastifyRequest, typeof AUTHENTICATION>): boolean =>
  typeof (request[AUTHENTICATION]?.auth as { exp?: unknown } | null | undefined)?.exp === 'number'

/** The credentials of this request, for an operation that ends all others of the user. */
export function keptCredentialsOf(request: Pick<FastifyRequest, typeof AUTHENTICATION>): KeptCredentials {
  const auth = request[AUTHENTICATION]?.auth
  return { sid: sidOf(request), key: typeof auth === 'string' ? auth : null }
}

/** Copies what the domain may know of a request. */
export function requestInfoOf({ id, method, url, ip, headers, raw }: FastifyRequest): RequestInfo {
  const isAbandoned = () => raw.socket.destroyed
  return { id, method, url, address: ip, userAgent: headers['user-agent'] ?? '', headers, isAbandoned }
}

/** The user, the login session and the plain data of a request. */
import type { FastifyRequest } from 'fastify'
import { UserInactive, UserNotFound } from '../errors.ts'
import type { RequestInfo } from '../tokens/request-info.ts'
import type { Caller } from '../users/token-user.ts'
import { type User, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'

interface AuthenticatedRequest {
  user: Caller | null
  /** The credentials, such as the claims of an access token. */
  auth: unknown
  server: { auth: { users: Users } }
}

/** Reads the caller's row from the database. @throws {UserNotFound | UserInactive} */
export async function callerOf({ user, server }: Pick<AuthenticatedRequest, 'user' | 'server'>): Promise<User> {
  const field = user !== null && 'idField' in user ? user.idField : 'id'
  const row = await server.auth.users.get(field, user?.id)
  if (row === null) throw new UserNotFound()
  if (!row.isActive) throw new UserInactive()
  return withoutPassword(row)
}

/** The id of the caller's login session; null for credentials without one. */
export function sidOf({ auth }: Pick<AuthenticatedRequest, 'auth'>): string | null {
  const { sid } = (auth ?? {}) as { sid?: unknown }
  return typeof sid === 'string' ? sid : null
}

/** Copies what the domain may know of a request. */
export function requestInfoOf({ id, method, url, ip, headers }: FastifyRequest): RequestInfo {
  return { id, method, url, address: ip, userAgent: headers['user-agent'] ?? '', headers }
}

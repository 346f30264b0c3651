/** The user behind a request, as the database has it, and the login that it came by. */
import { UserInactive, UserNotFound } from '../errors.ts'
import type { Caller } from '../users/token-user.ts'
import { type User, withoutPassword } from '../users/user.ts'
import type { Users } from '../users/users.ts'

/** What of a request is looked at. */
interface Asked {
  user: Caller | null
  /** What the caller has shown: the claims of a token, for one. */
  auth: unknown
  server: { auth: { users: Users } }
}

/** The caller's row, whatever a token says of it. @throws {UserNotFound | UserInactive} if it is no longer good */
export async function callerOf({ user, server }: Pick<Asked, 'user' | 'server'>): Promise<User> {
  const field = user !== null && 'idField' in user ? user.idField : 'id'
  const row = await server.auth.users.get(field, user?.id)
  if (row === null) throw new UserNotFound()
  if (!row.isActive) throw new UserInactive()
  return withoutPassword(row)
}

/** The session that the caller's token is of; null for any other way to call. */
export function sidOf({ auth }: Pick<Asked, 'auth'>): string | null {
  const { sid } = (auth ?? {}) as { sid?: unknown }
  return typeof sid === 'string' ? sid : null
}

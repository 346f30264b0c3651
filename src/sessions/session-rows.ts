/** Rows and statements of `latchkey_session` and `latchkey_revocation`: those that Prisma's API cannot express as one statement. */
import { createHash } from 'node:crypto'
import { uuidHex } from '../crypto/random.ts'
import type { Database, Prisma, SessionRow } from '../database/open.ts'
import { empty, join, sql } from '../database/sql.ts'
import type { Settings } from '../settings/schema.ts'

/** Revocations outlive the tokens that they concern by this much, since the clocks of processes differ. */
const CLOCK_SKEW_MS = 60_000

/** The refresh token that a session currently accepts. Times are whole seconds. */
export interface TokenState {
  jti: string
  issuedAt: Date
  expiresAt: Date
}

/** The client of a login. */
export interface Device {
  userAgent: string
  address: string
}

type Statement = Prisma.PrismaPromise<unknown>

/**
 * Inserts a session unless the user was deleted, deactivated, renamed or given another password since it was read. On
 * PostgreSQL the user's row is locked, so that a transaction that is about to change it sees the new session and ends it.
 *
 * @param isActive true to require an active user
 * @returns the number of rows, 0 or 1
 */
export function insertSession(
  database: Database,
  row: SessionRow,
  { password, username, isActive }: { password: string; username: string; isActive: boolean }
): Promise<number> {
  const times = join([row.createdAt, row.refreshedAt, row.idleExpiresAt, row.expiresAt])
  const active = isActive ? sql`AND is_active` : empty
  return database.$executeRaw`
    INSERT INTO "latchkey_session" (id, user_id, jti, created_at, refreshed_at, idle_expires_at, expires_at, label, user_agent, address, last_user_agent, last_address)
    SELECT ${row.id}, id, ${row.jti}, ${times}, '', ${row.userAgent}, ${row.address}, ${row.userAgent}, ${row.address}
    FROM auth_user WHERE id = ${row.userId} AND password = ${password} AND username = ${username} ${active} ${database.forShare}`
}

/** Returns the statements that end sessions and revoke their access tokens. The first one returns how many have ended. */
export function endStatements(
  database: Database,
  settings: Settings,
  where: Prisma.SessionWhereInput & { endedAt: null },
  reason: string
): [Prisma.PrismaPromise<{ count: number }>, Statement] {
  const endedAt = new Date()
  const { id, userId } = where
  const column = typeof id === 'string' ? sql`id = ${id}` : sql`user_id = ${userId as number}`
  return [
    database.session.updateMany({ where, data: { endedAt, endReason: reason } }),
    // The sessions that the update has just ended are identified by the time that it wrote.
    database.$queryRaw`
      INSERT INTO "latchkey_revocation" (sid, revoked_at, expires_at)
      SELECT id, ended_at, ${revocationEnd(settings, endedAt)} FROM "latchkey_session" WHERE ${column} AND ended_at = ${endedAt}
      RETURNING sid AS revoked_sid`
  ]
}

/** Which credentials of a user stay valid: those that its own request came with. */
export interface KeptCredentials {
  /** Id of a login session. */
  sid?: string | null
  /** A key of `authtoken_token`. */
  key?: string | null
}

/**
 * Returns the statements that end everything of a user: login sessions, access tokens, DRF keys, browser sessions, and
 * refresh tokens that belong to no login session.
 *
 * @param username before the change, if the transaction renames the user
 */
export function endStatementsForUser(
  database: Database,
  settings: Settings,
  userId: number,
  reason: string,
  kept: KeptCredentials = {},
  username?: string
): Statement[] {
  const { sid = null, key = null } = kept
  const now = new Date()
  const others = { userId, endedAt: null, ...(sid !== null && { id: { not: sid } }) }
  const ended = [
    ...endStatements(database, settings, others, reason),
    revokeSubject(database, settings, { userId, username, keptSid: sid }, now)
  ]
  // The rows of a deleted user are deleted in the same transaction.
  if (reason === 'deleted') return ended
  // Otherwise a link could undo a deactivation.
  const where = { userId }
  const pending =
    reason === 'inactive'
      ? [database.pendingActivation.deleteMany({ where }), database.pendingEmail.deleteMany({ where })]
      : []
  return [
    ...ended,
    ...pending,
    database.authToken.deleteMany({ where: { ...where, ...(key !== null && { key: { not: key } }) } }),
    database.$executeRaw`
      INSERT INTO "latchkey_credential_epoch" (user_id, not_before) VALUES (${userId}, ${now})
      ON CONFLICT (user_id) DO UPDATE SET not_before = excluded.not_before`
  ]
}

/** Returns the statement that locks the user's row until the transaction ends, against concurrent logins and adoptions. */
export const lockUser = (database: Database, userId: number): Statement =>
  database.$executeRaw`UPDATE auth_user SET is_active = is_active WHERE id = ${userId}`

/** Returns the statement that waits for a transaction that is ending everything of this user. */
export const awaitEnd = (database: Database, userId: number): Statement =>
  database.$queryRaw`SELECT id FROM auth_user WHERE id = ${userId} ${database.forShare}`

interface Subject {
  userId: number
  /** Before a rename. */
  username: string | undefined
  /** The session whose access tokens stay valid. */
  keptSid: string | null
}

/** Returns the statement that revokes all access tokens that name this user. */
function revokeSubject(
  database: Database,
  settings: Settings,
  { userId, username, keptSid }: Subject,
  now: Date
): Statement {
  const named = username === undefined ? sql`username` : sql`CAST(${username} AS varchar(150))`
  const subject = settings.userIdField === 'username' ? named : sql`CAST(id AS varchar(150))`
  return database.$queryRaw`
    INSERT INTO "latchkey_revocation" (sid, subject, revoked_at, expires_at)
    SELECT CAST(${keptSid} AS varchar(32)), ${subject}, ${now}, ${subjectEnd(settings, now)} FROM auth_user WHERE id = ${userId}
    RETURNING subject AS revoked_subject, sid AS kept_sid, CAST(${now.getTime()} AS bigint) AS revoked_ms`
}

/** Returns the row that revokes the access tokens which a session has now, but not those that it gets later. */
export function outdatedClaimsRow(settings: Settings, sid: string) {
  const revokedAt = new Date()
  return { sid, subject: '', revokedAt, expiresAt: revocationEnd(settings, revokedAt) }
}

/** When the last token that was issued before this time, and that could be used as an access token, has expired. */
export function revocationEnd(settings: Settings, from: Date): Date {
  const { accessTokenLifetime, refreshTokenLifetime, slidingTokenLifetime, tokenTypeClaim, leeway } = settings
  // Without token types a refresh token is accepted as an access token.
  const untyped = tokenTypeClaim === null ? refreshTokenLifetime : 0
  const longest = Math.max(accessTokenLifetime, slidingTokenLifetime, untyped)
  return new Date(from.getTime() + (longest + leeway) * 1000 + CLOCK_SKEW_MS)
}

/**
 * When a revocation by user expires. A username can get another owner, so that one of a username also outlives refresh
 * tokens without `sid`.
 */
export function subjectEnd(settings: Settings, now: Date): Date {
  const { userIdField, refreshTokenLifetime, slidingTokenRefreshLifetime, leeway } = settings
  const end = revocationEnd(settings, now)
  if (userIdField === 'id') return end
  const longest = Math.max(refreshTokenLifetime, slidingTokenRefreshLifetime) + leeway
  return new Date(Math.max(end.getTime(), now.getTime() + longest * 1000 + CLOCK_SKEW_MS))
}

export const newSid = (): string => uuidHex()

/** The id of the session that a token without `sid` becomes: derived from its jti, so that it can be adopted only once. */
export const adoptedSid = (jti: string): string =>
  createHash('sha256').update(`adopted ${jti}`).digest('hex').slice(0, 32)

export const isSid = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)

export const newRow = (
  id: string,
  userId: number,
  { jti, issuedAt, expiresAt }: TokenState,
  end: Date
): SessionRow => ({
  id,
  userId,
  jti,
  previousJti: null,
  createdAt: issuedAt,
  refreshedAt: issuedAt,
  idleExpiresAt: expiresAt < end ? expiresAt : end,
  expiresAt: end,
  label: '',
  userAgent: '',
  address: '',
  lastAddress: '',
  lastUserAgent: '',
  endedAt: null,
  endReason: null
})

/** Cuts what a client reports to the length of the columns. */
export const truncateDevice = ({ userAgent, address }: Device): Device => ({
  userAgent: [...userAgent.replaceAll('\0', '').toWellFormed().slice(0, 510)].slice(0, 255).join(''),
  address: address.slice(0, 45)
})

/** The statements by which sessions begin and end, which a Prisma model cannot say in one piece. */
import { createHash } from 'node:crypto'
import { uuidHex } from '../crypto/random.ts'
import type { Database, Prisma, SessionRow } from '../database/open.ts'
import { empty, join, sql } from '../database/sql.ts'
import type { Settings } from '../settings/schema.ts'

/** How long a revoked token may be refused after it has expired, in milliseconds: clocks differ. */
const MARGIN = 60_000

/** A refresh token as its session knows it. Times are whole seconds. */
export interface Turn {
  jti: string
  issuedAt: Date
  expiresAt: Date
}

/** Where a login comes from. */
export interface Device {
  userAgent: string
  address: string
}

type Change = Prisma.PrismaPromise<unknown>

/**
 * Records a session, if the user is still there, with this password and (if asked) active. On PostgreSQL the user's row is
 * locked against those who are about to change that: they will see the session, and end it.
 *
 * @returns how many rows, 0 or 1
 */
export function insertSession(
  database: Database,
  row: SessionRow,
  { password, isActive }: { password: string; isActive: boolean }
): Promise<number> {
  const times = join([row.createdAt, row.refreshedAt, row.idleExpiresAt, row.expiresAt])
  const active = isActive ? sql`AND is_active` : empty
  return database.$executeRaw`
    INSERT INTO "latchkey_session" (id, user_id, jti, created_at, refreshed_at, idle_expires_at, expires_at, label, user_agent, address)
    SELECT ${row.id}, id, ${row.jti}, ${times}, '', ${row.userAgent}, ${row.address}
    FROM auth_user WHERE id = ${row.userId} AND password = ${password} ${active} ${database.forShare}`
}

/** Ends the sessions of this kind, and has their access tokens refused. The first result is the one of the update. */
export function endingOf(
  database: Database,
  settings: Settings,
  where: Prisma.SessionWhereInput & { endedAt: null },
  reason: string
): [Prisma.PrismaPromise<{ count: number }>, Change] {
  const endedAt = new Date()
  const { id, userId } = where
  const column = typeof id === 'string' ? sql`id = ${id}` : sql`user_id = ${userId}`
  return [
    database.session.updateMany({ where, data: { endedAt, endReason: reason } }),
    // Those that the update has just ended: whatever else happens, they are the ones with this time.
    database.$executeRaw`
      INSERT INTO "latchkey_revocation" (sid, revoked_at, expires_at)
      SELECT id, ended_at, ${forgottenAt(settings, endedAt)} FROM "latchkey_session" WHERE ${column} AND ended_at = ${endedAt}`
  ]
}

/**
 * Ends a user's sessions. Tokens that name no session are refused as well once the user is inactive or gone.
 *
 * @param except a session that stays
 */
export function endingsOfUser(
  database: Database,
  settings: Settings,
  userId: number,
  reason: string,
  except: string | null
): Change[] {
  const where = { userId, endedAt: null, ...(except !== null && { id: { not: except } }) }
  const endings = endingOf(database, settings, where, reason)
  if (reason !== 'inactive' && reason !== 'deleted') return endings
  const revokedAt = new Date()
  const subject = settings.userIdField === 'username' ? sql`username` : sql`CAST(id AS varchar(150))`
  return [
    ...endings,
    database.$executeRaw`
      INSERT INTO "latchkey_revocation" (subject, revoked_at, expires_at)
      SELECT ${subject}, ${revokedAt}, ${forgottenAt(settings, revokedAt)} FROM auth_user WHERE id = ${userId}`
  ]
}

/** A row by which the access tokens that a session has now are refused, and those that it gets are not. */
export function staleClaims(settings: Settings, sid: string) {
  const revokedAt = new Date()
  return { sid, subject: '', revokedAt, expiresAt: forgottenAt(settings, revokedAt) }
}

function forgottenAt({ accessTokenLifetime, slidingTokenLifetime, leeway }: Settings, from: Date): Date {
  return new Date(from.getTime() + (Math.max(accessTokenLifetime, slidingTokenLifetime) + leeway) * 1000 + MARGIN)
}

export const newSid = (): string => uuidHex()

/** A token without a session is adopted once, whoever tries: its session's name follows from its own. */
export const adoptedSid = (jti: string): string =>
  createHash('sha256').update(`adopted ${jti}`).digest('hex').slice(0, 32)

export const isSid = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)

export const newRow = (id: string, userId: number, { jti, issuedAt, expiresAt }: Turn, end: Date): SessionRow => ({
  ...{ id, userId, jti, previousJti: null, createdAt: issuedAt, refreshedAt: issuedAt },
  ...{ idleExpiresAt: expiresAt < end ? expiresAt : end, expiresAt: end, label: '', userAgent: '', address: '' },
  ...{ endedAt: null, endReason: null }
})

/** What a client says of itself, as far as the columns hold it. */
export const boundedOf = ({ userAgent, address }: Device): Device => ({
  userAgent: [...userAgent.replaceAll('\0', '').toWellFormed().slice(0, 510)].slice(0, 255).join(''),
  address: address.slice(0, 45)
})

/** Deletes a user with its related rows: Django's cascade, which the database does not do. */
import { isMissingTable } from '../database/errors.ts'
import type { Database, Prisma } from '../database/open.ts'
import { retryOnConflict } from '../database/retry.ts'
import { commit, find, type Permit, publicOf } from './changes.ts'

type Statement = Prisma.PrismaPromise<unknown>

/**
 * @param endStatements ends the user's sessions in the same transaction
 * @param permit as of Users.deleteUser
 */
export async function deleteUser(
  database: Database,
  id: number,
  endStatements: () => Statement[],
  permit?: Permit
): Promise<unknown[]> {
  const isLogged = await hasAdminLog(database)
  const statements = () => [...endStatements(), ...cascadeOf(database, id, isLogged)]
  if (permit === undefined) {
    // First, so that no concurrent login succeeds.
    const shutOut = database.user.updateMany({ where: { id }, data: { isActive: false } })
    return database.$transaction([shutOut, ...statements()])
  }
  return retryOnConflict(async () => {
    const user = await find(database, id)
    await permit(publicOf(user))
    return commit(database, user, { isActive: false }, statements)
  })
}

/** Returns the statements that delete the related rows and the user, in Django's order. */
const cascadeOf = (database: Database, userId: number, isLogged: boolean): Statement[] => [
  // Otherwise a concurrent refresh or login could insert a row that refers to the user, and prevent the deletion.
  database.$queryRaw`SELECT id FROM auth_user WHERE id = ${userId} ${database.forUpdate}`,
  database.userGroup.deleteMany({ where: { userId } }),
  database.userPermission.deleteMany({ where: { userId } }),
  ...(isLogged ? [database.$executeRaw`DELETE FROM django_admin_log WHERE user_id = ${userId}`] : []),
  database.authToken.deleteMany({ where: { userId } }),
  database.renewedPassword.deleteMany({ where: { userId } }),
  database.outstandingToken.updateMany({ where: { userId }, data: { userId: null } }),
  database.session.deleteMany({ where: { userId } }),
  database.credentialEpoch.deleteMany({ where: { userId } }),
  database.pendingActivation.deleteMany({ where: { userId } }),
  database.pendingEmail.deleteMany({ where: { userId } }),
  database.user.deleteMany({ where: { id: userId } })
]

const adminLogs = new WeakMap<Database, Promise<boolean>>()

/** True if the database has the log of Django's admin, whose rows refer to users. Looked up once. */
export function hasAdminLog(database: Database): Promise<boolean> {
  const known = adminLogs.get(database)
  if (known !== undefined) return known
  const found = database.$queryRaw`SELECT 1 FROM django_admin_log LIMIT 1`.then(
    () => true,
    (error: unknown) => {
      if (isMissingTable(error)) return false
      adminLogs.delete(database)
      throw error
    }
  )
  adminLogs.set(database, found)
  return found
}

/** The stored permissions, for staff to read. */
import type { Database } from '../database/open.ts'

export interface PermissionRow {
  id: number
  name: string
  codename: string
  contentType: { appLabel: string; model: string }
}

export interface PermissionListQuery {
  appLabel?: string | undefined
  model?: string | undefined
  codename?: string | undefined
  /** Each term must be contained in the codename or the name, in any case. */
  terms: readonly string[]
  /** Prisma's `orderBy`; by default Django's order: app label, model, codename. */
  order: readonly object[]
}

const DEFAULT_ORDER = [{ contentType: { appLabel: 'asc' } }, { contentType: { model: 'asc' } }, { codename: 'asc' }]
const WITH_TYPE = { include: { contentType: { select: { appLabel: true, model: true } } } } as const

/** @returns the count and the rows of a range, in a stable order */
export function listPermissions(database: Database, query: PermissionListQuery) {
  const { appLabel, model, codename, terms, order } = query
  const where = {
    AND: [
      ...(codename === undefined ? [] : [{ codename }]),
      ...(appLabel === undefined ? [] : [{ contentType: { appLabel } }]),
      ...(model === undefined ? [] : [{ contentType: { model } }]),
      ...terms.map((term) => {
        const has = database.containing(term)
        return { OR: [{ codename: has }, { name: has }] }
      })
    ]
  }
  const orderBy = [...(order.length > 0 ? order : DEFAULT_ORDER), { id: 'asc' as const }] as object[]
  return {
    count: () => database.permission.count({ where }),
    find: (range: { skip: number; take: number }): Promise<PermissionRow[]> =>
      database.permission.findMany({ ...range, where, orderBy, ...WITH_TYPE })
  }
}

export function getPermission(database: Database, id: number): Promise<PermissionRow | null> {
  return database.permission.findUnique({ where: { id }, ...WITH_TYPE })
}

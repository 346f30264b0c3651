/** Groups with the primary keys of their permissions, for staff. */
import type { Database, Group } from '../database/open.ts'

/** In ascending order of the keys. */
export type GroupWithPermissions = Group & { permissions: number[] }

const WITH_PERMISSIONS = { permissions: { select: { permissionId: true }, orderBy: { permissionId: 'asc' } } } as const

const withPermissions = ({ permissions, ...group }: Group & { permissions: { permissionId: number }[] }) => ({
  ...group,
  permissions: permissions.map(({ permissionId }) => permissionId)
})

export interface GroupListQuery {
  /** Each term must be contained in the name, in any case. */
  terms: readonly string[]
  order: readonly { [Column in keyof Group]?: 'asc' | 'desc' }[]
}

/** @returns the count and the rows of a range, or all rows, in a stable order */
export function listGroups(database: Database, { terms, order }: GroupListQuery) {
  const where = { AND: terms.map((term) => ({ name: database.containing(term) })) }
  const orderBy = [...order, { id: 'asc' as const }]
  return {
    count: () => database.group.count({ where }),
    find: async (range: { skip?: number; take?: number }): Promise<GroupWithPermissions[]> =>
      (await database.group.findMany({ ...range, where, orderBy, include: WITH_PERMISSIONS })).map(withPermissions)
  }
}

export async function getGroup(database: Database, id: number): Promise<GroupWithPermissions | null> {
  const group = await database.group.findUnique({ where: { id }, include: WITH_PERMISSIONS })
  return group && withPermissions(group)
}

/** The list of users for staff: filtered, searched and ordered in the database. */
import type { Database, Prisma } from '../database/open.ts'
import { type UserWithKeys, WITH_KEYS, withKeys } from '../users/changes.ts'
import type { User } from '../users/user.ts'

type UserColumn = keyof User

/** Columns that must have these values; with `groups`, membership in one of the groups. */
export type UserFilters = { [Column in UserColumn]?: User[Column] | undefined } & {
  groups?: readonly number[] | undefined
}

export interface UserListQuery {
  filters: UserFilters
  /** Each term must be contained in a name or the email address, in any case. */
  terms: readonly string[]
  order: readonly { [Column in UserColumn]?: 'asc' | 'desc' }[]
  /** Only members of this group. */
  memberOf?: number
}

const SEARCHED = ['username', 'firstName', 'lastName', 'email'] as const

/** @returns the count and the rows of a range, in a stable order */
export function listUsers(database: Database, { filters, terms, order, memberOf }: UserListQuery) {
  const { groups, ...columns } = filters
  const where: Prisma.UserWhereInput = {
    AND: [
      columns as Prisma.UserWhereInput,
      ...(groups === undefined ? [] : [{ groups: { some: { groupId: { in: [...groups] } } } }]),
      ...(memberOf === undefined ? [] : [{ groups: { some: { groupId: memberOf } } }]),
      ...terms.map((term) => ({ OR: SEARCHED.map((column) => ({ [column]: database.containing(term) })) }))
    ]
  }
  const orderBy: Prisma.UserOrderByWithRelationInput[] = [...order, { id: 'asc' as const }]
  return {
    count: () => database.user.count({ where }),
    find: async (range: { skip: number; take: number }): Promise<UserWithKeys[]> =>
      (await database.user.findMany({ ...range, where, orderBy, ...WITH_KEYS })).map(withKeys)
  }
}

/** @returns the first of these primary keys without a group, if any */
export async function firstUnknownGroup(database: Database, ids: readonly number[]): Promise<number | undefined> {
  const rows = await database.group.findMany({ where: { id: { in: [...ids] } }, select: { id: true } })
  const known = new Set(rows.map(({ id }) => id))
  return ids.find((id) => !known.has(id))
}

/** Grants permissions by writing to the tables. */
import type { FastifyInstance } from 'fastify'

/** Returns the id of a permission, which is created with the content type `app_label.thing` if it is missing. */
export async function permissionNamed({ auth }: FastifyInstance, name: string): Promise<number> {
  const { database } = auth
  const [appLabel = '', codename = ''] = name.split('.')
  const known = await database.permission.findFirst({ where: { codename, contentType: { appLabel } } })
  if (known) return known.id
  const type = { appLabel, model: 'thing' }
  const contentType = await database.contentType.upsert({ where: { appLabel_model: type }, create: type, update: {} })
  return (await database.permission.create({ data: { codename, name: codename, contentTypeId: contentType.id } })).id
}

export async function grant(app: FastifyInstance, userId: number, name: string): Promise<void> {
  const permissionId = await permissionNamed(app, name)
  await app.auth.database.userPermission.create({ data: { userId, permissionId } })
}

/** Adds a user to a new group that has this permission. */
export async function grantByGroup(app: FastifyInstance, userId: number, name: string): Promise<void> {
  const { database } = app.auth
  const group = await database.group.create({ data: { name: `${userId} ${name}` } })
  await database.groupPermission.create({ data: { groupId: group.id, permissionId: await permissionNamed(app, name) } })
  await database.userGroup.create({ data: { userId, groupId: group.id } })
}

/** `/groups/:id/users/`: the members of a group, for groups too large to be changed as a whole. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { JWT_SECURITY } from '../../authentication/jwt.ts'
import { PrimaryKey } from '../../drf/fields.ts'
import { PageOf } from '../../drf/pagination.ts'
import { NoContent } from '../../drf/responses.ts'
import { view } from '../../drf/view.ts'
import { NotFound, ValidationError } from '../../errors.ts'
import { authenticatedUser } from '../../guards/auth-core.ts'
import { missing } from '../../users/changes.ts'
import { getGroupOr404 } from './groups.ts'
import {
  ERRORS,
  getUserOr404,
  NO_USER,
  type Paginate,
  type StaffRoutesOptions,
  toJson,
  UserQuery,
  type UserRequest,
  UserSchema,
  userListQuery,
  userRows
} from './users.ts'

export function groupUserRoutes(app: FastifyInstance, { before, paginate }: StaffRoutesOptions): void {
  const common = { before, tags: ['groups'], challenge: app.auth.authenticators.jwt.challenge }
  view(app, '/groups/:id/users/', {
    ...common,
    name: 'Group Users',
    description: 'The members of a group.',
    methods: {
      GET: {
        summary: 'List the members of a group',
        security: JWT_SECURITY,
        query: UserQuery,
        response: { 200: PageOf(UserSchema), ...ERRORS },
        handler: (request) => list(request, paginate)
      },
      POST: {
        summary: 'Add a user to a group',
        security: JWT_SECURITY,
        body: Type.Object({ user: PrimaryKey() }),
        response: { 201: UserSchema, ...ERRORS },
        handler: async (request, reply) => {
          reply.code(201)
          return add(request, request.body.user)
        }
      }
    }
  })
  view(app, '/groups/:id/users/:user/', {
    ...common,
    name: 'Group User',
    description: 'One member of a group.',
    methods: {
      DELETE: {
        summary: 'Remove a user from a group',
        security: JWT_SECURITY,
        response: { 204: NoContent, ...ERRORS },
        handler: remove
      }
    }
  })
}

async function list(request: FastifyRequest, paginate: Paginate): Promise<unknown> {
  const { id } = await getGroupOr404(request)
  return paginate(request, userRows(request, { ...(await userListQuery(request)), memberOf: id }))
}

async function add(request: UserRequest, key: number): Promise<object | null> {
  const { users, admin } = request.server.auth
  const { id } = await getGroupOr404(request)
  const user = await users.getWithKeys(key)
  if (user === null) throw new ValidationError(missing('user', [key], []))
  await admin.addToGroup(authenticatedUser(request), user, id)
  return toJson(await users.getWithKeys(key))
}

async function remove(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { id } = await getGroupOr404(request)
  const user = await getUserOr404(request, 'user')
  if (!user.groups.includes(id)) throw new NotFound(NO_USER)
  await request.server.auth.admin.removeFromGroup(authenticatedUser(request), user, id)
  return reply.code(204).send()
}

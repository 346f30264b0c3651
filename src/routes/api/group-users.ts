/** Who is in a group, for staff: for groups that are too large to be changed user by user. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { Management } from '../../admin/policy.ts'
import { PrimaryKey } from '../../drf/fields.ts'
import { PageOf } from '../../drf/pagination.ts'
import { view } from '../../drf/view.ts'
import { NotFound, ValidationError } from '../../errors.ts'
import { missing } from '../../users/changes.ts'
import { groupOf, type Paginate, Refusals, SIGNED_IN } from './groups.ts'
import {
  type Asked,
  conditionsOf,
  NO_USER,
  rowsOf,
  type StaffRoutesOptions,
  shown,
  UserQuery,
  UserShape,
  userOf,
  userWith
} from './users.ts'

/** List, add and remove the members of a group, below `/groups/:id/users/`. */
export function memberRoutes(app: FastifyInstance, { before, paginate }: StaffRoutesOptions): void {
  const common = { before, tags: ['groups'], challenge: `${app.auth.settings.authHeaderTypes[0]} realm="api"` }
  view(app, '/groups/:id/users/', {
    ...{ ...common, name: 'Group Users', description: 'The members of a group.' },
    methods: {
      GET: {
        ...{ summary: 'List the members of a group', security: SIGNED_IN, query: UserQuery },
        response: { 200: PageOf(UserShape), ...Refusals },
        handler: (request) => list(request, paginate)
      },
      POST: {
        ...{ summary: 'Put a user into a group', security: SIGNED_IN, body: Type.Object({ user: PrimaryKey() }) },
        response: { 201: UserShape, ...Refusals },
        handler: async (request, reply) => {
          reply.code(201)
          return add(request, request.body.user)
        }
      }
    }
  })
  view(app, '/groups/:id/users/:user/', {
    ...{ ...common, name: 'Group User', description: 'One member of a group.' },
    methods: {
      DELETE: {
        ...{ summary: 'Take a user out of a group', security: SIGNED_IN, response: { 204: Type.Null(), ...Refusals } },
        handler: remove
      }
    }
  })
}

async function list(request: FastifyRequest, paginate: Paginate): Promise<unknown> {
  const { id } = await groupOf(request)
  return paginate(request, rowsOf(request, [...(await conditionsOf(request)), { groups: { some: { groupId: id } } }]))
}

async function add(request: Asked, key: number): Promise<object | null> {
  const { id } = await groupOf(request)
  const user = await userWith(request, key)
  if (user === null) throw new ValidationError(missing('user', [key], []))
  await new Management(request.server.auth).addToGroup(request.user, user, id)
  return shown(await userWith(request, key))
}

async function remove(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  const { id } = await groupOf(request)
  const user = await userOf(request, 'user')
  if (!user.groups.includes(id)) throw new NotFound(NO_USER)
  await new Management(request.server.auth).removeFromGroup(request.user, user, id)
  return reply.code(204).send()
}

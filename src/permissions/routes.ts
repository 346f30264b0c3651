/** Groups as DRF's ModelViewSet serves them. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import type { Group } from '../database/open.ts'
import { NotFound } from '../errors.ts'
import { CharField } from '../http/fields.ts'
import { PageOf, type Rows } from '../http/pagination.ts'
import { view } from '../http/view.ts'
import { primaryKeyOf } from '../users/user.ts'
import type { Guard } from './guards.ts'

const GroupShape = Type.Object({ id: Type.Integer(), name: Type.String() })
const Refusals = {
  400: Type.Record(Type.String(), Type.Array(Type.String())),
  401: Type.Object({ detail: Type.String() }),
  403: Type.Object({ detail: Type.String() }),
  404: Type.Object({ detail: Type.String() })
}
const NAME = { maxLength: 150 }

export interface GroupRoutesOptions {
  before: Guard[]
  /** What a list is answered with; without it, with all rows. */
  paginate?: (request: FastifyRequest, rows: Rows<Group>) => Promise<unknown>
}

/** List, create, read, update and delete groups below this URL. */
export function groupRoutes(app: FastifyInstance, url: `/${string}/`, options: GroupRoutesOptions): void {
  const common = { tags: ['groups'], challenge: `${app.auth.settings.authHeaderTypes[0]} realm="api"` }
  view(app, url, {
    ...{ ...common, name: 'Group List', description: 'Groups, whose members hold what they hold.' },
    before: options.before,
    methods: {
      GET: {
        ...{ summary: 'List groups', security: SIGNED_IN },
        response: { 200: options.paginate ? PageOf(GroupShape) : Type.Array(GroupShape), ...Refusals },
        handler: (request) => list(request, options)
      },
      POST: {
        ...{ summary: 'Make a group', security: SIGNED_IN },
        body: Type.Object({ name: CharField(NAME) }),
        response: { 201: GroupShape, ...Refusals },
        handler: async (request, reply) => {
          reply.code(201)
          return shown(await request.server.auth.groups.createGroup(request.body.name))
        }
      }
    }
  })
  view(app, `${url}:id/`, {
    ...{ ...common, name: 'Group Instance', description: 'One group.' },
    before: options.before,
    methods: {
      GET: { summary: 'Read a group', ...ONE, handler: async (request) => shown(await groupOf(request)) },
      PUT: {
        ...{ summary: 'Change a group', ...ONE, body: Type.Object({ name: CharField(NAME) }) },
        handler: (request) => rename(request, request.body.name)
      },
      PATCH: {
        ...{ summary: 'Change a group', ...ONE, body: Type.Object({ name: CharField({ ...NAME, required: false }) }) },
        handler: (request) => rename(request, request.body.name)
      },
      DELETE: {
        ...{ summary: 'Delete a group', security: SIGNED_IN, response: { 204: Type.Null(), ...Refusals } },
        handler: async (request, reply) => {
          await request.server.auth.groups.deleteGroup((await groupOf(request)).id)
          return reply.code(204).send()
        }
      }
    }
  })
}

const SIGNED_IN = [{ jwt: [] }]
const ONE = { security: SIGNED_IN, response: { 200: GroupShape, ...Refusals } }

type Asked = Pick<FastifyRequest, 'params' | 'server'>

const shown = ({ id, name }: Group) => ({ id, name })

async function list(request: FastifyRequest, { paginate }: GroupRoutesOptions): Promise<unknown> {
  const { group } = request.server.auth.database
  const rows: Rows<Group> = {
    count: () => group.count(),
    find: async (range) => (await group.findMany({ ...range, orderBy: { id: 'asc' } })).map(shown)
  }
  return paginate ? paginate(request, rows) : (await group.findMany({ orderBy: { id: 'asc' } })).map(shown)
}

/** @throws {NotFound} in Django's words, which differ for what can be no id */
async function groupOf({ params, server }: Asked): Promise<Group> {
  const id = primaryKeyOf((params as { id?: string }).id)
  const group = id === null ? null : await server.auth.database.group.findUnique({ where: { id } })
  if (group !== null) return group
  throw new NotFound(id === null ? undefined : 'No Group matches the given query.')
}

async function rename(request: Asked, name: string | undefined): Promise<{ id: number; name: string }> {
  const group = await groupOf(request)
  return shown(name === undefined ? group : await request.server.auth.groups.renameGroup(group.id, name))
}

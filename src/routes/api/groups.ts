/** Groups as DRF's ModelViewSet serves them. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type, { type TSchema } from 'typebox'
import { Management } from '../../admin/policy.ts'
import type { Group } from '../../database/open.ts'
import { CharField, PrimaryKeys } from '../../drf/fields.ts'
import { type Direction, ListQuery, orderingOf, searchTerms } from '../../drf/filters.ts'
import { PageOf, type Rows } from '../../drf/pagination.ts'
import { view } from '../../drf/view.ts'
import { NotFound } from '../../errors.ts'
import type { Guard } from '../../guards/guards.ts'
import { primaryKeyOf } from '../../users/user.ts'

const GroupShape = Type.Object({ id: Type.Integer(), name: Type.String() })
const WithPermissions = Type.Object({ ...GroupShape.properties, permissions: Type.Array(Type.Integer()) })
const Detail = Type.Object({ detail: Type.String() })
export const Refusals = {
  400: Type.Record(Type.String(), Type.Array(Type.String())),
  ...{ 401: Detail, 403: Detail, 404: Detail }
}
export const SIGNED_IN = [{ jwt: [] }]
const NAME = { maxLength: 150 }
const PERMISSIONS = { permissions: PrimaryKeys({ required: false }) }

/** What a list is answered with. */
export type Paginate = (request: FastifyRequest, rows: Rows<object>) => Promise<unknown>

export interface GroupRoutesOptions {
  before: Guard[]
  /** Without it a list is answered with all rows. */
  paginate?: Paginate
  /** A group tells and takes its `permissions` as well. */
  withPermissions?: boolean
}

/** List, create, read, update and delete groups below this URL. */
export function groupRoutes(app: FastifyInstance, url: `/${string}/`, options: GroupRoutesOptions): void {
  listView(app, url, options)
  instanceView(app, `${url}:id/`, options)
}

const common = ({ auth }: FastifyInstance, { before }: GroupRoutesOptions) => ({
  ...{ tags: ['groups'], before },
  challenge: `${auth.settings.authHeaderTypes[0]} realm="api"`
})

const shapeOf = ({ withPermissions }: GroupRoutesOptions) => (withPermissions ? WithPermissions : GroupShape)

/** What a body may hold, of which the name is needed or not. */
const fieldsOf = <const Name extends TSchema>({ withPermissions }: GroupRoutesOptions, name: Name) =>
  Type.Object({ name, ...((withPermissions ? PERMISSIONS : {}) as typeof PERMISSIONS) })

function listView(app: FastifyInstance, url: `/${string}/`, options: GroupRoutesOptions): void {
  const Shape = shapeOf(options)
  view(app, url, {
    ...{ ...common(app, options), name: 'Group List', description: 'Groups, whose members hold what they hold.' },
    methods: {
      GET: {
        ...{ summary: 'List groups', security: SIGNED_IN, query: ListQuery({}) },
        response: { 200: options.paginate ? PageOf(Shape) : Type.Array(Shape), ...Refusals },
        handler: (request) => list(request, options)
      },
      POST: {
        ...{ summary: 'Make a group', security: SIGNED_IN, response: { 201: Shape, ...Refusals } },
        body: fieldsOf(options, CharField(NAME)),
        faults: (given: Body) => app.auth.groups.faultsOf(given),
        handler: async (request, reply) => {
          reply.code(201)
          return create(request, request.body)
        }
      }
    }
  })
}

function instanceView(app: FastifyInstance, url: `/${string}/`, options: GroupRoutesOptions): void {
  const one = { security: SIGNED_IN, response: { 200: shapeOf(options), ...Refusals } }
  const change = {
    ...{ ...one, summary: 'Change a group' },
    faults: async (given: Body, request: Asked) => app.auth.groups.faultsOf(given, (await groupOf(request)).id),
    handler: async (request: Asked & { body: Body }) => update(request, request.body)
  }
  view(app, url, {
    ...{ ...common(app, options), name: 'Group Instance', description: 'One group.' },
    methods: {
      GET: { summary: 'Read a group', ...one, handler: groupOf },
      PUT: { ...change, body: fieldsOf(options, CharField(NAME)) },
      PATCH: { ...change, body: fieldsOf(options, CharField({ ...NAME, required: false })) },
      DELETE: { ...one, summary: 'Delete a group', response: { 204: Type.Null(), ...Refusals }, handler: remove }
    }
  })
}

interface Body {
  name?: string
  permissions?: number[]
}

type Asked = Pick<FastifyRequest, 'params' | 'server' | 'user'>

const HELD = { permissions: { select: { permissionId: true }, orderBy: { permissionId: 'asc' } } } as const

const shown = ({ permissions, ...group }: Group & { permissions: { permissionId: number }[] }) => ({
  ...group,
  permissions: permissions.map(({ permissionId }) => permissionId)
})

const ORDERED = { id: (id: Direction) => ({ id }), name: (name: Direction) => ({ name }) }

async function list(request: FastifyRequest, { paginate }: GroupRoutesOptions): Promise<unknown> {
  const { database } = request.server.auth
  const where = { AND: searchTerms(request).map((term) => ({ name: database.containing(term) })) }
  const orderBy = [...orderingOf<object>(request, ORDERED), { id: 'asc' as const }]
  const find = async (range: object) =>
    (await database.group.findMany({ ...range, where, orderBy, include: HELD })).map(shown)
  return paginate ? paginate(request, { count: () => database.group.count({ where }), find }) : find({})
}

/** @throws {NotFound} in Django's words, which differ for what can be no id */
export async function groupOf({ params, server }: Asked): Promise<Group & { permissions: number[] }> {
  const id = primaryKeyOf((params as { id?: string }).id)
  const group = id === null ? null : await server.auth.database.group.findUnique({ where: { id }, include: HELD })
  if (group !== null) return shown(group)
  throw new NotFound(id === null ? undefined : 'No Group matches the given query.')
}

async function create({ user, server }: Asked, { name, permissions = [] }: Body & { name: string }): Promise<object> {
  const group = await new Management(server.auth).createGroup(user, name, permissions)
  return { ...group, permissions: permissions.toSorted((a, b) => a - b) }
}

async function update(request: Asked, changes: Body): Promise<object> {
  await new Management(request.server.auth).updateGroup(request.user, (await groupOf(request)).id, changes)
  return groupOf(request)
}

async function remove(request: Asked, reply: FastifyReply): Promise<unknown> {
  await new Management(request.server.auth).deleteGroup((await groupOf(request)).id)
  return reply.code(204).send()
}

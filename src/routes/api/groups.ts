/** `/groups/`: DRF's ModelViewSet of groups. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type, { type TSchema } from 'typebox'
import { type GroupWithPermissions, getGroup, listGroups } from '../../admin/group-list.ts'
import { JWT_SECURITY } from '../../authentication/jwt.ts'
import { CharField, PrimaryKeys } from '../../drf/fields.ts'
import { type Direction, ListQuery, readOrdering, readSearchTerms } from '../../drf/filters.ts'
import { PageOf } from '../../drf/pagination.ts'
import { NoContent } from '../../drf/responses.ts'
import { view } from '../../drf/view.ts'
import { NotFound } from '../../errors.ts'
import { type AUTHENTICATION, authenticatedUser } from '../../guards/auth-core.ts'
import type { Guard } from '../../guards/guards.ts'
import { primaryKeyOf } from '../../users/user.ts'
import { ERRORS, type Paginate } from './users.ts'

const GroupSchema = Type.Object({ id: Type.Integer(), name: Type.String() })
const GroupWithPermissionsSchema = Type.Object({
  ...GroupSchema.properties,
  permissions: Type.Array(Type.Integer())
})
const NAME = { maxLength: 150 }
const PERMISSIONS = { permissions: PrimaryKeys({ required: false }) }
const ORDERINGS = { id: (id: Direction) => ({ id }), name: (name: Direction) => ({ name }) }

export interface GroupRoutesOptions {
  before: Guard[]
  /** If left out, a list returns all rows. */
  paginate?: Paginate
  /** True: `permissions` is in requests and responses. */
  withPermissions?: boolean
}

/** Adds the routes of groups below `url`. */
export function groupRoutes(app: FastifyInstance, url: `/${string}/`, options: GroupRoutesOptions): void {
  listView(app, url, options)
  instanceView(app, `${url}:id/`, options)
}

const common = ({ auth }: FastifyInstance, { before }: GroupRoutesOptions) => ({
  tags: ['groups'],
  before,
  challenge: auth.authenticators.jwt.challenge
})

const schemaOf = ({ withPermissions }: GroupRoutesOptions) =>
  withPermissions ? GroupWithPermissionsSchema : GroupSchema

/** The fields of a request body. */
const fieldsOf = <const Name extends TSchema>({ withPermissions }: GroupRoutesOptions, name: Name) =>
  Type.Object({ name, ...((withPermissions ? PERMISSIONS : {}) as typeof PERMISSIONS) })

function listView(app: FastifyInstance, url: `/${string}/`, options: GroupRoutesOptions): void {
  const schema = schemaOf(options)
  view(app, url, {
    ...common(app, options),
    name: 'Group List',
    description: 'Groups. Their members have their permissions.',
    methods: {
      GET: {
        summary: 'List groups',
        security: JWT_SECURITY,
        query: ListQuery({}),
        response: { 200: options.paginate ? PageOf(schema) : Type.Array(schema), ...ERRORS },
        handler: (request) => list(request, options)
      },
      POST: {
        summary: 'Create a group',
        security: JWT_SECURITY,
        response: { 201: schema, ...ERRORS },
        body: fieldsOf(options, CharField(NAME)),
        validate: (given: Body) => app.auth.groups.faultsOf(given),
        handler: async (request, reply) => {
          reply.code(201)
          return create(request, request.body)
        }
      }
    }
  })
}

function instanceView(app: FastifyInstance, url: `/${string}/`, options: GroupRoutesOptions): void {
  const one = { security: JWT_SECURITY, response: { 200: schemaOf(options), ...ERRORS } }
  const change = {
    ...one,
    summary: 'Change a group',
    validate: async (given: Body, request: GroupRequest) =>
      app.auth.groups.faultsOf(given, (await getGroupOr404(request)).id),
    handler: async (request: GroupRequest & { body: Body }) => update(request, request.body)
  }
  view(app, url, {
    ...common(app, options),
    name: 'Group Instance',
    description: 'One group.',
    methods: {
      GET: { ...one, summary: 'Read a group', handler: getGroupOr404 },
      PUT: { ...change, body: fieldsOf(options, CharField(NAME)) },
      PATCH: { ...change, body: fieldsOf(options, CharField({ ...NAME, required: false })) },
      DELETE: { ...one, summary: 'Delete a group', response: { 204: NoContent, ...ERRORS }, handler: remove }
    }
  })
}

interface Body {
  name?: string
  permissions?: number[]
}

type GroupRequest = Pick<FastifyRequest, 'params' | 'server' | typeof AUTHENTICATION>

async function list(request: FastifyRequest, { paginate }: GroupRoutesOptions): Promise<unknown> {
  const query = { terms: readSearchTerms(request), order: readOrdering<object>(request, ORDERINGS) }
  const rows = listGroups(request.server.auth.database, query)
  return paginate ? paginate(request, rows) : rows.find({})
}

/** @throws {NotFound} in Django's words, which differ for a value that cannot be a primary key */
export async function getGroupOr404({ params, server }: GroupRequest): Promise<GroupWithPermissions> {
  const id = primaryKeyOf((params as { id?: string }).id)
  const group = id === null ? null : await getGroup(server.auth.database, id)
  if (group !== null) return group
  throw new NotFound(id === null ? undefined : 'No Group matches the given query.')
}

async function create(request: GroupRequest, { name, permissions = [] }: Body & { name: string }): Promise<object> {
  const group = await request.server.auth.admin.createGroup(authenticatedUser(request), name, permissions)
  return { ...group, permissions: permissions.toSorted((a, b) => a - b) }
}

async function update(request: GroupRequest, changes: Body): Promise<object> {
  await request.server.auth.admin.updateGroup(authenticatedUser(request), (await getGroupOr404(request)).id, changes)
  return getGroupOr404(request)
}

async function remove(request: GroupRequest, reply: FastifyReply): Promise<unknown> {
  await request.server.auth.admin.deleteGroup(authenticatedUser(request), (await getGroupOr404(request)).id)
  return reply.code(204).send()
}

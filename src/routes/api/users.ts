/** `/users/`: staff lists, creates, reads, changes and deletes users. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { firstUnknownGroup, listUsers, type UserFilters, type UserListQuery } from '../../admin/user-list.ts'
import { JWT_SECURITY } from '../../authentication/jwt.ts'
import { formatDateTime } from '../../drf/date-time.ts'
import { BooleanField, CharField, type Faults, PrimaryKey, PrimaryKeys } from '../../drf/fields.ts'
import { type Direction, ListQuery, readFilters, readOrdering, readSearchTerms } from '../../drf/filters.ts'
import { PageOf, type Rows } from '../../drf/pagination.ts'
import { errorResponses, NoContent } from '../../drf/responses.ts'
import { view } from '../../drf/view.ts'
import { NotFound, ValidationError } from '../../errors.ts'
import { type AUTHENTICATION, authenticatedUser } from '../../guards/auth-core.ts'
import type { Guard } from '../../guards/guards.ts'
import { EMAIL_TAKEN } from '../../users/addresses.ts'
import { faultsOfChanges, type UserWithKeys } from '../../users/changes.ts'
import { primaryKeyOf } from '../../users/user.ts'
import type { NewUser, UserChanges } from '../../users/users.ts'

const Time = Type.String({ format: 'date-time' })
const Keys = Type.Array(Type.Integer())
export const UserSchema = Type.Object({
  id: Type.Integer(),
  username: Type.String(),
  email: Type.String(),
  first_name: Type.String(),
  last_name: Type.String(),
  is_active: Type.Boolean(),
  is_staff: Type.Boolean(),
  is_superuser: Type.Boolean(),
  date_joined: Time,
  last_login: Type.Union([Time, Type.Null()]),
  groups: Keys,
  user_permissions: Keys
})
const FILTERS = {
  is_active: Type.Boolean(),
  is_staff: Type.Boolean(),
  is_superuser: Type.Boolean(),
  username: Type.String({ maxLength: 150 }),
  email: Type.String({ maxLength: 254 }),
  groups: Keys
}
export const UserQuery = ListQuery(FILTERS)

/** The columns that a list can be ordered by, under Django's names. */
const ORDERED_COLUMNS = {
  id: 'id',
  username: 'username',
  email: 'email',
  first_name: 'firstName',
  last_name: 'lastName',
  is_active: 'isActive',
  is_staff: 'isStaff',
  is_superuser: 'isSuperuser',
  date_joined: 'dateJoined',
  last_login: 'lastLogin'
} as const
const ORDERINGS = Object.fromEntries(
  Object.entries(ORDERED_COLUMNS).map(([name, column]) => [name, (direction: Direction) => ({ [column]: direction })])
)

export const ERRORS = errorResponses(400, 401, 403, 404)

const optional = { required: false } as const
const text = (maxLength: number) => CharField({ ...optional, allowBlank: true, maxLength })

const fieldsOf = ({ auth }: FastifyInstance) => ({
  email: CharField({ ...optional, allowBlank: true, maxLength: 254, format: 'email' }),
  first_name: text(150),
  last_name: text(150),
  is_active: BooleanField(optional),
  is_staff: BooleanField(optional),
  is_superuser: BooleanField(optional),
  date_joined: CharField({ readOnly: true, format: 'date-time' }),
  last_login: CharField({ readOnly: true, format: 'date-time' }),
  groups: PrimaryKeys(optional),
  user_permissions: PrimaryKeys(optional),
  password: CharField({ ...optional, writeOnly: true, maxBytes: 1024, trim: auth.settings.passwordTrim })
})
const id = PrimaryKey({ readOnly: true })

interface Body {
  username?: string
  email?: string
  first_name?: string
  last_name?: string
  is_active?: boolean
  is_staff?: boolean
  is_superuser?: boolean
  groups?: number[]
  user_permissions?: number[]
  password?: string
}

interface ChangeBody extends Body {
  /** Of the caller, to change its own password or email address. */
  current_password?: string
}

/** Answers a list request with one page of rows. */
export type Paginate = (request: FastifyRequest, rows: Rows<object>) => Promise<unknown>

export interface StaffRoutesOptions {
  before: Guard[]
  paginate: Paginate
}

export function userRoutes(app: FastifyInstance, options: StaffRoutesOptions): void {
  listView(app, options)
  instanceView(app, options)
}

const common = ({ auth }: FastifyInstance, { before }: StaffRoutesOptions) => ({
  tags: ['users'],
  before,
  challenge: auth.authenticators.jwt.challenge
})

function listView(app: FastifyInstance, options: StaffRoutesOptions): void {
  view(app, '/users/', {
    ...common(app, options),
    name: 'User List',
    description: 'Users, for staff.',
    methods: {
      GET: {
        summary: 'List users',
        security: JWT_SECURITY,
        query: UserQuery,
        response: { 200: PageOf(UserSchema), ...ERRORS },
        handler: async (request) => options.paginate(request, userRows(request, await userListQuery(request)))
      },
      POST: {
        summary: 'Create a user',
        security: JWT_SECURITY,
        response: { 201: UserSchema, ...ERRORS },
        body: Type.Object({ id, username: CharField({ maxLength: 150 }), ...fieldsOf(app) }),
        validate: (given: Body, request) => findFaults(request, given, null),
        handler: async (request, reply) => {
          reply.code(201)
          return create(request, request.body)
        }
      }
    }
  })
}

function instanceView(app: FastifyInstance, options: StaffRoutesOptions): void {
  const password = CharField({ ...optional, writeOnly: true, trim: app.auth.settings.passwordTrim })
  const fields = { ...fieldsOf(app), current_password: password }
  const one = { security: JWT_SECURITY, response: { 200: UserSchema, ...ERRORS } }
  const change = {
    ...one,
    summary: 'Change a user',
    validate: async (given: Body, request: UserRequest) => findFaults(request, given, await getUserOr404(request)),
    handler: async (request: UserRequest & { body: ChangeBody }) => update(request, request.body)
  }
  view(app, '/users/:id/', {
    ...common(app, options),
    // Changes of one's own account check a password.
    countFailures: app.auth.loginThrottle,
    name: 'User Instance',
    description: 'One user, for staff.',
    methods: {
      GET: { ...one, summary: 'Read a user', handler: async (request) => toJson(await getUserOr404(request)) },
      PUT: { ...change, body: Type.Object({ id, username: CharField({ maxLength: 150 }), ...fields }) },
      PATCH: { ...change, body: Type.Object({ id, username: CharField({ ...optional, maxLength: 150 }), ...fields }) },
      DELETE: { ...one, summary: 'Delete a user', response: { 204: NoContent, ...ERRORS }, handler: remove }
    }
  })
}

/** What the handlers use of a request. */
export type UserRequest = Pick<FastifyRequest, 'params' | 'server' | typeof AUTHENTICATION>

export const NO_USER = 'No User matches the given query.'

/** @throws {NotFound} in Django's words, which differ for a value that cannot be a primary key */
export async function getUserOr404(request: UserRequest, parameter = 'id'): Promise<UserWithKeys> {
  const key = primaryKeyOf((request.params as Record<string, string>)[parameter])
  const user = key === null ? null : await request.server.auth.users.getWithKeys(key)
  if (user === null) throw new NotFound(key === null ? undefined : NO_USER)
  return user
}

async function create(request: UserRequest, body: Body): Promise<object | null> {
  const { auth } = request.server
  const created = await auth.admin.createUser(authenticatedUser(request), changesOf(body) as NewUser)
  return toJson(await auth.users.getWithKeys(created.id))
}

async function update(request: UserRequest, body: ChangeBody): Promise<object | null> {
  const { id } = await getUserOr404(request)
  const { admin } = request.server.auth
  return toJson(await admin.updateUser(authenticatedUser(request), id, changesOf(body), body.current_password))
}

async function remove(request: UserRequest, reply: FastifyReply): Promise<unknown> {
  await request.server.auth.admin.deleteUser(authenticatedUser(request), (await getUserOr404(request)).id)
  return reply.code(204).send()
}

async function findFaults({ server }: UserRequest, given: Body, user: UserWithKeys | null): Promise<Faults> {
  const { users, passwords, database } = server.auth
  const faults = await faultsOfChanges(database, passwords, changesOf(given), user)
  const isTaken = given.email !== undefined && (await users.isEmailTaken(given.email, user?.id))
  return { ...faults, ...(isTaken && { email: [EMAIL_TAKEN] }) }
}

/** Takes the fields one by one, so that no other property of a body reaches the domain. */
function changesOf(body: Body): UserChanges {
  const changes = {
    username: body.username,
    email: body.email,
    password: body.password,
    firstName: body.first_name,
    lastName: body.last_name,
    isActive: body.is_active,
    isStaff: body.is_staff,
    isSuperuser: body.is_superuser,
    groups: body.groups,
    userPermissions: body.user_permissions
  }
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined))
}

export function toJson(user: UserWithKeys | null): object | null {
  if (user === null) return null
  return {
    id: user.id,
    username: user.username,
    email: user.email,
    first_name: user.firstName,
    last_name: user.lastName,
    is_active: user.isActive,
    is_staff: user.isStaff,
    is_superuser: user.isSuperuser,
    date_joined: formatDateTime(user.dateJoined),
    last_login: user.lastLogin && formatDateTime(user.lastLogin),
    groups: user.groups,
    user_permissions: user.userPermissions
  }
}

/** Reads filters, search and ordering from the query string. @throws {ValidationError} */
export async function userListQuery(request: FastifyRequest): Promise<UserListQuery> {
  const { groups, is_active, is_staff, is_superuser, ...names } = readFilters(request, FILTERS)
  const unknown = groups && (await firstUnknownGroup(request.server.auth.database, groups))
  if (unknown !== undefined) {
    throw new ValidationError({ groups: [`Select a valid choice. ${unknown} is not one of the available choices.`] })
  }
  const filters = { ...names, isActive: is_active, isStaff: is_staff, isSuperuser: is_superuser, groups } as UserFilters
  return { filters, terms: readSearchTerms(request), order: readOrdering(request, ORDERINGS) }
}

export function userRows(request: FastifyRequest, query: UserListQuery): Rows<object> {
  const rows = listUsers(request.server.auth.database, query)
  return { count: rows.count, find: async (range) => (await rows.find(range)).map((user) => toJson(user) as object) }
}

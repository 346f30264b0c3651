/** Users, for staff. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { Management } from '../../admin/policy.ts'
import { sidOf } from '../../authentication/caller.ts'
import { BooleanField, CharField, type Faults, PrimaryKey, PrimaryKeys } from '../../drf/fields.ts'
import { type Direction, filtersOf, ListQuery, orderingOf, searchTerms } from '../../drf/filters.ts'
import { PageOf } from '../../drf/pagination.ts'
import { view } from '../../drf/view.ts'
import { NotFound, ValidationError } from '../../errors.ts'
import type { Guard } from '../../guards/guards.ts'
import type { PasswordRules } from '../../passwords/validators.ts'
import { faultsOfChanges, type UserWithKeys, WITH_KEYS, withKeys } from '../../users/changes.ts'
import { primaryKeyOf } from '../../users/user.ts'
import type { NewUser, UserChanges } from '../../users/users.ts'
import { type Paginate, Refusals, SIGNED_IN } from './groups.ts'

const Time = Type.String({ format: 'date-time' })
const Keys = Type.Array(Type.Integer())
export const UserShape = Type.Object({
  ...{ id: Type.Integer(), username: Type.String(), email: Type.String() },
  ...{ first_name: Type.String(), last_name: Type.String() },
  ...{ is_active: Type.Boolean(), is_staff: Type.Boolean(), is_superuser: Type.Boolean() },
  ...{ date_joined: Time, last_login: Type.Union([Time, Type.Null()]), groups: Keys, user_permissions: Keys }
})
const FILTERS = {
  ...{ is_active: Type.Boolean(), is_staff: Type.Boolean(), is_superuser: Type.Boolean() },
  ...{ username: Type.String({ maxLength: 150 }), email: Type.String({ maxLength: 254 }), groups: Keys }
}
export const UserQuery = ListQuery(FILTERS)
const SEARCHED = ['username', 'first_name', 'last_name', 'email'] as const

/** Django's name of each column. */
const COLUMNS = {
  ...{ id: 'id', username: 'username', email: 'email', first_name: 'firstName', last_name: 'lastName' },
  ...{ is_active: 'isActive', is_staff: 'isStaff', is_superuser: 'isSuperuser' },
  ...{ date_joined: 'dateJoined', last_login: 'lastLogin' }
} as const
const ORDERED = Object.fromEntries(
  Object.entries(COLUMNS).map(([name, column]) => [name, (direction: Direction) => ({ [column]: direction })])
)

const optional = { required: false } as const
const text = (maxLength: number) => CharField({ ...optional, allowBlank: true, maxLength })

const fieldsOf = ({ auth }: FastifyInstance) => ({
  email: CharField({ ...optional, allowBlank: true, maxLength: 254, format: 'email' }),
  ...{ first_name: text(150), last_name: text(150) },
  ...{ is_active: BooleanField(optional), is_staff: BooleanField(optional), is_superuser: BooleanField(optional) },
  date_joined: CharField({ readOnly: true, format: 'date-time' }),
  last_login: CharField({ readOnly: true, format: 'date-time' }),
  ...{ groups: PrimaryKeys(optional), user_permissions: PrimaryKeys(optional) },
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

export interface StaffRoutesOptions {
  before: Guard[]
  paginate: Paginate
}

export interface UserRoutesOptions extends StaffRoutesOptions {
  passwordRules: PasswordRules
}

/** List, create, read, update and delete users below `/users/`. */
export function managedUserRoutes(app: FastifyInstance, options: UserRoutesOptions): void {
  listView(app, options)
  instanceView(app, options)
}

const common = ({ auth }: FastifyInstance, { before }: UserRoutesOptions) => ({
  ...{ tags: ['users'], before },
  challenge: `${auth.settings.authHeaderTypes[0]} realm="api"`
})

function listView(app: FastifyInstance, options: UserRoutesOptions): void {
  view(app, '/users/', {
    ...{ ...common(app, options), name: 'User List', description: 'Users, for staff.' },
    methods: {
      GET: {
        ...{ summary: 'List users', security: SIGNED_IN, query: UserQuery },
        response: { 200: PageOf(UserShape), ...Refusals },
        handler: async (request) => options.paginate(request, rowsOf(request, await conditionsOf(request)))
      },
      POST: {
        ...{ summary: 'Make a user', security: SIGNED_IN, response: { 201: UserShape, ...Refusals } },
        body: Type.Object({ id, username: CharField({ maxLength: 150 }), ...fieldsOf(app) }),
        faults: (given: Body, request) => faultsOf(request, given, null, options),
        handler: async (request, reply) => {
          reply.code(201)
          return create(request, request.body)
        }
      }
    }
  })
}

function instanceView(app: FastifyInstance, options: UserRoutesOptions): void {
  const fields = fieldsOf(app)
  const one = { security: SIGNED_IN, response: { 200: UserShape, ...Refusals } }
  const change = {
    ...{ ...one, summary: 'Change a user' },
    faults: async (given: Body, request: Asked) => faultsOf(request, given, await userOf(request), options),
    handler: async (request: Asked & { body: Body }) => update(request, request.body)
  }
  view(app, '/users/:id/', {
    ...{ ...common(app, options), name: 'User Instance', description: 'One user.' },
    methods: {
      GET: { ...one, summary: 'Read a user', handler: async (request) => shown(await userOf(request)) },
      PUT: { ...change, body: Type.Object({ id, username: CharField({ maxLength: 150 }), ...fields }) },
      PATCH: { ...change, body: Type.Object({ id, username: CharField({ ...optional, maxLength: 150 }), ...fields }) },
      DELETE: { ...one, summary: 'Delete a user', response: { 204: Type.Null(), ...Refusals }, handler: remove }
    }
  })
}

export type Asked = Pick<FastifyRequest, 'params' | 'server' | 'user' | 'auth'>

export const NO_USER = 'No User matches the given query.'

export async function userWith({ server }: Asked, id: number): Promise<UserWithKeys | null> {
  const row = await server.auth.database.user.findUnique({ where: { id }, ...WITH_KEYS })
  return row && withKeys(row)
}

/** @throws {NotFound} in Django's words, which differ for what can be no id */
export async function userOf(request: Asked, parameter = 'id'): Promise<UserWithKeys> {
  const id = primaryKeyOf((request.params as Record<string, string>)[parameter])
  const user = id === null ? null : await userWith(request, id)
  if (user === null) throw new NotFound(id === null ? undefined : NO_USER)
  return user
}

async function create(request: Asked, body: Body): Promise<object | null> {
  const { user, server } = request
  const made = await new Management(server.auth).createUser(user, changesOf(body) as NewUser)
  return shown(await userWith(request, made.id))
}

async function update(request: Asked, body: Body): Promise<object | null> {
  const { id } = await userOf(request)
  const management = new Management(request.server.auth)
  return shown(await management.updateUser(request.user, id, changesOf(body), sidOf(request)))
}

async function remove(request: Asked, reply: FastifyReply): Promise<unknown> {
  await new Management(request.server.auth).deleteUser(request.user, (await userOf(request)).id)
  return reply.code(204).send()
}

async function faultsOf(
  { server: { auth } }: Asked,
  given: Body,
  user: UserWithKeys | null,
  { passwordRules }: UserRoutesOptions
): Promise<Faults> {
  const { settings, users, database } = auth
  const faults = await faultsOfChanges(database, passwordRules, changesOf(given), user)
  // Of two with one address neither could sign in.
  const others = settings.loginField === 'email' && given.email ? await users.withEmail(given.email) : []
  const isTaken = others.some(({ id }) => id !== user?.id)
  return { ...faults, ...(isTaken && { email: ['user with this email address already exists.'] }) }
}

/** Field by field: what else a body holds changes nothing. */
function changesOf(body: Body): UserChanges {
  const { username, email, password, groups, is_active, is_staff, is_superuser } = body
  const changes = {
    ...{ username, email, password, groups, userPermissions: body.user_permissions },
    ...{ firstName: body.first_name, lastName: body.last_name },
    ...{ isActive: is_active, isStaff: is_staff, isSuperuser: is_superuser }
  }
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined))
}

export function shown(user: UserWithKeys | null): object | null {
  return (
    user && {
      ...{ id: user.id, username: user.username, email: user.email },
      ...{ first_name: user.firstName, last_name: user.lastName },
      ...{ is_active: user.isActive, is_staff: user.isStaff, is_superuser: user.isSuperuser },
      ...{ date_joined: timeOf(user.dateJoined), last_login: user.lastLogin && timeOf(user.lastLogin) },
      ...{ groups: user.groups, user_permissions: user.userPermissions }
    }
  )
}

/** As DRF writes it: microseconds, unless there are none. */
const timeOf = (time: Date) => time.toISOString().replace(/\.(\d{3})Z$/, (_, ms) => (ms === '000' ? 'Z' : `.${ms}000Z`))

/** What the URL of a list asks for. */
export async function conditionsOf(request: FastifyRequest): Promise<object[]> {
  const { database } = request.server.auth
  const { groups, ...columns } = filtersOf(request, FILTERS)
  if (groups !== undefined) {
    const rows = await database.group.findMany({ where: { id: { in: groups } }, select: { id: true } })
    const unknown = groups.find((key) => !rows.some(({ id }) => id === key))
    if (unknown !== undefined) {
      const fault = `Select a valid choice. ${unknown} is not one of the available choices.`
      throw new ValidationError({ groups: [fault] })
    }
  }
  return [
    ...Object.entries(columns).map(([name, value]) => ({ [COLUMNS[name as keyof typeof columns]]: value })),
    ...(groups === undefined ? [] : [{ groups: { some: { groupId: { in: groups } } } }]),
    ...searchTerms(request).map((term) => ({
      OR: SEARCHED.map((name) => ({ [COLUMNS[name]]: database.containing(term) }))
    }))
  ]
}

export function rowsOf(request: FastifyRequest, conditions: object[]) {
  const { user } = request.server.auth.database
  const where = { AND: conditions }
  const orderBy = [...orderingOf<object>(request, ORDERED), { id: 'asc' as const }]
  return {
    count: () => user.count({ where }),
    find: async (range: { skip: number; take: number }) =>
      (await user.findMany({ ...range, where, orderBy, ...WITH_KEYS })).map((row) => shown(withKeys(row)) as object)
  }
}

/** djoser's endpoints for one's own account. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type, { type TOptional, type TString } from 'typebox'
import type { Accounts, Chosen } from '../../accounts/accounts.ts'
import { callerOf, sidOf } from '../../authentication/caller.ts'
import { updateSessionAuthHash } from '../../authentication/session.ts'
import { CharField } from '../../drf/fields.ts'
import type { Throttle } from '../../drf/throttle.ts'
import { view } from '../../drf/view.ts'
import { NotFound, PermissionDenied } from '../../errors.ts'
import { and, hasPermission, isAdminUser, isAuthenticated } from '../../guards/guards.ts'
import { primaryKeyOf, type User, withoutPassword } from '../../users/user.ts'

const Detail = Type.Object({ detail: Type.String() })
export const Refusals = {
  400: Type.Record(Type.String(), Type.Array(Type.String())),
  401: Detail,
  403: Detail,
  404: Detail,
  429: Detail,
  503: Detail
}
const Shape = Type.Object({ email: Type.String(), id: Type.Integer(), username: Type.String() })
const Made = Type.Object({ email: Type.String(), username: Type.String(), id: Type.Integer() })
export const Nothing = { response: { 204: Type.Null(), ...Refusals } }
const SIGNED_IN = [{ jwt: [] }]

export const secret = () => CharField({ writeOnly: true })

/** It may be left out, and be none, unless users sign in with it. */
function emailField({ auth }: FastifyInstance, isNew: boolean) {
  const isName = auth.settings.loginField === 'email'
  const required = isName && isNew
  return CharField({ required, allowBlank: !isName, maxLength: 254, format: 'email' }) as unknown as TOptional<TString>
}

const Confirmation = Type.Object({ current_password: secret() })

/** The field to type something into once more, where that is asked for. */
export const again = <Name extends string>(isAsked: boolean, name: Name) =>
  (isAsked ? { [name]: name.endsWith('username') ? CharField() : secret() } : {}) as {
    [Key in Name]?: ReturnType<typeof secret>
  }

/** A field with its repetition. */
export const chosen = (body: object, name: string): Chosen => {
  const fields = body as Record<string, string>
  return { value: fields[name] as string, again: fields[`re_${name}`] }
}

const shown = ({ email, id, username }: User) => ({ email, id, username })

/** @param throttle of logins, since each of these takes a password */
export function userRoutes(app: FastifyInstance, accounts: Accounts, throttle: Throttle): void {
  listRoute(app, accounts, throttle)
  accountRoute(app, accounts, throttle, {
    ...{ url: '/users/me/', name: 'User Me', description: "The caller's own account." },
    userOf: callerOf
  })
  passwordRoute(app, accounts, throttle)
  usernameRoute(app, accounts, throttle)
  accountRoute(app, accounts, throttle, {
    ...{ url: '/users/:id/', name: 'User Instance', description: 'One account: your own, or for staff any.' },
    userOf: userNamed
  })
}

/** Who makes accounts where not everybody does. */
const isRegistrar = and(isAdminUser, hasPermission('auth.add_user'))

/** A view's parts that are the same for all; reading takes no password, and is not counted. */
const common = ({ auth }: FastifyInstance, throttle: Throttle) => ({
  tags: ['account'],
  challenge: `${auth.settings.authHeaderTypes[0]} realm="api"`,
  before: [isAuthenticated, limited(throttle)]
})

const limited = (throttle: Throttle) => async (request: FastifyRequest) => {
  if (request.method === 'POST' || request.method === 'DELETE') await throttle(request)
}

function listRoute(app: FastifyInstance, accounts: Accounts, throttle: Throttle): void {
  const { before, ...rest } = common(app, throttle)
  const isOpen = app.auth.settings.accountsRegistration
  const permitted = async (request: FastifyRequest, reply: FastifyReply) => {
    if (request.method !== 'POST') await isAuthenticated(request, reply)
    else if (!isOpen) await isRegistrar(request, reply)
  }
  view(app, '/users/', {
    ...{ ...rest, name: 'User List', description: 'Accounts: staff sees all, others their own.' },
    before: [permitted, limited(throttle)],
    methods: {
      GET: {
        ...{ summary: 'List accounts', security: SIGNED_IN, response: { 200: Type.Array(Shape), ...Refusals } },
        handler: list
      },
      POST: {
        ...{ summary: 'Make an account', ...(!isOpen && { security: SIGNED_IN }) },
        body: Type.Object({
          email: emailField(app, true),
          username: CharField({ maxLength: 150 }),
          password: secret(),
          ...again(app.auth.settings.accountsPasswordRetype, 're_password')
        }),
        response: { 201: Made, ...Refusals },
        handler: async ({ body }, reply) => {
          reply.code(201)
          return shown(await accounts.create({ ...body, password: chosen(body, 'password') }))
        }
      }
    }
  })
}

interface OneAccount {
  url: `/${string}/`
  name: string
  description: string
  /** Whose account it is. @param hidden what is thrown in place of NotFound */
  userOf: (request: Asked, hidden?: Error) => Promise<User>
}

function accountRoute(app: FastifyInstance, accounts: Accounts, throttle: Throttle, one: OneAccount): void {
  const { url, name, description, userOf } = one
  const seen = { security: SIGNED_IN, response: { 200: Shape, ...Refusals } }
  const changed = {
    ...{ ...seen, summary: 'Change an account', body: Type.Object({ email: emailField(app, false) }) },
    handler: async (request: Asked & { body: { email?: string } }) =>
      change(accounts, request.body, await userOf(request))
  }
  view(app, url, {
    ...{ ...common(app, throttle), name, description },
    methods: {
      GET: { ...seen, summary: 'Read an account', handler: async (request) => shown(await userOf(request)) },
      PUT: changed,
      PATCH: changed,
      DELETE: {
        ...{
          summary: 'Delete an account, with your own password',
          security: SIGNED_IN,
          body: Confirmation,
          ...Nothing
        },
        handler: async (request, reply) => {
          const user = await userOf(request, new PermissionDenied())
          await accounts.delete(user, await callerOf(request), request.body.current_password)
          return reply.code(204).send()
        }
      }
    }
  })
}

function passwordRoute(app: FastifyInstance, accounts: Accounts, throttle: Throttle): void {
  view(app, '/users/set_password/', {
    ...{ ...common(app, throttle), name: 'User Set Password', description: 'A new password in place of the old one.' },
    methods: {
      POST: {
        ...{ summary: 'Change your password', security: SIGNED_IN, ...Nothing },
        body: Type.Object({
          new_password: secret(),
          ...again(app.auth.settings.accountsPasswordRetype, 're_new_password'),
          current_password: secret()
        }),
        handler: async (request, reply) => {
          const { body } = request
          const [caller, password] = [await callerOf(request), chosen(body, 'new_password')]
          const user = await accounts.setPassword(caller, body.current_password, password, sidOf(request))
          if (!app.auth.settings.accountsLogoutOnPasswordChange) await updateSessionAuthHash(request, reply, user)
          return reply.code(204).send()
        }
      }
    }
  })
}

function usernameRoute(app: FastifyInstance, accounts: Accounts, throttle: Throttle): void {
  view(app, '/users/set_username/', {
    ...{ ...common(app, throttle), name: 'User Set Username', description: 'A new name in place of the old one.' },
    methods: {
      POST: {
        ...{ summary: 'Change your name', security: SIGNED_IN, ...Nothing },
        body: Type.Object({
          current_password: secret(),
          new_username: CharField({ maxLength: 150 }),
          ...again(app.auth.settings.accountsUsernameRetype, 're_new_username')
        }),
        handler: async (request, reply) => {
          const { body } = request
          await accounts.setUsername(await callerOf(request), body.current_password, chosen(body, 'new_username'))
          return reply.code(204).send()
        }
      }
    }
  })
}

type Asked = Pick<FastifyRequest, 'user' | 'server' | 'params' | 'method'>

async function list(request: Asked): Promise<object[]> {
  const caller = await callerOf(request)
  const { settings, database } = request.server.auth
  if (settings.accountsHideUsers && !caller.isStaff) return [shown(caller)]
  const { user } = database
  return user.findMany({ orderBy: { id: 'asc' }, select: { email: true, id: true, username: true } })
}

async function change(accounts: Accounts, body: { email?: string }, user: User): Promise<object> {
  const { email = user.email } = body
  await accounts.setEmail(user, email)
  return shown({ ...user, email })
}

/** @param hidden is what hides another's account from who is not staff, whether there is one or not */
async function userNamed(request: Asked, hidden: Error = new NotFound()): Promise<User> {
  const caller = await callerOf(request)
  const id = primaryKeyOf((request.params as { id?: string }).id)
  if (id === caller.id) return caller
  const { settings, users } = request.server.auth
  const isHidden = settings.accountsHideUsers
  if (isHidden && !caller.isStaff) throw hidden
  const user = await users.get('id', id)
  if (user === null) throw new NotFound(isHidden || id === null ? undefined : 'No User matches the given query.')
  // Who sets somebody's address can have a link to a new password sent there.
  const isAbove = user.isSuperuser && !caller.isSuperuser && request.method !== 'GET'
  if (!caller.isStaff || isAbove) throw new PermissionDenied()
  return withoutPassword(user)
}

/** `/users/…`: djoser's endpoints for accounts. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type, { type TOptional, type TString } from 'typebox'
import type { NewPassword } from '../../accounts/accounts.ts'
import { callerOf, hasToken, keptCredentialsOf, requestInfoOf } from '../../authentication/caller.ts'
import { JWT_SECURITY } from '../../authentication/jwt.ts'
import { updateSessionAuthHash } from '../../authentication/session.ts'
import type { User as UserRow } from '../../database/open.ts'
import { CharField } from '../../drf/fields.ts'
import { errorResponses, NoContent } from '../../drf/responses.ts'
import { SAFE_METHODS } from '../../drf/safe-methods.ts'
import { view } from '../../drf/view.ts'
import { NotFound, PermissionDenied } from '../../errors.ts'
import type { AUTHENTICATION } from '../../guards/auth-core.ts'
import { and, hasPermission, isAdminUser, isAuthenticated } from '../../guards/guards.ts'
import { primaryKeyOf, type User } from '../../users/user.ts'

const ERRORS = errorResponses(400, 401, 403, 404, 429, 503)
export const CHANGED = { response: { 204: NoContent, ...ERRORS } }

const AccountSchema = Type.Object({ email: Type.String(), id: Type.Integer(), username: Type.String() })
/** djoser's order of the properties of a new account. */
const NewAccountSchema = Type.Object({ email: Type.String(), username: Type.String(), id: Type.Integer() })
/** For `Prefer: return=representation`. */
const PairSchema = Type.Object({ refresh: Type.Optional(Type.String()), access: Type.Optional(Type.String()) })

export const passwordField = ({ auth }: FastifyInstance) =>
  CharField({ writeOnly: true, trim: auth.settings.passwordTrim })

/** Optional and possibly empty, unless users sign in with it. */
function emailField({ auth }: FastifyInstance, isNew: boolean) {
  const isLogin = auth.settings.loginField === 'email'
  const required = isLogin && isNew
  return CharField({ required, allowBlank: !isLogin, maxLength: 254, format: 'email' }) as unknown as TOptional<TString>
}

/** Required to change one's own account; which changes, the domain decides. */
const currentPasswordField = ({ auth }: FastifyInstance) =>
  CharField({ required: false, writeOnly: true, trim: auth.settings.passwordTrim })

/** djoser's `re_…` field, where a setting asks for a repetition. */
export const retypeField = <Name extends string>(app: FastifyInstance, isRequired: boolean, name: Name) =>
  (isRequired ? { [name]: name.endsWith('username') ? CharField() : passwordField(app) } : {}) as {
    [Key in Name]?: ReturnType<typeof passwordField>
  }

/** Reads a field and its repetition. */
export const withRetype = (body: object, name: string): NewPassword => {
  const fields = body as Record<string, string>
  return { value: fields[name] as string, again: fields[`re_${name}`] }
}

const toJson = ({ email, id, username }: User) => ({ email, id, username })

export function accountUserRoutes(app: FastifyInstance): void {
  listView(app)
  accountView(app, { url: '/users/me/', name: 'User Me', description: "The caller's own account.", getUser: callerOf })
  passwordView(app)
  usernameView(app)
  accountView(app, {
    url: '/users/:id/',
    name: 'User Instance',
    description: 'One account: your own, or for staff any.',
    getUser: getUserOr404
  })
}

/** May create accounts where registration is closed. */
const mayRegister = and(isAdminUser, hasPermission('auth.add_user'))

const common = ({ auth }: FastifyInstance) => ({
  tags: ['account'],
  challenge: auth.authenticators.jwt.challenge,
  before: [isAuthenticated],
  countFailures: auth.loginThrottle
})

function listView(app: FastifyInstance): void {
  const { accounts, settings, loginThrottle } = app.auth
  const isOpen = settings.accountsRegistration
  const checkPermission = async (request: FastifyRequest, reply: FastifyReply) => {
    if (request.method !== 'POST') await isAuthenticated(request, reply)
    else if (!isOpen) await mayRegister(request, reply)
  }
  const { tags, challenge } = common(app)
  view(app, '/users/', {
    tags,
    challenge,
    name: 'User List',
    description: 'Accounts: all for staff, their own for others.',
    // Registrations count whether or not they succeed.
    before: [checkPermission, loginThrottle],
    methods: {
      GET: {
        summary: 'List accounts',
        security: JWT_SECURITY,
        response: { 200: Type.Array(AccountSchema), ...ERRORS },
        handler: async (request) => (await accounts.list(await callerOf(request))).map(toJson)
      },
      POST: {
        summary: 'Create an account',
        ...(!isOpen && { security: JWT_SECURITY }),
        body: Type.Object({
          email: emailField(app, true),
          username: CharField({ maxLength: 150 }),
          password: passwordField(app),
          ...retypeField(app, settings.accountsPasswordRetype, 're_password')
        }),
        response: { 201: NewAccountSchema, ...ERRORS },
        handler: async ({ body }, reply) => {
          reply.code(201)
          return toJson(await accounts.create({ ...body, password: withRetype(body, 'password') }))
        }
      }
    }
  })
}

interface AccountView {
  url: `/${string}/`
  name: string
  description: string
  /** @param hidden thrown in place of NotFound for an account that the caller may not see */
  getUser: (request: AccountRequest, hidden?: Error) => Promise<User>
}

function accountView(app: FastifyInstance, { url, name, description, getUser }: AccountView): void {
  const { accounts } = app.auth
  const one = { security: JWT_SECURITY, response: { 200: AccountSchema, ...ERRORS } }
  const change = {
    ...one,
    summary: 'Change an account',
    body: Type.Object({ email: emailField(app, false), current_password: currentPasswordField(app) }),
    handler: async (request: AccountRequest & { body: { email?: string; current_password?: string } }) => {
      const user = await getUser(request)
      const { email = user.email, current_password: current } = request.body
      const isOwn = user.id === (await callerOf(request)).id
      return toJson(await (isOwn ? accounts.changeOwnEmail(user, email, current) : accounts.changeEmail(user, email)))
    }
  }
  view(app, url, {
    ...common(app),
    name,
    description,
    methods: {
      GET: { ...one, summary: 'Read an account', handler: async (request) => toJson(await getUser(request)) },
      PUT: change,
      PATCH: change,
      DELETE: {
        ...CHANGED,
        summary: 'Delete an account; requires your own password',
        security: JWT_SECURITY,
        body: Type.Object({ current_password: passwordField(app) }),
        handler: async (request, reply) => {
          const user = await getUser(request, new PermissionDenied())
          await accounts.delete(user, await callerOf(request), request.body.current_password)
          return reply.code(204).send()
        }
      }
    }
  })
}

function passwordView(app: FastifyInstance): void {
  const { accounts, settings } = app.auth
  view(app, '/users/set_password/', {
    ...common(app),
    name: 'User Set Password',
    description: "Changes the caller's password.",
    methods: {
      POST: {
        summary: 'Change your password',
        security: JWT_SECURITY,
        response: { 200: PairSchema, ...CHANGED.response },
        body: Type.Object({
          new_password: passwordField(app),
          ...retypeField(app, settings.accountsPasswordRetype, 're_new_password'),
          current_password: passwordField(app)
        }),
        handler: async (request, reply) => {
          const { body } = request
          const [caller, password] = [await callerOf(request), withRetype(body, 'new_password')]
          const { key } = keptCredentialsOf(request)
          const user = await accounts.setPassword(caller, body.current_password, password, { key: key ?? null })
          if (settings.accountsLogoutOnPasswordChange) return reply.code(204).send()
          await updateSessionAuthHash(request, reply, user)
          return replaceTokens(request, reply, user)
        }
      }
    }
  })
}

/**
 * A new password has ended the caller's own tokens, too, since a thief may have them. A page in cookie mode gets new
 * cookies; a client that sends `Prefer: return=representation` (RFC 7240) gets a new pair with status 200. Others get djoser's
 * 204, and log in again.
 */
async function replaceTokens(request: FastifyRequest, reply: FastifyReply, user: UserRow): Promise<unknown> {
  const { tokens, tokenCookies } = request.server.auth
  const isRequested = tokenCookies.isRequested(request)
  const isPreferred = /\breturn=representation\b/i.test(String(request.headers.prefer ?? ''))
  if (!hasToken(request) || !(isRequested || isPreferred)) {
    return reply.code(204).send()
  }
  const pair = await tokens.issuePair(user, requestInfoOf(request))
  if (!isRequested) return pair
  tokenCookies.setTokens(request, reply, pair)
  return reply.code(204).send()
}

function usernameView(app: FastifyInstance): void {
  const { accounts, settings } = app.auth
  view(app, '/users/set_username/', {
    ...common(app),
    name: 'User Set Username',
    description: "Changes the caller's username.",
    methods: {
      POST: {
        ...CHANGED,
        summary: 'Change your username',
        security: JWT_SECURITY,
        body: Type.Object({
          current_password: passwordField(app),
          new_username: CharField({ maxLength: 150 }),
          ...retypeField(app, settings.accountsUsernameRetype, 're_new_username')
        }),
        handler: async (request, reply) => {
          const { body } = request
          await accounts.setUsername(await callerOf(request), body.current_password, withRetype(body, 'new_username'))
          return reply.code(204).send()
        }
      }
    }
  })
}

type AccountRequest = Pick<FastifyRequest, 'params' | 'server' | 'method' | typeof AUTHENTICATION>

/**
 * Staff can read every account, as in djoser. Changes require the model permission and the rank that `/api/users/` requires.
 *
 * @param hidden thrown for other accounts if the caller is not staff, whether they exist or not
 */
async function getUserOr404(request: AccountRequest, hidden: Error = new NotFound()): Promise<User> {
  const caller = await callerOf(request)
  const id = primaryKeyOf((request.params as { id?: string }).id)
  if (id === caller.id) return caller
  const { settings, users, permissions, admin } = request.server.auth
  const isHidden = settings.accountsHideUsers
  if (isHidden && !caller.isStaff) throw hidden
  const user = id === null ? null : await users.getWithKeys(id)
  if (user === null) throw new NotFound(isHidden || id === null ? undefined : 'No User matches the given query.')
  if (!caller.isStaff) throw new PermissionDenied()
  if (!SAFE_METHODS.has(request.method)) {
    const permission = request.method === 'DELETE' ? 'auth.delete_user' : 'auth.change_user'
    if (!(await permissions.hasPerm(caller, permission))) throw new PermissionDenied()
    await admin.assertOutranks(caller, user)
  }
  const { groups, userPermissions, ...account } = user
  return account
}

/** Every endpoint, in one encapsulated scope with its own parsers and error handler. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { Accounts } from './accounts/accounts.ts'
import { createMailer } from './accounts/mail.ts'
import { mailRoutes } from './accounts/mail-routes.ts'
import { ResetTokens } from './accounts/reset-tokens.ts'
import { userRoutes } from './accounts/routes.ts'
import { authTokenRoute, tokenLoginRoutes } from './authentication/routes.ts'
import { sessionRoutes } from './authentication/session-routes.ts'
import { pageByNumber } from './http/pagination.ts'
import { createThrottle, type Throttle } from './http/throttle.ts'
import { drfScope, view } from './http/view.ts'
import { and, isAdminUser, isAuthenticated } from './permissions/guards.ts'
import { memberRoutes } from './permissions/member-routes.ts'
import { modelPermissions, type PermissionMap } from './permissions/model-guards.ts'
import { permissionRoutes } from './permissions/permission-routes.ts'
import { groupRoutes, type Paginate } from './permissions/routes.ts'
import { managedUserRoutes } from './permissions/user-routes.ts'
import type { Auth } from './plugin.ts'
import { loginSessionRoutes } from './sessions/routes.ts'
import { Blacklist } from './tokens/blacklist.ts'
import { secretsOf } from './tokens/keys.ts'
import { jwtRoutes, tokenRoutes } from './tokens/routes.ts'
import { passwordRulesOf } from './users/password-rules.ts'
import type { PasswordRules } from './users/validators.ts'

/**
 * The endpoints below `/token/`, `/sessions/` and `/api-token-auth/`; `/session/` for browsers; `/users/`, `/groups/` and
 * `/permissions/` for staff; and
 * `/protected/`, which shows a guard at work.
 *
 * Register it after the plugin, with the prefix where Django projects have them:
 * `app.register(authRoutes, { prefix: '/api' })`.
 */
export async function authRoutes(app: FastifyInstance): Promise<void> {
  drfScope(app)
  const throttle = await loginThrottle(app)
  tokenRoutes(app, throttle)
  authTokenRoute(app, throttle)
  if (app.auth.settings.refreshStore === 'session') loginSessionRoutes(app)
  sessionRoutes(app, throttle)
  managementRoutes(app)
  view(app, '/protected/', {
    name: 'Protected',
    description: 'A view for those who are signed in.',
    tags: ['example'],
    before: [isAuthenticated],
    methods: {
      GET: {
        summary: 'See whether you are signed in',
        security: [{ jwt: [] }],
        response: { 200: Type.Object({ message: Type.String() }), 401: Type.Object({ detail: Type.String() }) },
        handler: async () => ({ message: 'This is a protected view.' })
      }
    }
  })
}

/** What staff does with users, groups and permissions, as far as its own permissions go. */
function managementRoutes(app: FastifyInstance): void {
  const paginate: Paginate = (request, rows) => pageByNumber(request, rows, { size: 50, max: 500 })
  const staffWith = (model: 'auth.user' | 'auth.group' | 'auth.permission', map: PermissionMap) => ({
    before: [and(isAdminUser, modelPermissions(model, { map }))],
    paginate
  })
  managedUserRoutes(app, { ...staffWith('auth.user', { GET: ['view'] }), passwordRules: passwordRules(app) })
  groupRoutes(app, '/groups/', { ...staffWith('auth.group', { GET: ['view'] }), withPermissions: true })
  // Who is in a group is as much the users' affair as the group's.
  const membership = { GET: ['view', SEE_GROUPS], POST: ['change', SEE_GROUPS], DELETE: ['change', SEE_GROUPS] }
  memberRoutes(app, staffWith('auth.user', membership))
  permissionRoutes(app, staffWith('auth.permission', { GET: ['view'] }))
}

const SEE_GROUPS = 'auth.view_group'

/**
 * djoser's endpoints: `/users/`, `/jwt/` and `/token/`. Anybody can make an account there, unless `accountsRegistration`
 * is off.
 *
 * Register it after the plugin, with another prefix than `authRoutes`, whose `/users/` are for staff:
 * `app.register(accountRoutes, { prefix: '/auth' })`.
 */
export async function accountRoutes(app: FastifyInstance): Promise<void> {
  drfScope(app)
  const throttle = await loginThrottle(app)
  const accounts = accountsOf(app)
  userRoutes(app, accounts, throttle)
  mailRoutes(app, accounts, throttle)
  jwtRoutes(app, throttle)
  tokenLoginRoutes(app, throttle)
}

const loginThrottles = new WeakMap<Auth, Promise<Throttle>>()

/** One for all doors: what is refused at one is not to be tried at the next. */
function loginThrottle({ auth }: FastifyInstance): Promise<Throttle> {
  const throttle = loginThrottles.get(auth) ?? createThrottle(auth.settings.loginRate)
  loginThrottles.set(auth, throttle)
  return throttle
}

const passwordRules = ({ auth, log }: Pick<FastifyInstance, 'auth' | 'log'>): PasswordRules =>
  passwordRulesOf(auth.settings, (reason) =>
    log.warn({ reason }, 'passwords are not looked up among breaches; they pass')
  )

function accountsOf({ auth, log }: FastifyInstance): Accounts {
  const { settings, users, authTokens, sessions, database } = auth
  const mailer = createMailer(settings, (path) =>
    log.info({ path }, 'mail was put into a file; to send it, set MAIL_URL')
  )
  return new Accounts({
    ...{ settings, users, resetTokens: new ResetTokens(secretsOf(settings), settings.passwordResetTimeout) },
    passwordRules: passwordRules({ auth, log }),
    logOut: async (userId) => {
      await authTokens.delete(userId)
      await sessions.endAll(userId, 'logout')
      if (settings.refreshStore === 'blacklist') await new Blacklist(database).blacklistAllOf(userId)
    },
    send: (mail) => void setImmediate(() => mailer(mail).catch((error) => log.error(error, 'mail could not be sent')))
  })
}

/** Every endpoint, in one encapsulated scope with its own parsers and error handler. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { Accounts } from '../accounts/accounts.ts'
import { ResetTokens } from '../accounts/email-tokens.ts'
import { createMailer } from '../accounts/mailer.ts'
import { pageByNumber } from '../drf/pagination.ts'
import { createThrottle, type Throttle } from '../drf/throttle.ts'
import { drfScope, view } from '../drf/view.ts'
import { and, isAdminUser, isAuthenticated } from '../guards/guards.ts'
import { modelPermissions, type PermissionMap } from '../guards/model-permissions.ts'
import { loadSecrets } from '../keys/configured-keys.ts'
import { passwordRulesOf } from '../passwords/breaches.ts'
import type { PasswordRules } from '../passwords/validators.ts'
import type { Auth } from '../plugin.ts'
import { Blacklist } from '../tokens/stores/blacklist-store.ts'
import { memberRoutes } from './api/group-users.ts'
import { groupRoutes, type Paginate } from './api/groups.ts'
import { permissionRoutes } from './api/permissions.ts'
import { sessionRoutes } from './api/session.ts'
import { loginSessionRoutes } from './api/sessions.ts'
import { jwtRoutes, tokenRoutes } from './api/token.ts'
import { managedUserRoutes } from './api/users.ts'
import { mailRoutes } from './auth/emails.ts'
import { authTokenRoute, tokenLoginRoutes } from './auth/token.ts'
import { userRoutes } from './auth/users.ts'

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
    ...{ settings, users, resetTokens: new ResetTokens(loadSecrets(settings), settings.passwordResetTimeout) },
    passwordRules: passwordRules({ auth, log }),
    logOut: async (userId) => {
      await authTokens.delete(userId)
      await sessions.endAll(userId, 'logout')
      if (settings.refreshStore === 'blacklist') await new Blacklist(database).blacklistAllOf(userId)
    },
    send: (mail) => void setImmediate(() => mailer(mail).catch((error) => log.error(error, 'mail could not be sent')))
  })
}

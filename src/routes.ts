/** Every endpoint, in one encapsulated scope with its own parsers and error handler. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { Accounts } from './accounts/accounts.ts'
import { createMailer } from './accounts/mail.ts'
import { mailRoutes } from './accounts/mail-routes.ts'
import { ResetTokens } from './accounts/reset-tokens.ts'
import { userRoutes } from './accounts/routes.ts'
import { isSymmetric } from './algorithms.ts'
import { authTokenRoute, tokenLoginRoutes } from './authentication/routes.ts'
import { fallbackOf } from './config.ts'
import { pageByNumber } from './http/pagination.ts'
import { createThrottle, type Throttle } from './http/throttle.ts'
import { drfScope, view } from './http/view.ts'
import { and, isAdminUser, isAuthenticated } from './permissions/guards.ts'
import { modelPermissions } from './permissions/model-guards.ts'
import { groupRoutes } from './permissions/routes.ts'
import type { Auth } from './plugin.ts'
import type { Settings } from './settings.ts'
import { Blacklist } from './tokens/blacklist.ts'
import { loadSigningKey } from './tokens/keys.ts'
import { jwtRoutes, tokenRoutes } from './tokens/routes.ts'
import { passwordRulesOf } from './users/password-rules.ts'

/**
 * The endpoints below `/token/`, `/api-token-auth/`, `/groups/` for staff, and `/protected/`, which shows a guard at work.
 *
 * Register it after the plugin, with the prefix where Django projects have them:
 * `app.register(authRoutes, { prefix: '/api' })`.
 */
export async function authRoutes(app: FastifyInstance): Promise<void> {
  drfScope(app)
  const throttle = await loginThrottle(app)
  tokenRoutes(app, throttle)
  authTokenRoute(app, throttle)
  groupRoutes(app, '/groups/', {
    before: [and(isAdminUser, modelPermissions('auth.group', { map: { GET: ['view'] } }))],
    paginate: (request, rows) => pageByNumber(request, rows, { size: 50, max: 500 })
  })
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

/**
 * djoser's endpoints: `/users/`, `/jwt/` and `/token/`. Anybody can make an account there, unless `accountsRegistration`
 * is off.
 *
 * Register it after the plugin: `app.register(accountRoutes, { prefix: '/auth' })`.
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

function accountsOf({ auth, log }: FastifyInstance): Accounts {
  const { settings, users, authTokens, database } = auth
  const mailer = createMailer(settings, (path) =>
    log.info({ path }, 'mail was put into a file; to send it, set MAIL_URL')
  )
  return new Accounts({
    ...{ settings, users, resetTokens: new ResetTokens(secretsOf(settings), settings.passwordResetTimeout) },
    passwordRules: passwordRulesOf(settings, (reason) =>
      log.warn({ reason }, 'passwords are not looked up among breaches; they pass')
    ),
    logOut: async (userId) => {
      await authTokens.delete(userId)
      if (settings.refreshStore === 'blacklist') await new Blacklist(database).blacklistAllOf(userId)
    },
    send: (mail) => void setImmediate(() => mailer(mail).catch((error) => log.error(error, 'mail could not be sent')))
  })
}

/** Django's SECRET_KEY, which SimpleJWT signs with as well unless it is told otherwise, and its SECRET_KEY_FALLBACKS. */
function secretsOf(settings: Settings): string[] {
  const { signingKey, keyEncryptionKey, signingKeyFallbacks, algorithm } = settings
  const secret = signingKey ?? keyEncryptionKey ?? loadSigningKey(settings).export().toString()
  // Of another kind they are public, and would let anybody make links.
  const older = signingKeyFallbacks
    .map((text) => fallbackOf(text, algorithm))
    .filter((fallback) => isSymmetric(fallback.algorithm))
  return [secret, ...older.map(({ key }) => key)]
}

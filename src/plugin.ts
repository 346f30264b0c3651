/** Latchkey as a Fastify plugin: settings → database → domains → decorators. It adds no route, no hook, no error handler. */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { Accounts } from './accounts/accounts.ts'
import { Delivery } from './accounts/delivery.ts'
import { EmailTokens } from './accounts/email-tokens.ts'
import { createMailer } from './accounts/mailer.ts'
import { AdminPolicy } from './admin/policy.ts'
import { decorateRequests } from './authentication/authenticate.ts'
import { basicAuthenticator } from './authentication/basic.ts'
import { BrowserSessions } from './authentication/browser-sessions.ts'
import { jwtAuthenticator } from './authentication/jwt.ts'
import { sessionAuthenticator } from './authentication/session.ts'
import { tokenAuthenticator } from './authentication/token.ts'
import { TokenCookies } from './authentication/token-cookies.ts'
import { migrate } from './database/migrate.ts'
import { type Database, openDatabase } from './database/open.ts'
import { createLoginThrottle, type LoginThrottle } from './drf/throttle.ts'
import { AUTH_CORE, type AuthCore, type Authenticator, type Scheme } from './guards/auth-core.ts'
import { loadConfiguredKeys, loadSecrets } from './keys/configured-keys.ts'
import { KeyRing } from './keys/key-ring.ts'
import type { KeySet } from './keys/key-set.ts'
import { RemoteKeys, withRemoteKeys } from './keys/remote-jwks.ts'
import { createHashers } from './passwords/hashers.ts'
import { Passwords } from './passwords/passwords.ts'
import { AUTH_MODELS } from './permissions/content-types.ts'
import { Groups } from './permissions/groups.ts'
import { Permissions } from './permissions/permissions.ts'
import { startCleanup } from './sessions/cleanup.ts'
import { Revocations } from './sessions/revocations.ts'
import { Sessions } from './sessions/sessions.ts'
import { loadSettings } from './settings/load.ts'
import type { Settings, SettingsInput } from './settings/schema.ts'
import { AuthTokens } from './tokens/auth-tokens.ts'
import { TokenClaims } from './tokens/claims.ts'
import { type Claims, Jwt } from './tokens/jwt.ts'
import { BlacklistStore } from './tokens/stores/blacklist-store.ts'
import { NoStore } from './tokens/stores/no-store.ts'
import type { RefreshStore } from './tokens/stores/refresh-store.ts'
import { SessionStore } from './tokens/stores/session-store.ts'
import { type TokenOptions, Tokens } from './tokens/tokens.ts'
import { TokenVerifier } from './tokens/verifier.ts'
import { Activations } from './users/activations.ts'
import { ensureUniqueEmails } from './users/addresses.ts'
import { EmailChanges } from './users/email-changes.ts'
import type { TokenUser } from './users/token-user.ts'
import type { LoginOutcome, User } from './users/user.ts'
import { Users } from './users/users.ts'

/** The type of `app.auth`. */
export interface Auth extends AuthCore {
  readonly settings: Settings
  /** The Prisma client. */
  readonly database: Database
  readonly users: Users
  readonly passwords: Passwords
  readonly permissions: Permissions
  readonly groups: Groups
  /** djoser's operations on accounts. */
  readonly accounts: Accounts
  /** What staff may do with users and groups. */
  readonly admin: AdminPolicy
  /** Verifies tokens of any type. */
  readonly verifier: TokenVerifier
  readonly tokens: Tokens
  /** How refresh tokens are stored: `JWT_REFRESH_STORE`. */
  readonly refreshStore: RefreshStore
  /** Login sessions, with `JWT_REFRESH_STORE=session`. */
  readonly sessions: Sessions
  /** The list of revoked access tokens. */
  readonly revocations: Revocations
  /** DRF's keys, which do not expire. */
  readonly authTokens: AuthTokens
  /** Browser sessions: `django_session`. */
  readonly browserSessions: BrowserSessions
  /** Token cookies of single-page apps. */
  readonly tokenCookies: TokenCookies
  /** The rate limit of logins, shared by everything that checks a password. */
  readonly loginThrottle: LoginThrottle
  /** The keys that sign and verify tokens; a `KeyRing` if they are in the database. */
  readonly keys: KeySet
  readonly authenticators: Readonly<Record<Scheme, Authenticator>> & {
    readonly jwt: ReturnType<typeof jwtAuthenticator>
  }
}

// Keeps the import in the package's types: it declares `request.user`.
export type {} from '@fastify/jwt'

declare module 'fastify' {
  interface FastifyInstance {
    auth: Auth
  }
}

/** Options that are functions or classes. */
interface LatchkeyCallables extends TokenOptions {
  /** SimpleJWT's JSON_ENCODER: returns the JSON text of a token's claims. */
  jsonEncoder?(claims: Claims): string
  /** SimpleJWT's TOKEN_USER_CLASS, the class of `request.user` for callers that are known only by token. */
  tokenUserClass?: typeof TokenUser
}

/** The settings in camelCase; those of the server (`host`, `port`, `corsOrigins`, …) have no effect in a host app. */
export type LatchkeyOptions = Omit<SettingsInput, 'logLevel'> & LatchkeyCallables

type Log = FastifyInstance['log']

async function latchkey(app: FastifyInstance, options: LatchkeyOptions): Promise<void> {
  const { input, callables } = splitOptions(options)
  const settings = loadSettings(input)
  const applied = await migrate(settings.databaseUrl)
  const database = await openDatabase(settings.databaseUrl, (message) => app.log.warn(message))
  app.addHook('onClose', () => database.$disconnect())
  const keys = await openKeys(settings, database, app.log)
  app.addHook('onClose', async () => keys.close())
  const auth = await createAuth({
    settings,
    database,
    keys,
    log: app.log,
    callables,
    onClose: (close) => void app.addHook('onClose', close)
  })
  if (settings.loginField === 'email') {
    const fault = await ensureUniqueEmails(database)
    if (fault !== null) app.log.warn(`could not create the unique index on email addresses: ${fault}`)
  }
  startBackgroundWork(app, auth)
  // As Django does after its migrations.
  if (applied.length > 0) await auth.permissions.syncPermissions(AUTH_MODELS)
  app.decorate('auth', auth)
  app.decorate(AUTH_CORE, auth)
  decorateRequests(
    app,
    settings.authenticationSchemes.map((scheme) => auth.authenticators[scheme])
  )
}

/** Separates settings, callables, and the options that Fastify's `register` adds. */
function splitOptions(options: LatchkeyOptions): { input: SettingsInput; callables: LatchkeyCallables } {
  const { prefix, logLevel, logSerializers, ...own } = options as LatchkeyOptions & Record<string, never>
  const { userAuthenticationRule, onLoginSuccess, onLoginFailed, jsonEncoder, tokenUserClass, ...others } = own
  const { claims, claimsIn, freshClaims, ...input } = others
  const functions = { userAuthenticationRule, onLoginSuccess, onLoginFailed, jsonEncoder, tokenUserClass }
  const callables = Object.entries({ ...functions, claims, claimsIn, freshClaims }).filter(
    ([, value]) => value !== undefined
  )
  return { input, callables: Object.fromEntries(callables) }
}

async function openKeys(settings: Settings, database: Database, log: Log): Promise<KeySet> {
  const onFault = (error: unknown) => log.warn(error, 'could not reload signing keys; continuing with cached keys')
  const own = await (settings.keyEncryptionKey === null
    ? loadConfiguredKeys(settings)
    : KeyRing.open(settings, database, onFault))
  if (settings.jwkUrl === null) return own
  return withRemoteKeys(own, new RemoteKeys(settings.jwkUrl, settings.algorithm, onFault))
}

/** From `onReady` to `onClose`: commands that only use the domains need none of it. */
function startBackgroundWork(app: FastifyInstance, { revocations, database }: Auth): void {
  let stopCleanup = () => {}
  app.addHook('onReady', async () => {
    await revocations.start()
    stopCleanup = startCleanup(database, (error) => app.log.warn(error, 'could not delete expired sessions'))
  })
  app.addHook('onClose', async () => {
    stopCleanup()
    await revocations.close()
  })
}

interface Parts {
  settings: Settings
  database: Database
  keys: KeySet
  log: Log
  callables: LatchkeyCallables
  /** Registers what is closed before the database. */
  onClose: (close: () => Promise<void>) => void
}

/** Builds all domains, each once. */
async function createAuth({ settings, database, keys, log, callables, onClose }: Parts): Promise<Auth> {
  const secrets = loadSecrets(settings)
  const claims = new TokenClaims(settings, callables)
  const revocations = new Revocations(
    settings,
    database,
    (error) => log.warn(error, 'could not read the revocation list; known revocations stay in force'),
    () => log.warn('the database was restored to an earlier state; the revocation list was read again')
  )
  const sessions = new Sessions(database, settings, revocations, {
    onReuse: (reuse) =>
      log.warn({ event: 'refresh_reuse', ...reuse }, 'refresh token reuse detected; the login session was ended'),
    onRightsChanged: (users) => log.info({ event: 'rights_changed', users }, 'the rights of users were changed'),
    hasRenewedClaims: claims.areRenewed
  })
  const passwords = new Passwords(settings, (reason) =>
    log.warn({ reason }, 'could not look up breached passwords; the password was accepted without')
  )
  const onEmailChanged = (before: User) => accounts.notifyOldAddress(before)
  const onLogin = ({ isAccepted, userId, request }: LoginOutcome) =>
    log.info(
      { event: isAccepted ? 'login' : 'login_failed', userId, reqId: request?.id, ...clientOf(request) },
      isAccepted ? 'the password of a login is correct' : 'a login was refused'
    )
  const users = new Users(database, createHashers(settings), settings, sessions, { onEmailChanged, onLogin })
  const permissions = new Permissions(database, users, sessions)
  const groups = new Groups(database, sessions)
  const jwt = new Jwt(settings, keys, callables.jsonEncoder)
  const refreshStore = createRefreshStore(settings, database, { jwt, sessions, users })
  const verifier = new TokenVerifier(settings, jwt, { revocations, store: refreshStore })
  const tokens = new Tokens({ settings, jwt, verifier, claims, store: refreshStore, users, sessions }, callables)
  const authTokens = new AuthTokens(database, users)
  const browserSessions = new BrowserSessions(database, users, sessions, secrets, settings)
  const tokenCookies = new TokenCookies(settings)
  const loginThrottle = await createLoginThrottle(settings.loginRate)
  const delivery = createDelivery(settings, database, log)
  onClose(() => delivery.close())
  const accounts = new Accounts({
    settings,
    users,
    passwords,
    sessions,
    activations: new Activations(database),
    emailChanges: new EmailChanges(database, users, onEmailChanged),
    emailTokens: new EmailTokens(secrets, settings.passwordResetTimeout),
    delivery
  })
  return {
    settings,
    database,
    users,
    passwords,
    permissions,
    groups,
    accounts,
    admin: new AdminPolicy({ settings, database, users, groups, permissions }),
    verifier,
    tokens,
    refreshStore,
    sessions,
    revocations,
    authTokens,
    browserSessions,
    tokenCookies,
    loginThrottle,
    keys,
    authenticators: {
      jwt: jwtAuthenticator({
        settings,
        verifier,
        users,
        cookies: tokenCookies,
        tokenUserClass: callables.tokenUserClass
      }),
      basic: basicAuthenticator(users, loginThrottle),
      token: tokenAuthenticator(authTokens),
      session: sessionAuthenticator(browserSessions, settings)
    }
  }
}

const clientOf = (request: LoginOutcome['request']) =>
  request && { address: request.address, userAgent: request.userAgent }

/** The only place that asks which store is in use. */
function createRefreshStore(
  settings: Settings,
  database: Database,
  { jwt, sessions, users }: { jwt: Jwt; sessions: Sessions; users: Users }
): RefreshStore {
  const encode = (claims: Claims) => jwt.encode(claims)
  switch (settings.refreshStore) {
    case 'session': {
      const blacklist = new BlacklistStore(database, settings, users, encode)
      return new SessionStore(database, settings, sessions, users, blacklist, encode)
    }
    case 'blacklist':
      return new BlacklistStore(database, settings, users, encode)
    case 'none':
      return new NoStore(encode)
  }
}

function createDelivery(settings: Settings, database: Database, log: Log): Delivery {
  return new Delivery({
    database,
    send: createMailer(settings, (path) => log.info({ path }, 'MAIL_URL is not set; the email was written to a file')),
    maxDelay: settings.accountsEmailDelay,
    limitPerHour: settings.accountsEmailsPerHour,
    onFault: (error) => log.error(error, 'could not send an email')
  })
}

export default fp(latchkey, { name: 'latchkey', fastify: '5.x' })

/** Latchkey as a Fastify plugin: settings → database → domains → decorators. It adds no route, no hook, no error handler. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type Authenticator, decorateRequests, type Scheme } from './authentication/authenticate.ts'
import { basicAuthenticator } from './authentication/basic.ts'
import { BrowserSessions } from './authentication/browser-sessions.ts'
import { jwtAuthenticator } from './authentication/jwt.ts'
import { sessionAuthenticator } from './authentication/session.ts'
import { tokenAuthenticator } from './authentication/token.ts'
import { migrate } from './database/migrate.ts'
import { type Database, openDatabase } from './database/open.ts'
import { createFailureThrottle, type FailureThrottle } from './drf/throttle.ts'
import { loadConfiguredKeys, loadSecrets } from './keys/configured-keys.ts'
import { KeyRing } from './keys/key-ring.ts'
import type { KeySet } from './keys/key-set.ts'
import { RemoteKeys, withRemoteKeys } from './keys/remote-jwks.ts'
import { createHashers } from './passwords/hashers.ts'
import { AUTH_MODELS } from './permissions/content-types.ts'
import { Groups } from './permissions/groups.ts'
import { Permissions } from './permissions/permissions.ts'
import { keepFlushing } from './sessions/cleanup.ts'
import { Revocations } from './sessions/revocations.ts'
import { Sessions } from './sessions/sessions.ts'
import { loadSettings } from './settings/load.ts'
import type { Settings, SettingsInput } from './settings/schema.ts'
import { AuthTokens } from './tokens/auth-tokens.ts'
import { Mint } from './tokens/claims.ts'
import { type Claims, Jwt } from './tokens/jwt.ts'
import { Blacklist } from './tokens/stores/blacklist-store.ts'
import { type TokenOptions, Tokens } from './tokens/tokens.ts'
import type { TokenUser } from './users/token-user.ts'
import type { User } from './users/user.ts'
import { Users } from './users/users.ts'

/** What `app.auth` holds: the domains, and what they stand on. */
export interface Auth {
  readonly settings: Settings
  /** The Prisma client. */
  readonly database: Database
  readonly users: Users
  readonly permissions: Permissions
  readonly groups: Groups
  readonly tokens: Tokens
  /** Logins, where `JWT_REFRESH_STORE` is `session`. */
  readonly sessions: Sessions
  /** What access tokens are refused before they expire. */
  readonly revocations: Revocations
  /** DRF's keys that never expire. */
  readonly authTokens: AuthTokens
  /** Who is signed in with a browser: `django_session`. */
  readonly browserSessions: BrowserSessions
  /** The keys that tokens are signed and verified with; a `KeyRing` if they are in the database. */
  readonly keys: KeySet
  readonly authenticators: Readonly<Record<Scheme, Authenticator>>
}

// Kept in the package's types: they give a request its `user`.
export type {} from '@fastify/jwt'

declare module 'fastify' {
  interface FastifyInstance {
    auth: Auth
  }
}

/** What a host app gives besides settings: functions, classes, and what goes with them. */
export interface LatchkeyCallables extends TokenOptions {
  userAuthenticationRule?(user: User): boolean | Promise<boolean>
  onLoginSuccess?(user: User, request: FastifyRequest | null): void | Promise<void>
  onLoginFailed?(credentials: Record<string, string>, request: FastifyRequest | null): void | Promise<void>
  claims?(user: User, request: FastifyRequest | null): Claims | Promise<Claims>
  /** SimpleJWT's JSON_ENCODER: the text of a token's claims. */
  jsonEncoder?(claims: Claims): string
  /** SimpleJWT's TOKEN_USER_CLASS, for callers known only by token. */
  tokenUserClass?: typeof TokenUser
}

/** The settings, in camelCase; those of the server (`host`, `port`, `corsOrigins`, …) have no effect in a host app. */
export type LatchkeyOptions = Omit<SettingsInput, 'logLevel'> & LatchkeyCallables

async function latchkey(app: FastifyInstance, options: LatchkeyOptions): Promise<void> {
  const { input, callables } = partsOf(options)
  const settings = loadSettings(input)
  const applied = await migrate(settings.databaseUrl)
  const database = await openDatabase(settings.databaseUrl)
  app.addHook('onClose', () => database.$disconnect())
  const keys = await openKeys(app, settings, database)
  app.addHook('onClose', async () => keys.close())
  const failures = await createFailureThrottle(settings.loginRate)
  const revocations = followRevocations(app, settings, database)
  const auth = createAuth(settings, database, { log: app.log, keys, failures, revocations, callables })
  // As Django does after its migrations.
  if (applied.length > 0) await auth.permissions.syncPermissions(AUTH_MODELS)
  app.decorate('auth', auth)
  decorateRequests(
    app,
    settings.authenticationSchemes.map((scheme) => auth.authenticators[scheme])
  )
}

/** `register` has options of its own, `prefix` and the like, and passes them on to the plugin. */
function partsOf(options: LatchkeyOptions): { input: SettingsInput; callables: LatchkeyCallables } {
  const { prefix, logLevel, logSerializers, ...own } = options as LatchkeyOptions & Record<string, never>
  const { userAuthenticationRule, onLoginSuccess, onLoginFailed, jsonEncoder, tokenUserClass, ...others } = own
  const { claims, claimsIn, freshClaims, ...input } = others
  const given = { userAuthenticationRule, onLoginSuccess, onLoginFailed, jsonEncoder, tokenUserClass }
  const callables = Object.entries({ ...given, claims, claimsIn, freshClaims }).filter(
    ([, value]) => value !== undefined
  )
  return { input, callables: Object.fromEntries(callables) }
}

async function openKeys({ log }: FastifyInstance, settings: Settings, database: Database): Promise<KeySet> {
  const onFault = (error: unknown) => log.warn(error, 'could not reload signing keys; continuing with cached keys')
  const own = await (settings.keyEncryptionKey === null
    ? loadConfiguredKeys(settings)
    : KeyRing.open(settings, database, onFault))
  if (settings.jwkUrl === null) return own
  return withRemoteKeys(own, new RemoteKeys(settings.jwkUrl, settings.algorithm, onFault))
}

/** From when the app is ready until it closes; a command line that only calls a domain has no use for it. */
function followRevocations(app: FastifyInstance, settings: Settings, database: Database): Revocations {
  const { log } = app
  const revocations = new Revocations(settings, database, (error) =>
    log.warn(error, 'the list of what was revoked cannot be read; what is known of it is refused all the same')
  )
  app.addHook('onReady', () => revocations.follow())
  app.addHook('onClose', () => revocations.close())
  if (settings.refreshStore === 'session') {
    let end = () => {}
    app.addHook('onReady', async () => {
      end = keepFlushing(database, (error) => log.warn(error, 'expired sessions cannot be deleted'))
    })
    app.addHook('onClose', async () => end())
  }
  return revocations
}

interface Parts {
  log: FastifyInstance['log']
  keys: KeySet
  failures: FailureThrottle
  revocations: Revocations
  callables: LatchkeyCallables
}

function createAuth(settings: Settings, database: Database, parts: Parts): Auth {
  const { log, keys, failures, revocations, callables } = parts
  const jwt = new Jwt(settings, keys, callables.jsonEncoder)
  const sessions = new Sessions(database, settings, revocations, {
    onReuse: (reuse) =>
      log.warn({ event: 'refresh_reuse', ...reuse }, 'a refresh token was used again, and its session has ended'),
    tellsRights: callables.claims !== undefined && new Mint(settings, callables).makesClaimsAtRefresh
  })
  const users = new Users(database, createHashers(settings), settings, sessions)
  const changeRights = sessions.changeRights.bind(sessions)
  const { refreshStore } = settings
  const tokens = new Tokens(
    settings,
    jwt,
    users,
    {
      blacklist: refreshStore === 'none' ? null : new Blacklist(database),
      sessions: refreshStore === 'session' ? sessions : null,
      revocations
    },
    callables
  )
  const authTokens = new AuthTokens(database)
  const browserSessions = new BrowserSessions(database, users, loadSecrets(settings), settings)
  return {
    ...{ settings, database, users, tokens, sessions, revocations, authTokens, browserSessions, keys },
    permissions: new Permissions(database, users, changeRights),
    groups: new Groups(database, changeRights),
    authenticators: {
      jwt: jwtAuthenticator(settings, tokens, users, callables.tokenUserClass),
      basic: basicAuthenticator(users, failures),
      token: tokenAuthenticator(authTokens),
      session: sessionAuthenticator(browserSessions, settings)
    }
  }
}

export default fp(latchkey, { name: 'latchkey', fastify: '5.x' })

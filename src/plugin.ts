/** Latchkey as a Fastify plugin: settings → database → domains → decorators. It adds no route, no hook, no error handler. */
import fastifyJwt from '@fastify/jwt'
import Fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { type Authenticator, decorateRequests, type Scheme } from './authentication/authenticate.ts'
import { jwtAuthenticator } from './authentication/jwt.ts'
import { loadSettings } from './config.ts'
import { migrate } from './database/migrate.ts'
import { type Database, openDatabase } from './database/open.ts'
import { Permissions } from './permissions/permissions.ts'
import type { Settings, SettingsInput } from './settings.ts'
import { Blacklist } from './tokens/blacklist.ts'
import { type Claims, Jwt, type VerifySignature } from './tokens/jwt.ts'
import { loadSigningKey } from './tokens/keys.ts'
import { type TokenOptions, Tokens } from './tokens/tokens.ts'
import { createHashers } from './users/hashers.ts'
import type { TokenUser } from './users/token-user.ts'
import { type User, Users } from './users/users.ts'

/** What `app.auth` holds: the domains, and what they stand on. */
export interface Auth {
  readonly settings: Settings
  /** The Prisma client. */
  readonly database: Database
  readonly users: Users
  readonly permissions: Permissions
  readonly tokens: Tokens
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
  await migrate(settings.databaseUrl)
  const database = await openDatabase(settings.databaseUrl)
  app.addHook('onClose', () => database.$disconnect())
  const key = loadSigningKey(settings)
  const jwt = new Jwt(settings, key, await signatures(settings, key), callables.jsonEncoder)
  const auth = createAuth(settings, database, jwt, callables)
  app.decorate('auth', auth)
  decorateRequests(app, [auth.authenticators.jwt])
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

function createAuth(settings: Settings, database: Database, jwt: Jwt, callables: LatchkeyCallables): Auth {
  const users = new Users(database, createHashers(settings), settings)
  const blacklist = settings.refreshStore === 'blacklist' ? new Blacklist(database) : null
  const tokens = new Tokens(settings, jwt, users, blacklist, callables)
  return {
    settings,
    database,
    users,
    permissions: new Permissions(database, users),
    tokens,
    authenticators: { jwt: jwtAuthenticator(settings, tokens, users, callables.tokenUserClass) }
  }
}

/** @fastify/jwt on an app of its own: on the host's it would be in the way of the host's own. */
async function signatures({ algorithm }: Settings, secret: string): Promise<VerifySignature> {
  const app = Fastify()
  await app.register(fastifyJwt, {
    secret,
    verify: { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true }
  })
  return (token) => void app.jwt.verify(token)
}

export default fp(latchkey, { name: 'latchkey', fastify: '5.x' })

/** What guards and authentication need of an app. The plugin's `app.auth` is one, and `latchkey/verify` makes one without a database. */
import type { FastifyRequest } from 'fastify'
import type { Settings } from '../settings/schema.ts'
import type { TokenVerifier } from '../tokens/verifier.ts'
import type { Caller } from '../users/token-user.ts'

/** Identifies the user of a request by one scheme; DRF's authentication class. */
export interface Authenticator {
  /** The value of `WWW-Authenticate`. If the first authenticator has none, every 401 becomes a 403, as in DRF. */
  readonly challenge?: string
  /** The request header that the credentials are in, for `Vary`, unless it is `Authorization`. */
  readonly vary?: string
  /**
   * @returns the caller and its credentials, or null if the request has no credentials of this scheme
   * @throws {AuthenticationFailed} for invalid credentials
   */
  authenticate: (request: FastifyRequest) => Promise<{ user: Caller; auth: unknown } | null>
}

/** Names of the built-in authenticators. */
export type Scheme = 'jwt' | 'basic' | 'token' | 'session'

/** Answers what a caller may do: from the database in the plugin, from the token's claims in `latchkey/verify`. */
export interface PermissionSource {
  hasPerm(caller: Caller, permission: string): Promise<boolean>
  isStaff(caller: Caller): Promise<boolean>
}

export interface AuthCore {
  readonly settings: Settings
  readonly verifier: TokenVerifier
  readonly permissions: PermissionSource
  readonly authenticators: Readonly<Partial<Record<Scheme, Authenticator>>>
}

/** The decorator under which an app has its core. A symbol, so that it collides with no decorator of the host app. */
export const AUTH_CORE: unique symbol = Symbol.for('latchkey.core')

declare module 'fastify' {
  interface FastifyInstance {
    [AUTH_CORE]: AuthCore
  }
}

/** The outcome of authentication. */
export interface Authentication {
  /** Null for an anonymous request. */
  readonly user: Caller | null
  readonly auth: unknown
}

/** The decorator under which a request has its outcome. `request.user` only shows it: a host's own plugin can set that. */
export const AUTHENTICATION: unique symbol = Symbol.for('latchkey.authentication')

declare module 'fastify' {
  interface FastifyRequest {
    /** Null before `authenticate`. */
    [AUTHENTICATION]: Authentication | null
  }
}

/** The user that Latchkey has authenticated, whatever `request.user` says; null for an anonymous request. */
export const authenticatedUser = (request: Pick<FastifyRequest, typeof AUTHENTICATION>): Caller | null =>
  request[AUTHENTICATION]?.user ?? null

/** Authenticates requests: tries the authenticators in order, lazily and once for each request. */

import type {} from '@fastify/jwt'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { varyBy } from '../drf/vary.ts'
import { type AuthError, AuthenticationFailed, NotAuthenticated, PermissionDenied } from '../errors.ts'
import {
  AUTH_CORE,
  AUTHENTICATION,
  type AuthCore,
  type Authentication,
  type Authenticator,
  authenticatedUser,
  type Scheme
} from '../guards/auth-core.ts'
import { assertCombinable, type Guard } from '../guards/guards.ts'
import type { Caller } from '../users/token-user.ts'

declare module '@fastify/jwt' {
  interface FastifyJWT {
    /** The type of `request.user`: the caller, once `authenticate` has run; null for an anonymous request. */
    user: Caller | null
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller's credentials: the claims of a token, a key, or a browser session. */
    auth: unknown
    /** The authenticators that are tried, in this order. */
    authenticators: readonly Authenticator[]
    /**
     * Tries the authenticators in order, once for each request.
     *
     * @param reply gets a `Vary` header for what the authenticators read
     * @throws {AuthenticationFailed} for invalid credentials
     */
    authenticate: (reply?: FastifyReply) => Promise<void>
    /** Returns DRF's error for a caller without permission: 401 for an anonymous one, else 403. */
    permissionDenied: (message?: string) => AuthError
  }
}

const OUTCOME = Symbol('latchkey.outcome')
const CHOSEN = Symbol('latchkey.authenticators')
type DecoratedRequest = FastifyRequest & {
  [OUTCOME]: Promise<Authentication> | null
  [CHOSEN]: readonly Authenticator[] | null
}

/** Decorates the requests of an app with `user`, `auth`, `authenticators`, `authenticate` and `permissionDenied`. */
export function decorateRequests(app: FastifyInstance, authenticators: readonly Authenticator[]): void {
  // The host's @fastify/jwt may have decorated requests with `user` before.
  if (!app.hasRequestDecorator('user')) app.decorateRequest('user', null)
  app.decorateRequest('auth', null)
  app.decorateRequest(OUTCOME, null)
  app.decorateRequest(CHOSEN, null)
  app.decorateRequest(AUTHENTICATION, null)
  app.decorateRequest('authenticators', {
    getter(this: FastifyRequest) {
      return (this as DecoratedRequest)[CHOSEN] ?? authenticators
    },
    setter(this: FastifyRequest, chosen: readonly Authenticator[]) {
      const request = this as DecoratedRequest
      if (request.authenticators === chosen) return
      // What other authenticators have found does not count any more.
      request[CHOSEN] = chosen
      request[OUTCOME] = null
      setOutcome(request, null)
    }
  })
  app.decorateRequest('authenticate', async function (this: FastifyRequest, reply?: FastifyReply) {
    const request = this as DecoratedRequest
    if (reply) for (const { vary } of request.authenticators) if (vary) varyBy(reply, vary)
    request[OUTCOME] ??= authenticate(request)
    // Also if it is remembered: a plugin of the host may have set another `request.user` meanwhile.
    setOutcome(request, await request[OUTCOME])
  })
  app.decorateRequest('permissionDenied', function (this: FastifyRequest, message?: string) {
    if (authenticatedUser(this) !== null || this.authenticators.length === 0) return new PermissionDenied(message)
    return withChallenge(new NotAuthenticated(), this.authenticators)
  })
}

function setOutcome(request: FastifyRequest, outcome: Authentication | null): void {
  request[AUTHENTICATION] = outcome
  request.user = outcome?.user ?? null
  request.auth = outcome?.auth ?? null
}

/**
 * Returns a guard that authenticates with these schemes instead of those of the settings. It must be the outermost guard.
 *
 * @param schemes tried in this order; if empty, every rejected request gets a 403
 * @throws {TypeError} if the inner guard restricts the schemes, too
 */
export function authenticateWith(schemes: readonly (Scheme | Authenticator)[], inner: Guard): Guard {
  assertCombinable([inner], 'authenticateWith')
  const resolved = new WeakMap<FastifyInstance, readonly Authenticator[]>()
  async function checkPermission(request: FastifyRequest, reply?: FastifyReply): Promise<void> {
    const { server } = request
    if (server[AUTH_CORE] === undefined) return inner(request, reply)
    const list = resolved.get(server) ?? schemes.map((scheme) => resolve(scheme, server[AUTH_CORE].authenticators))
    resolved.set(server, list)
    request.authenticators = list
    await inner(request, reply)
  }
  const permits = (): never => {
    throw new TypeError('authenticateWith() must be the outermost guard: its predicate alone would ignore the schemes')
  }
  return Object.assign(checkPermission, { permits, restrictsSchemes: true })
}

function resolve(scheme: Scheme | Authenticator, known: AuthCore['authenticators']): Authenticator {
  if (typeof scheme !== 'string') return scheme
  const authenticator = known[scheme]
  if (authenticator === undefined) throw new TypeError(`authenticateWith: this app has no scheme "${scheme}"`)
  return authenticator
}

async function authenticate(request: FastifyRequest): Promise<Authentication> {
  const { authenticators } = request
  // A user that the host's own plugin has set did not authenticate here.
  request.user = null
  for (const authenticator of authenticators) {
    try {
      const found = await authenticator.authenticate(request)
      if (found !== null) return { user: withoutHash(found.user), auth: found.auth }
    } catch (error) {
      throw error instanceof AuthenticationFailed ? withChallenge(error, authenticators) : error
    }
  }
  return { user: null, auth: null }
}

/** A custom authenticator may return a whole row; the password hash must not reach `request.user`. */
function withoutHash(user: Caller): Caller {
  if (!Object.hasOwn(user, 'password')) return user
  const { password, ...rest } = user as Caller & { password: unknown }
  return rest as Caller
}

/** As in DRF, the first authenticator decides between a 401 with its challenge and a 403. */
function withChallenge<Kind extends AuthError>(error: Kind, [first]: readonly Authenticator[]): Kind {
  if (first?.challenge === undefined) error.statusCode = 403
  else error.headers['www-authenticate'] = first.challenge
  return error
}

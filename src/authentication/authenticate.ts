/** Authenticates requests: tries the authenticators in order, lazily and once for each request. */

import type {} from '@fastify/jwt'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { varyBy } from '../drf/vary.ts'
import { type AuthError, AuthenticationFailed, NotAuthenticated, PermissionDenied } from '../errors.ts'
import { AUTH_CORE, type AuthCore, type Authenticator, type Scheme } from '../guards/auth-core.ts'
import type { Guard } from '../guards/guards.ts'
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
type DecoratedRequest = FastifyRequest & { [OUTCOME]: Promise<void> | null; [CHOSEN]: readonly Authenticator[] | null }

/** Decorates the requests of an app with `user`, `auth` and `authenticate`. */
export function decorateRequests(app: FastifyInstance, authenticators: readonly Authenticator[]): void {
  // The host's @fastify/jwt may have decorated requests with `user` before.
  if (!app.hasRequestDecorator('user')) app.decorateRequest('user', null)
  app.decorateRequest('auth', null)
  app.decorateRequest(OUTCOME, null)
  app.decorateRequest(CHOSEN, null)
  app.decorateRequest('authenticators', {
    getter(this: FastifyRequest) {
      return (this as DecoratedRequest)[CHOSEN] ?? authenticators
    },
    setter(this: FastifyRequest, chosen: readonly Authenticator[]) {
      ;(this as DecoratedRequest)[CHOSEN] = chosen
    }
  })
  app.decorateRequest('authenticate', function (this: FastifyRequest, reply?: FastifyReply) {
    const request = this as DecoratedRequest
    if (reply) for (const { vary } of request.authenticators) if (vary) varyBy(reply, vary)
    request[OUTCOME] ??= authenticate(request)
    return request[OUTCOME]
  })
  app.decorateRequest('permissionDenied', function (this: FastifyRequest, message?: string) {
    if (this.user !== null || this.authenticators.length === 0) return new PermissionDenied(message)
    return challenged(new NotAuthenticated(), this.authenticators)
  })
}

/**
 * Returns a guard that authenticates with these schemes instead of those of the settings.
 *
 * @param schemes tried in this order; if empty, every rejected request gets a 403
 */
export function authenticateWith(schemes: readonly (Scheme | Authenticator)[], inner: Guard): Guard {
  async function checkPermission(request: FastifyRequest, reply?: FastifyReply): Promise<void> {
    const { authenticators } = request.server[AUTH_CORE]
    request.authenticators = schemes.map((scheme) => resolve(scheme, authenticators))
    await inner(request, reply)
  }
  return Object.assign(checkPermission, { permits: inner.permits })
}

function resolve(scheme: Scheme | Authenticator, known: AuthCore['authenticators']): Authenticator {
  if (typeof scheme !== 'string') return scheme
  const authenticator = known[scheme]
  if (authenticator === undefined) throw new TypeError(`authenticateWith: this app has no scheme "${scheme}"`)
  return authenticator
}

async function authenticate(request: FastifyRequest): Promise<void> {
  const { authenticators } = request
  // A user that the host's own plugin has set did not authenticate here.
  request.user = null
  for (const authenticator of authenticators) {
    try {
      const found = await authenticator.authenticate(request)
      if (found === null) continue
      request.user = found.user
      request.auth = found.auth
      return
    } catch (error) {
      throw error instanceof AuthenticationFailed ? challenged(error, authenticators) : error
    }
  }
}

/** As in DRF, the first authenticator decides between a 401 with its challenge and a 403. */
function challenged<Kind extends AuthError>(error: Kind, [first]: readonly Authenticator[]): Kind {
  if (first?.challenge === undefined) error.statusCode = 403
  else error.headers['www-authenticate'] = first.challenge
  return error
}

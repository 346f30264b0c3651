/** Who is calling: authenticators are tried in order, once a request, and only where somebody asks. */

import type {} from '@fastify/jwt'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { varyBy } from '../drf/vary.ts'
import { type AuthError, AuthenticationFailed, NotAuthenticated, PermissionDenied } from '../errors.ts'
import type { Guard } from '../guards/guards.ts'
import type { Caller } from '../users/token-user.ts'

/** A scheme by which a caller says who it is; DRF's authentication class. */
export interface Authenticator {
  /** What `WWW-Authenticate` says. A scheme without a challenge, tried first, makes 403 of every 401. */
  readonly challenge?: string
  /** The header that its credentials are in, for `Vary`, if they are not where caches look for them. */
  readonly vary?: string
  /**
   * @returns the caller and what it showed, or null if the request has nothing of this scheme
   * @throws {AuthenticationFailed} for credentials that are wrong
   */
  authenticate: (request: FastifyRequest) => Promise<{ user: Caller; auth: unknown } | null>
}

/** The schemes that have a name. */
export type Scheme = 'jwt' | 'basic' | 'token' | 'session'

declare module '@fastify/jwt' {
  interface FastifyJWT {
    /** Who is calling, once `authenticate` has run; null for a caller without credentials. This is `request.user`. */
    user: Caller | null
  }
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What the caller showed: the claims of a token, a key, a browser's session. */
    auth: unknown
    /** What is tried, in order. */
    authenticators: readonly Authenticator[]
    /**
     * Tries the authenticators in order, once a request.
     *
     * @param reply whose `Vary` is to name what they look at
     * @throws {AuthenticationFailed} for credentials that are wrong
     */
    authenticate: (reply?: FastifyReply) => Promise<void>
    /** DRF's 401 or 403 for a caller who may not: an error to throw. */
    permissionDenied: (message?: string) => AuthError
  }
}

const OUTCOME = Symbol('latchkey.outcome')
const CHOSEN = Symbol('latchkey.authenticators')
type Asked = FastifyRequest & { [OUTCOME]: Promise<void> | null; [CHOSEN]: readonly Authenticator[] | null }

/** Gives every request of the app the means to find out who is calling. */
export function decorateRequests(app: FastifyInstance, authenticators: readonly Authenticator[]): void {
  // A host's @fastify/jwt may have made the place already.
  if (!app.hasRequestDecorator('user')) app.decorateRequest('user', null)
  app.decorateRequest('auth', null)
  app.decorateRequest(OUTCOME, null)
  app.decorateRequest(CHOSEN, null)
  app.decorateRequest('authenticators', {
    getter(this: FastifyRequest) {
      return (this as Asked)[CHOSEN] ?? authenticators
    },
    setter(this: FastifyRequest, chosen: readonly Authenticator[]) {
      ;(this as Asked)[CHOSEN] = chosen
    }
  })
  app.decorateRequest('authenticate', function (this: FastifyRequest, reply?: FastifyReply) {
    const request = this as Asked
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
 * Names the schemes of a route, in place of the settings'.
 *
 * @param schemes tried in this order; with none, every refusal is a 403
 */
export function authenticateWith(schemes: readonly (Scheme | Authenticator)[], asked: Guard): Guard {
  async function checkPermission(request: FastifyRequest, reply?: FastifyReply): Promise<void> {
    const { authenticators } = request.server.auth
    request.authenticators = schemes.map((scheme) => (typeof scheme === 'string' ? authenticators[scheme] : scheme))
    await asked(request, reply)
  }
  return Object.assign(checkPermission, { permits: asked.permits })
}

async function authenticate(request: FastifyRequest): Promise<void> {
  const { authenticators } = request
  // Whoever a host's own plugin has put there has shown nothing to us.
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

/** DRF: the first scheme decides whether it is a 401 with its challenge, or a 403. */
function challenged<Kind extends AuthError>(error: Kind, [first]: readonly Authenticator[]): Kind {
  if (first?.challenge === undefined) error.statusCode = 403
  else error.headers['www-authenticate'] = first.challenge
  return error
}

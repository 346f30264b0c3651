/**
 * DRF's permission classes as preHandlers, which combine.
 *
 * Answers are combined, never exceptions: were a refusal a throw, `not` would turn a database that is down into "allowed".
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { AUTH_CORE } from './auth-core.ts'

/** What a guard asks of a request. */
export type Predicate = (request: FastifyRequest) => boolean | Promise<boolean>

/** A preHandler that carries the question it asks, so that guards can be combined. */
export interface Guard {
  (request: FastifyRequest, reply?: FastifyReply): Promise<void>
  readonly permits: Predicate
}

export interface GuardOptions {
  /** In place of DRF's text for a 403; an anonymous caller does not see it. */
  message?: string
}

/**
 * A guard of one's own.
 *
 * @param permits asked after authentication; `request.user` is the caller or null
 */
export function guard(permits: Predicate, { message }: GuardOptions = {}): Guard {
  async function checkPermission(request: FastifyRequest, reply?: FastifyReply): Promise<void> {
    await request.authenticate(reply)
    if (!(await permits(request))) throw request.permissionDenied(message)
  }
  return Object.assign(checkPermission, { permits })
}

const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Everybody; but credentials that are given and wrong are refused all the same. */
export const allowAny = guard(() => true)

export const isAuthenticated = guard(({ user }) => user !== null)

/** Staff, as `is_staff` says. */
export const isAdminUser = guard(
  async ({ user, server }) => user !== null && (await server[AUTH_CORE].permissions.isStaff(user))
)

/** Everybody may read (GET, HEAD, OPTIONS), who is signed in may do the rest. */
export const isAuthenticatedOrReadOnly = guard(({ user, method }) => SAFE_METHODS.has(method) || user !== null)

/** Who holds all of these permissions, each as `app_label.codename`. */
export function hasPermission(...permissions: [string, ...string[]]): Guard {
  return guard(async ({ user, server }) => {
    if (user === null) return false
    for (const permission of permissions)
      if (!(await server[AUTH_CORE].permissions.hasPerm(user, permission))) return false
    return true
  })
}

/** All of these, asked in order until one says no. */
export function and(...guards: [Guard, ...Guard[]]): Guard {
  return guard(async (request) => {
    for (const { permits } of guards) if (!(await permits(request))) return false
    return true
  })
}

/** Any of these, asked in order until one says yes. */
export function or(...guards: [Guard, ...Guard[]]): Guard {
  return guard(async (request) => {
    for (const { permits } of guards) if (await permits(request)) return true
    return false
  })
}

export function not({ permits }: Guard): Guard {
  return guard(async (request) => !(await permits(request)))
}

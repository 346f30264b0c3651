/**
 * DRF's permission classes as preHandler hooks that can be combined.
 *
 * Combinators combine the answers of predicates, never exceptions: otherwise `not` would turn a database error into
 * "allowed".
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { SAFE_METHODS } from '../drf/safe-methods.ts'
import { AUTH_CORE, authenticatedUser } from './auth-core.ts'

/** Answers whether a request is allowed. Only `true` allows it. */
export type Predicate = (request: FastifyRequest) => boolean | Promise<boolean>

/** A preHandler hook that carries its predicate, so that guards can be combined. */
export interface Guard {
  (request: FastifyRequest, reply?: FastifyReply): Promise<void>
  readonly permits: Predicate
  /** True for a guard that restricts the authentication schemes, which therefore must be the outermost one. */
  readonly restrictsSchemes?: boolean
}

export interface GuardOptions {
  /** Replaces DRF's text of the 403. Anonymous callers get the text of the 401. */
  message?: string
}

/**
 * Makes a guard of a predicate.
 *
 * @param permits called after authentication; `request.user` is the caller or null
 */
export function guard(permits: Predicate, { message }: GuardOptions = {}): Guard {
  async function checkPermission(request: FastifyRequest, reply?: FastifyReply): Promise<void> {
    if (request.authenticate === undefined) throw new TypeError(NOT_REGISTERED)
    await request.authenticate(reply)
    if ((await permits(request)) !== true) throw request.permissionDenied(message)
  }
  return Object.assign(checkPermission, { permits })
}

/** Registered in another scope, the plugin decorates only that one. */
const NOT_REGISTERED =
  'Latchkey is not registered in the scope of this route; register it before, on the same app: `await app.register(latchkey, …)`'

/** Allows every request; invalid credentials are rejected all the same. */
export const allowAny = guard(() => true)

export const isAuthenticated = guard((request) => authenticatedUser(request) !== null)

/** Allows staff: users with `is_staff`. */
export const isAdminUser = guard(async (request) => {
  const user = authenticatedUser(request)
  return user !== null && (await request.server[AUTH_CORE].permissions.isStaff(user))
})

/** Allows GET, HEAD and OPTIONS for everyone, other methods for authenticated users. */
export const isAuthenticatedOrReadOnly = guard(
  (request) => SAFE_METHODS.has(request.method) || authenticatedUser(request) !== null
)

/** Allows users who have all of these permissions, each as `app_label.codename`. */
export function hasPermission(...permissions: [string, ...string[]]): Guard {
  return guard(async (request) => {
    const user = authenticatedUser(request)
    if (user === null) return false
    const { permissions: source } = request.server[AUTH_CORE]
    for (const permission of permissions) if (!(await source.hasPerm(user, permission))) return false
    return true
  })
}

/** Allows a request that all guards allow; they are asked in order until one does not. */
export function and(...guards: [Guard, ...Guard[]]): Guard {
  assertCombinable(guards, 'and')
  return guard(async (request) => {
    for (const { permits } of guards) if ((await permits(request)) !== true) return false
    return true
  })
}

/** Allows a request that any guard allows; they are asked in order until one does. */
export function or(...guards: [Guard, ...Guard[]]): Guard {
  assertCombinable(guards, 'or')
  return guard(async (request) => {
    for (const { permits } of guards) if ((await permits(request)) === true) return true
    return false
  })
}

/** Allows a request that the guard does not allow. */
export function not(inner: Guard): Guard {
  assertCombinable([inner], 'not')
  return guard(async (request) => (await inner.permits(request)) === false)
}

/** @throws {TypeError} for a guard whose scheme restriction the combination would ignore */
export function assertCombinable(guards: readonly Guard[], name: string): void {
  if (!guards.some(({ restrictsSchemes }) => restrictsSchemes)) return
  throw new TypeError(`${name}() cannot contain authenticateWith(): put authenticateWith() around ${name}() instead`)
}

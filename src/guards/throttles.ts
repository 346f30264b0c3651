/** DRF's throttle classes as preHandlers, which go after the guards: `preHandler: [isAuthenticated, userRateThrottle('100/day')]`. */
import type { FastifyRequest } from 'fastify'
import { addressOf, createThrottle, type Throttle } from '../drf/throttle.ts'
import { ImproperlyConfigured } from '../errors.ts'
import { TokenUser } from '../users/token-user.ts'
import { authenticatedUser } from './auth-core.ts'

const RATE = /^[1-9]\d{0,6}\/[smhd][a-z]*$/

/**
 * Limits anonymous requests by IP address.
 *
 * @param rate such as `5/minute`. Routes that use the same throttle share its count: DRF's scope.
 * @throws {ImproperlyConfigured} for an invalid rate
 */
export function anonRateThrottle(rate: string): Throttle {
  return lazily(rate, (request) => (authenticatedUser(request) === null ? addressOf(request) : null))
}

/** Limits authenticated users by id and anonymous requests by IP address. @see anonRateThrottle */
export function userRateThrottle(rate: string): Throttle {
  return lazily(rate, (request) => {
    const user = authenticatedUser(request)
    if (user === null) return addressOf(request)
    // A user of another service may have the id of a local one.
    return `${user instanceof TokenUser && user.idField === null ? 'foreign' : 'user'} ${user.id}`
  })
}

function lazily(rate: string, keyOf: (request: FastifyRequest) => string | null): Throttle {
  if (!RATE.test(rate)) throw new ImproperlyConfigured([`${rate}: must be a rate such as 20/minute`])
  let made: Promise<Throttle> | undefined
  return async (request) => {
    made ??= createThrottle(rate, keyOf)
    await request.authenticate()
    return (await made)(request)
  }
}

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
 * @param rates such as `5/minute`. With several, such as `'10/second', '1000/day'`, each counts every request, and the
 *   longest wait is reported. Routes that use the same throttle share its counts: DRF's scope.
 * @throws {ImproperlyConfigured} for an invalid rate
 */
export function anonRateThrottle(...rates: [rate: string, ...rates: string[]]): Throttle {
  return lazily(rates, (request) => (authenticatedUser(request) === null ? addressOf(request) : null))
}

/** Limits authenticated users by id and anonymous requests by IP address. @see anonRateThrottle */
export function userRateThrottle(...rates: [rate: string, ...rates: string[]]): Throttle {
  return lazily(rates, (request) => {
    const user = authenticatedUser(request)
    if (user === null) return addressOf(request)
    // A user of another service may have the id of a local one.
    return `${user instanceof TokenUser && user.idField === null ? 'foreign' : 'user'} ${user.id}`
  })
}

function lazily(rates: readonly string[], keyOf: (request: FastifyRequest) => string | null): Throttle {
  const invalid = rates.filter((rate) => !RATE.test(rate))
  if (invalid.length > 0)
    throw new ImproperlyConfigured(invalid.map((rate) => `${rate}: must be a rate such as 20/minute`))
  let made: Promise<Throttle> | undefined
  return async (request) => {
    made ??= createThrottle(rates, keyOf)
    await request.authenticate()
    return (await made)(request)
  }
}

/** DRF's throttle classes as preHandlers, which go after the guards: `preHandler: [isAuthenticated, userRateThrottle('100/day')]`. */
import type { FastifyRequest } from 'fastify'
import { addressOf, createThrottle, type Throttle } from '../drf/throttle.ts'
import { ImproperlyConfigured } from '../errors.ts'

const RATE = /^[1-9]\d{0,6}\/[smhd][a-z]*$/

/**
 * Limits callers who have not said who they are, each address by itself.
 *
 * @param rate such as `5/minute`. Routes that are given the same throttle share it: that is DRF's scope.
 * @throws {ImproperlyConfigured} for a rate that is none
 */
export function anonRateThrottle(rate: string): Throttle {
  return lazily(rate, (request) => (request.user === null ? addressOf(request) : null))
}

/** Limits every caller: a user wherever it comes from, anybody else by address. Otherwise as anonRateThrottle. */
export function userRateThrottle(rate: string): Throttle {
  return lazily(rate, (request) => (request.user === null ? addressOf(request) : `user ${request.user.id}`))
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

/** DRF's throttles on @fastify/rate-limit: so many requests a period for each address. */
import rateLimit, { type RateLimitOptions } from '@fastify/rate-limit'
import Fastify, { type FastifyRequest } from 'fastify'
import { Throttled } from '../errors.ts'

/** A hook that throws Throttled, a 429 with `Retry-After`, once an address has had its share. */
export type Throttle = (request: FastifyRequest) => Promise<void>

const PERIODS = { s: 1, m: 60, h: 3600, d: 86_400 }
/** Addresses remembered; the one seen longest ago is forgotten first. */
const REMEMBERED = 50_000

/**
 * @param rate DRF's `20/minute`, whose period goes by its first letter; or `off`
 * @returns a throttle that all routes it is given to share, which counts IPv6 addresses by their /64
 */
export async function createThrottle(rate: string): Promise<Throttle> {
  const [max = '', period = ''] = rate.split('/')
  if (rate === 'off') return async () => {}
  // On an app of its own: on the host's, its rate limit and ours would count in each other's books.
  const app = Fastify()
  await app.register(rateLimit, { global: false })
  const timeWindow = 1000 * PERIODS[period[0] as keyof typeof PERIODS]
  const count = app.createRateLimit({ max: Number(max), timeWindow, cache: REMEMBERED } as RateLimitOptions)
  let last: Promise<unknown> = Promise.resolve()
  return async (request) => {
    // One after another: what an address has had is one object, which the next request would change under our eyes.
    const turn = last.then(() => count(request))
    last = turn.catch(() => {})
    const outcome = await turn
    if (!outcome.isAllowed && outcome.isExceeded) throw new Throttled(outcome.ttlInSeconds)
  }
}

/** DRF's throttles on @fastify/rate-limit: so many requests a period for each caller. */
import rateLimit, { type RateLimitOptions } from '@fastify/rate-limit'
import Fastify, { type FastifyRequest } from 'fastify'
import { Throttled } from '../errors.ts'

/** A hook that throws Throttled, a 429 with `Retry-After`, once a caller has had its share. */
export type Throttle = (request: FastifyRequest) => Promise<void>

/** Limits what fails: nobody is counted for doing well. */
export interface FailureThrottle {
  /** @throws {Throttled} if this address has failed too often */
  check: (request: FastifyRequest) => void
  /** Counts a failure. @throws {Throttled} if it was one too many */
  count: Throttle
}

const PERIODS = { s: 1, m: 60, h: 3600, d: 86_400 }
/** Callers remembered; the one seen longest ago is forgotten first. */
const REMEMBERED = 50_000

/**
 * @param rate DRF's `20/minute`, whose period goes by its first letter; or `off`
 * @param keyOf who is counted, by default the address; nobody if null
 * @returns a throttle that all routes it is given to share
 */
export async function createThrottle(
  rate: string,
  keyOf: (request: FastifyRequest) => string | null = addressOf
): Promise<Throttle> {
  const [max = '', period = ''] = rate.split('/')
  if (rate === 'off') return async () => {}
  // On an app of its own: on the host's, its rate limit and ours would count in each other's books.
  const app = Fastify()
  await app.register(rateLimit, { global: false })
  const timeWindow = 1000 * PERIODS[period[0] as keyof typeof PERIODS]
  const keyGenerator = (request: FastifyRequest) => keyOf(request) ?? ''
  const count = app.createRateLimit({
    max: Number(max),
    timeWindow,
    cache: REMEMBERED,
    keyGenerator
  } as RateLimitOptions)
  let last: Promise<unknown> = Promise.resolve()
  return async (request) => {
    if (keyOf(request) === null) return
    // One after another: what a caller has had is one object, which the next request would change under our eyes.
    const turn = last.then(() => count(request))
    last = turn.catch(() => {})
    const outcome = await turn
    if (!outcome.isAllowed && outcome.isExceeded) throw new Throttled(outcome.ttlInSeconds)
  }
}

/** @param rate as of createThrottle */
export async function createFailureThrottle(rate: string): Promise<FailureThrottle> {
  const throttle = await createThrottle(rate)
  const refusedUntil = new Map<string, number>()
  return {
    check: (request) => {
      const wait = (refusedUntil.get(addressOf(request)) ?? 0) - performance.now()
      if (wait > 0) throw new Throttled(Math.ceil(wait / 1000))
    },
    count: async (request) => {
      try {
        await throttle(request)
      } catch (error) {
        const wait = Number(error instanceof Throttled && error.headers['retry-after'])
        if (refusedUntil.size >= REMEMBERED) refusedUntil.delete(refusedUntil.keys().next().value as string)
        refusedUntil.set(addressOf(request), performance.now() + wait * 1000)
        throw error
      }
    }
  }
}

/** The connection's address, or behind proxies that are trusted the one that they tell; of IPv6 its /64, which is one house. */
export function addressOf({ ip }: FastifyRequest): string {
  if (!ip.includes(':')) return ip
  if (ip.includes('.')) return ip.slice(ip.lastIndexOf(':') + 1)
  const [head = '', tail = ''] = ip.split('::')
  const [first, last] = [head, tail].map((part) => part.split(':').filter(Boolean)) as [string[], string[]]
  const between = Array.from({ length: ip.includes('::') ? 8 - first.length - last.length : 0 }, () => '0')
  const groups = [...first, ...between, ...last].slice(0, 4)
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}

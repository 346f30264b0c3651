/** DRF's throttles on @fastify/rate-limit: a number of requests in a period for each client. */
import rateLimit, { type RateLimitOptions } from '@fastify/rate-limit'
import Fastify, { type FastifyRequest } from 'fastify'
import { Throttled } from '../errors.ts'
import { SAFE_METHODS } from './safe-methods.ts'

/** A hook that throws Throttled, a 429 with `Retry-After`, if a client exceeds the rate. */
export type Throttle = (request: FastifyRequest) => Promise<void>

/**
 * The rate limit of everything that checks a password, for each IP address. As a hook it counts a request before the
 * password is hashed, so that concurrent requests cannot exceed the limit. GET, HEAD and OPTIONS are not counted.
 */
export interface LoginThrottle extends Throttle {
  /** Counts a request with any method, such as one with HTTP Basic. @throws {Throttled} */
  take(request: FastifyRequest): Promise<void>
  /** Does not count the request after all, because its password was correct. */
  giveBack(request: FastifyRequest): void
}

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 }
/** Number of clients that are remembered; the one that was seen longest ago is evicted first. */
const MAX_CLIENTS = 50_000

interface Window {
  count: number
  startedAt: number
}

type Callback = (error: Error | null, result: { current: number; ttl: number }) => void

/** A store for @fastify/rate-limit whose counts can be taken back. */
class Counter {
  readonly #windows = new Map<string, Window>()

  incr(key: string, callback: Callback, periodMs: number): void {
    const now = Date.now()
    const known = this.#windows.get(key)
    const isRunning = known !== undefined && known.startedAt + periodMs > now
    const window = isRunning ? { ...known, count: known.count + 1 } : { count: 1, startedAt: now }
    // Deleted first, so that the map is in the order of last use.
    this.#windows.delete(key)
    if (this.#windows.size >= MAX_CLIENTS) this.#windows.delete(this.#windows.keys().next().value as string)
    this.#windows.set(key, window)
    callback(null, { current: window.count, ttl: periodMs - (now - window.startedAt) })
  }

  giveBack(key: string): void {
    const window = this.#windows.get(key)
    if (window !== undefined && window.count > 0) window.count--
  }

  child(): this {
    return this
  }
}

/**
 * @param rate DRF's `20/minute`, of which the first letter of the period counts; or `off`
 * @param keyOf returns what is counted, by default the IP address; requests with null are not counted
 * @returns a throttle whose count is shared by all routes that use it
 */
export async function createThrottle(
  rate: string,
  keyOf: (request: FastifyRequest) => string | null = addressOf
): Promise<Throttle> {
  return (await createCounting(rate, keyOf)).count
}

/** @param rate as of createThrottle */
export async function createLoginThrottle(rate: string): Promise<LoginThrottle> {
  const { count, counter } = await createCounting(rate, addressOf)
  const throttle: Throttle = async (request) => {
    if (!SAFE_METHODS.has(request.method)) await count(request)
  }
  return Object.assign(throttle, {
    take: count,
    giveBack: (request: FastifyRequest) => counter.giveBack(addressOf(request))
  })
}

async function createCounting(rate: string, keyOf: (request: FastifyRequest) => string | null) {
  const counter = new Counter()
  if (rate === 'off') return { counter, count: async () => {} }
  const [max = '', period = ''] = rate.split('/')
  // On an app of its own: on the host's app, its rate limits and ours would share their counts.
  const app = Fastify()
  // The plugin calls `new store(…)`; the counter is also needed here.
  const store = class {
    constructor() {
      // biome-ignore lint/correctness/noConstructorReturn: see above.
      return counter
    }
  }
  await app.register(rateLimit, { global: false, store: store as never })
  const check = app.createRateLimit({
    max: Number(max),
    timeWindow: 1000 * SECONDS[period[0] as keyof typeof SECONDS],
    keyGenerator: (request: FastifyRequest) => keyOf(request) ?? ''
  } as RateLimitOptions)
  const count: Throttle = async (request) => {
    if (keyOf(request) === null) return
    const outcome = await check(request)
    if (outcome.isAllowed || !outcome.isExceeded) return
    // A rejected attempt is not an attempt: it must not hold a place that a correct password gives back.
    counter.giveBack(keyOf(request) as string)
    throw new Throttled(outcome.ttlInSeconds)
  }
  return { counter, count }
}

/**
 * The client's IP address, behind trusted proxies the one that they report; for IPv6 the /64 network, which one client
 * can have.
 */
export function addressOf({ ip }: FastifyRequest): string {
  if (!ip.includes(':')) return ip
  if (ip.includes('.')) return ip.slice(ip.lastIndexOf(':') + 1)
  const [head = '', tail = ''] = ip.split('::')
  const [first, last] = [head, tail].map((part) => part.split(':').filter(Boolean)) as [string[], string[]]
  const between = Array.from({ length: ip.includes('::') ? 8 - first.length - last.length : 0 }, () => '0')
  const groups = [...first, ...between, ...last].slice(0, 4)
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::/64`
}

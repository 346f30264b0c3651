/** DRF's throttles on @fastify/rate-limit: a number of requests in any period of this length, for each client. */
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

/** Number of requests that are remembered in all, so that rates such as 1000/day cannot use up the memory. */
const MAX_REQUESTS = 1_000_000

type Callback = (error: Error | null, result: { current: number; ttl: number }) => void

/** A store for @fastify/rate-limit with DRF's sliding window: the times of the requests that were let through, by client. */
class History {
  /** Milliseconds of the monotonic clock, the oldest first. */
  readonly #times = new Map<string, number[]>()
  #size = 0

  incr(key: string, callback: Callback, periodMs: number, max: number): void {
    const now = performance.now()
    const times = this.#timesOf(key)
    while (times.length > 0 && (times[0] as number) <= now - periodMs) this.#remove(times, 0)
    const isExceeded = times.length >= max
    // A rejected request is not counted, as in DRF.
    if (!isExceeded) {
      times.push(now)
      this.#size++
    }
    callback(null, { current: isExceeded ? max + 1 : times.length, ttl: periodMs - (now - (times[0] ?? now)) })
  }

  /** Does not count a request after all. @param since when its `incr` was about to be called */
  giveBack(key: string, since: number): void {
    const times = this.#times.get(key) ?? []
    const index = times.findIndex((time) => time >= since)
    if (index >= 0) this.#remove(times, index)
  }

  /** Returns the times of a client, which is now the one that was seen last. */
  #timesOf(key: string): number[] {
    const times = this.#times.get(key) ?? []
    this.#times.delete(key)
    while (this.#times.size >= MAX_CLIENTS || this.#size >= MAX_REQUESTS) {
      const [oldest, forgotten] = this.#times.entries().next().value ?? ['', []]
      if (!this.#times.delete(oldest)) break
      this.#size -= forgotten.length
    }
    this.#times.set(key, times)
    return times
  }

  #remove(times: number[], index: number): void {
    times.splice(index, 1)
    this.#size--
  }

  child(): this {
    return this
  }
}

/**
 * @param rates DRF's `20/minute`, of which the first letter of the period counts. With several rates each of them counts
 *   every request, and a rejected client is told the longest wait.
 * @param keyOf returns what is counted, by default the IP address; requests with null are not counted
 * @returns a throttle whose counts are shared by all routes that use it
 */
export async function createThrottle(
  rates: readonly string[],
  keyOf: (request: FastifyRequest) => string | null = addressOf
): Promise<Throttle> {
  const counters = await Promise.all(rates.map((rate) => createCounter(rate, keyOf)))
  return async (request) => {
    const waits = await Promise.all(counters.map(({ count }) => count(request)))
    throwIfThrottled(Math.max(...waits))
  }
}

/** @param rate as of createThrottle, or `off` */
export async function createLoginThrottle(rate: string): Promise<LoginThrottle> {
  const { count, giveBack } = rate === 'off' ? UNLIMITED : await createCounter(rate, addressOf)
  const take: Throttle = async (request) => throwIfThrottled(await count(request))
  const throttle: Throttle = async (request) => {
    if (!SAFE_METHODS.has(request.method)) await take(request)
  }
  return Object.assign(throttle, { take, giveBack })
}

function throwIfThrottled(seconds: number): void {
  if (seconds > 0) throw new Throttled(seconds)
}

interface RequestCounter {
  /** Counts a request. @returns the seconds after which the client can try again, or 0 if the rate is not exceeded */
  count(request: FastifyRequest): Promise<number>
  giveBack(request: FastifyRequest): void
}

const UNLIMITED: RequestCounter = { count: async () => 0, giveBack: () => {} }

async function createCounter(rate: string, keyOf: (request: FastifyRequest) => string | null): Promise<RequestCounter> {
  const history = new History()
  const startTimes = new WeakMap<FastifyRequest, number>()
  const [max = '', period = ''] = rate.split('/')
  const timeWindow = 1000 * SECONDS[period[0] as keyof typeof SECONDS]
  // On an app of its own: on the host's app, its rate limits and ours would share their counts.
  const app = Fastify()
  // The plugin calls `new store(…)`; the history is also needed here.
  const store = class {
    constructor() {
      // biome-ignore lint/correctness/noConstructorReturn: see above.
      return history
    }
  }
  await app.register(rateLimit, { global: false, store: store as never })
  const keyGenerator = (request: FastifyRequest) => keyOf(request) ?? ''
  const check = app.createRateLimit({ max: Number(max), timeWindow, keyGenerator } as RateLimitOptions)
  return {
    async count(request) {
      if (keyOf(request) === null) return 0
      startTimes.set(request, performance.now())
      const outcome = await check(request)
      return !outcome.isAllowed && outcome.isExceeded ? outcome.ttlInSeconds : 0
    },
    giveBack(request) {
      const since = startTimes.get(request)
      if (since === undefined || performance.now() - since >= timeWindow) return
      history.giveBack(keyOf(request) as string, since)
    }
  }
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

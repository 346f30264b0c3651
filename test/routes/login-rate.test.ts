/** The rate limit of logins by address. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import t from 'tap'
import { createLoginThrottle, createThrottle } from '../../src/drf/throttle.ts'
import { Throttled } from '../../src/errors.ts'
import { worldOf } from '../support/build.ts'
import { addUser, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'

const { build } = worldOf('sqlite')

function logIn(app: FastifyInstance, remoteAddress = '192.0.2.1', url = '/api/token/', password = 'wrong') {
  return app.inject({ method: 'POST', url, payload: { username: 'alice', password }, remoteAddress })
}

t.test("beyond the limit an address gets DRF's 429, on both URL spellings and with valid credentials", async (t) => {
  const app = await build(t, { loginRate: '3/minute' })
  await addUser(app)
  const counted = [
    await logIn(app),
    await logIn(app, '192.0.2.1', '/api/token'),
    await logIn(app, '192.0.2.1', '/api/token/', PASSWORD),
    await logIn(app, '192.0.2.1', '/api/token')
  ]
  t.strictSame(
    counted.map(({ statusCode }) => statusCode),
    [401, 401, 200, 401],
    'a correct password is not counted'
  )

  for (const url of ['/api/token/', '/api/token']) {
    const answer = await logIn(app, '192.0.2.1', url, PASSWORD)

    t.equal(answer.statusCode, 429)
    t.equal(answer.headers['retry-after'], '60')
    t.equal(answer.body, '{"detail":"Request was throttled. Expected available in 60 seconds."}')
    t.equal(answer.headers['content-type'], 'application/json')
    t.equal(answer.headers.allow, 'POST, OPTIONS')
    t.equal(answer.headers['cache-control'], 'no-store')
    t.notOk('www-authenticate' in answer.headers)
  }
})

t.test('a correct password that is checked for longer than the period gives back no later attempt', async (t) => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const throttle = await createLoginThrottle('1/second')
  const request = () => ({ ip: '192.0.2.1', method: 'POST', routeOptions: { config: {} } }) as FastifyRequest
  const slow = request()
  await throttle.take(slow)
  now += 1000
  await throttle.take(request())
  throttle.giveBack(slow)
  await t.rejects(throttle.take(request()), Throttled)
})

t.test('concurrent logins cannot exceed the limit', async (t) => {
  const app = await build(t, { loginRate: '5/hour' })
  const answers = await Promise.all(Array.from({ length: 25 }, () => logIn(app)))
  const statuses = answers.map(({ statusCode }) => statusCode)
  t.equal(statuses.filter((status) => status === 401).length, 5)
  t.equal(statuses.filter((status) => status === 429).length, 20)
})

t.test('an address is evicted after 50,000 others', async (t) => {
  const throttle = await createThrottle(['1/day'])
  const from = (ip: string) => throttle({ ip, routeOptions: { config: {} } } as FastifyRequest)
  const come = async (first: number, last: number) => {
    for (let n = first; n < last; n++) await from(`10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`)
  }
  await from('192.0.2.1')
  await come(0, 49_999)
  await t.rejects(from('192.0.2.1'), Throttled)
  await come(50_000, 100_000)
  await t.resolves(from('192.0.2.1'), 'evicted')
})

t.test('each IPv4 address and each IPv6 /64 has a limit of its own', async (t) => {
  const app = await build(t, { loginRate: '1/day' })
  const sameOrNot: [first: string, second: string, isSame: boolean][] = [
    ['192.0.2.1', '192.0.2.2', false],
    ['192.0.2.3', '::ffff:192.0.2.3', true],
    ['2001:db8:1:1::1', '2001:db8:1:1:ffff::2', true],
    ['2001:db8:2:1::1', '2001:db8:2:2::1', false]
  ]
  for (const [first, second, isSame] of sameOrNot) {
    t.equal((await logIn(app, first)).statusCode, 401, first)
    t.equal((await logIn(app, second)).statusCode, isSame ? 429 : 401, second)
  }
})

t.test('a forged X-Forwarded-For does not change the address', async (t) => {
  const app = await build(t, { loginRate: '1/day' })
  const statuses = []
  for (const forged of ['10.0.0.1', '10.0.0.2', '10.0.0.3']) {
    const headers = { 'x-forwarded-for': forged, 'x-real-ip': forged, forwarded: `for=${forged}` }
    statuses.push((await app.inject({ method: 'POST', url: '/api/token/', payload: {}, headers })).statusCode)
  }
  t.strictSame(statuses, [400, 429, 429])
})

t.test('only logins are limited', async (t) => {
  const app = await build(t, { loginRate: '1/day' })
  const alice = await addUser(app)
  let { refresh } = await obtainPair(app, alice)
  for (let round = 0; round < 5; round++) {
    const answer = await refreshWith(app, refresh)
    t.equal(answer.statusCode, 200)
    refresh = answer.json().refresh
  }
  for (const url of ['/api/token/verify/', '/api/token/blacklist/']) {
    t.equal((await app.inject({ method: 'POST', url, payload: { token: refresh, refresh } })).statusCode, 200)
  }
  t.equal((await app.inject('/api/protected/')).statusCode, 401)
})

t.test(
  'requests that check no password are not counted, so that links and images cannot use up the limit',
  async (t) => {
    const app = await build(t, { loginRate: '1/day' })
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE'] as const) {
      const { statusCode } = await app.inject({ method, url: '/api/token/' })
      t.equal(statusCode, method === 'OPTIONS' ? 200 : 405, method)
    }
    t.equal((await app.inject('/api/session/')).statusCode, 200)
    t.equal((await logIn(app, '127.0.0.1')).statusCode, 401)
    t.equal((await logIn(app, '127.0.0.1')).statusCode, 429)
  }
)

t.test('an address can log in again after the period', async (t) => {
  const app = await build(t, { loginRate: '1/second' })
  t.equal((await logIn(app)).statusCode, 401)
  const refused = await logIn(app)
  t.equal(refused.headers['retry-after'], '1')
  t.equal(refused.json().detail, 'Request was throttled. Expected available in 1 second.')
  await sleep(1050)
  t.equal((await logIn(app)).statusCode, 401)
})

t.test('the first letter of the period decides, as in DRF', async (t) => {
  const seconds: [rate: string, retryAfter: string][] = [
    ['1/min', '60'],
    ['1/h', '3600'],
    ['1/days', '86400']
  ]
  for (const [loginRate, retryAfter] of seconds) {
    const app = await build(t, { loginRate })
    await logIn(app)
    t.equal((await logIn(app)).headers['retry-after'], retryAfter, loginRate)
  }
})

t.test('with loginRate "off" logins are not limited', async (t) => {
  const app = await build(t, { loginRate: 'off' })
  const answers = await Promise.all(Array.from({ length: 50 }, () => logIn(app)))
  t.ok(answers.every(({ statusCode }) => statusCode === 401))
})

t.test('a rate limit of the host and the limit of logins are counted independently', async (t) => {
  const { default: rateLimit } = await import('@fastify/rate-limit')
  const app = await build(t, { loginRate: '3/minute' }, async (app) => {
    await app.register(rateLimit, { max: 2, timeWindow: '1 minute' })
    app.get('/theirs/', async () => ({}))
  })
  for (const status of [200, 200, 429]) t.equal((await app.inject('/theirs/')).statusCode, status)
  for (const status of [401, 401, 401, 429]) t.equal((await logIn(app, '127.0.0.1')).statusCode, status)
})

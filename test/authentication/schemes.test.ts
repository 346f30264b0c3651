/** Basic and token authentication, DRF's auth tokens, and throttles by caller, on routes of the host. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { anonRateThrottle, authenticateWith, errorHandler, isAuthenticated, userRateThrottle } from '../../src/index.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../support/journeys.ts'

const basic = (username: string, password: string, encoding: 'utf8' | 'latin1' = 'utf8') => ({
  authorization: `Basic ${Buffer.from(`${username}:${password}`, encoding).toString('base64')}`
})
const token = (key: string) => ({ authorization: `Token ${key}` })

function routes(app: FastifyInstance): void {
  app.setErrorHandler(errorHandler)
  const who = async ({ user, auth }: { user: { id: unknown } | null; auth: unknown }) => ({
    id: user?.id ?? null,
    auth
  })
  app.get('/basic/', { preHandler: authenticateWith(['basic'], isAuthenticated) }, who)
  app.get('/token/', { preHandler: authenticateWith(['token'], isAuthenticated) }, who)
  app.get('/any/', { preHandler: isAuthenticated }, who)
  app.get('/users/', { preHandler: [isAuthenticated, userRateThrottle('2/minute')] }, who)
  const shared = anonRateThrottle('2/minute')
  app.get('/anonymous/', { preHandler: shared }, who)
  app.get('/anonymous/too/', { preHandler: shared }, who)
}

onEachDatabase(t, (t, { build }) => {
  const ask = (app: FastifyInstance, url: string, headers = {}, remoteAddress = '192.0.2.1') =>
    app.inject({ url, headers, remoteAddress })

  t.test('Basic credentials are accepted in UTF-8 and Latin-1, and with colons in the password', async (t) => {
    const app = await build(t, {}, routes)
    const { id } = await addUser(app, { password: 'a:b:ü' })

    for (const encoding of ['utf8', 'latin1'] as const) {
      const answer = await ask(app, '/basic/', basic('alice', 'a:b:ü', encoding))
      t.strictSame([answer.statusCode, answer.json()], [200, { id, auth: null }], encoding)
    }
    t.equal((await ask(app, '/any/', basic('alice', 'a:b:ü'))).statusCode, 401, 'only with this scheme')
  })

  t.test('invalid Basic credentials return 401 with the messages of DRF', async (t) => {
    const app = await build(t, {}, routes)
    await addUser(app)
    await addUser(app, { username: 'ina', isActive: false })
    const malformed = 'Invalid basic header. Credentials not correctly base64 encoded.'
    const refusals: [header: string, detail: string][] = [
      ['Basic', 'Invalid basic header. No credentials provided.'],
      ['Basic a b', 'Invalid basic header. Credentials string should not contain spaces.'],
      ['Basic !!!!', malformed],
      ['Basic YWxpY2U', malformed],
      [`Basic ${Buffer.from('no colon').toString('base64')}`, malformed],
      ['Basic', 'Invalid basic header. No credentials provided.'],
      [basic('alice', 'wrong').authorization, 'Invalid username/password.'],
      [basic('nobody', PASSWORD).authorization, 'Invalid username/password.'],
      [basic('ina', PASSWORD).authorization, 'Invalid username/password.'],
      [basic('a\0', PASSWORD).authorization, 'Invalid username/password.'],
      [basic('alice', 'x'.repeat(5000)).authorization, 'Invalid username/password.'],
      ['Bearer x', 'Authentication credentials were not provided.']
    ]
    for (const [authorization, detail] of refusals) {
      const answer = await ask(app, '/basic/', { authorization })
      t.strictSame([answer.statusCode, answer.json()], [401, { detail }], authorization.slice(0, 40))
      t.equal(answer.headers['www-authenticate'], 'Basic realm="api"')
    }
  })

  t.test('after too many failed Basic logins an address is rejected (429) even with valid credentials', async (t) => {
    const app = await build(t, { loginRate: '3/minute' }, routes)
    await addUser(app)
    for (let count = 0; count < 5; count++)
      t.equal((await ask(app, '/basic/', basic('alice', PASSWORD))).statusCode, 200)

    const guesses = []
    for (let count = 0; count < 5; count++) guesses.push((await ask(app, '/basic/', basic('alice', 'no'))).statusCode)

    t.strictSame(guesses, [401, 401, 401, 429, 429])
    const right = await ask(app, '/basic/', basic('alice', PASSWORD))
    t.equal(right.statusCode, 429)
    t.match(right.headers['retry-after'], /^\d+$/)
    t.equal((await ask(app, '/basic/', basic('alice', PASSWORD), '192.0.2.2')).statusCode, 200, 'another address')
    for (let count = 0; count < 4; count++) await ask(app, '/basic/', basic('alice', 'no'), '2001:db8:1:2::1')
    t.equal((await ask(app, '/basic/', basic('alice', PASSWORD), '2001:db8:1:2:ffff::9')).statusCode, 429, 'same /64')
    t.equal((await ask(app, '/basic/', basic('alice', PASSWORD), '2001:db8:1:3::1')).statusCode, 200)
  })

  t.test('an auth token is the same for each login, authenticates requests, and ends with its row', async (t) => {
    const app = await build(t, {}, routes)
    const { id } = await addUser(app)
    const payload = { username: ' alice ', password: PASSWORD }
    const obtain = () => app.inject({ method: 'POST', url: '/api/api-token-auth/', payload })
    const [first, ...others] = await Promise.all([obtain(), obtain(), obtain()])
    const { token: key } = first?.json() ?? {}

    t.match(key, /^[0-9a-f]{40}$/)
    for (const other of others) t.equal(other.json().token, key)
    t.notOk(first?.headers.vary)
    t.strictSame((await ask(app, '/token/', token(key))).json(), { id, auth: key })
    t.equal((await ask(app, '/token/', { authorization: `tOkEn ${key}` })).statusCode, 200)
    await app.auth.authTokens.delete(id)
    t.strictSame((await ask(app, '/token/', token(key))).json(), { detail: 'Invalid token.' })
  })

  t.test('invalid auth tokens (401) and logins (400) return the messages of DRF', async (t) => {
    const app = await build(t, {}, routes)
    const ina = await addUser(app, { username: 'ina', isActive: false })
    await app.auth.database.authToken.create({ data: { key: 'ina', userId: ina.id, created: new Date() } })
    const refusals: [header: string, detail: string][] = [
      ['Token', 'Invalid token header. No credentials provided.'],
      ['Token a b', 'Invalid token header. Token string should not contain spaces.'],
      ['Token \xff', 'Invalid token header. Token string should not contain invalid characters.'],
      ['Token x', 'Invalid token.'],
      [`Token ${'x'.repeat(5000)}`, 'Invalid token.'],
      ['Token ina', 'User inactive or deleted.']
    ]
    for (const [authorization, detail] of refusals) {
      const answer = await ask(app, '/token/', { authorization })
      t.strictSame([answer.statusCode, answer.json()], [401, { detail }], authorization.slice(0, 20))
      t.equal(answer.headers['www-authenticate'], 'Token')
    }
    const login = async (payload: object) => {
      const answer = await app.inject({ method: 'POST', url: '/api/api-token-auth/', payload })
      return [answer.statusCode, answer.json()]
    }
    const unable = [400, { non_field_errors: ['Unable to log in with provided credentials.'] }]
    t.strictSame(await login({ username: 'ina', password: PASSWORD }), unable)
    t.strictSame(await login({ username: 'nobody', password: PASSWORD }), unable)
    t.strictSame(await login({ username: { contains: '' } }), [
      400,
      { username: ['Not a valid string.'], password: ['This field is required.'] }
    ])
  })

  t.test('authenticationSchemes sets the schemes of all routes, and the first one sets the challenge', async (t) => {
    const app = await build(t, { authenticationSchemes: ['token', 'jwt', 'basic'] }, routes)
    const { id } = await addUser(app)
    const key = await app.auth.authTokens.obtain(id)
    const { access } = await obtainPair(app)

    for (const headers of [token(key), bearer(access), basic('alice', PASSWORD)]) {
      t.equal((await ask(app, '/any/', headers)).statusCode, 200)
    }
    t.equal((await ask(app, '/any/', basic('alice', 'no'))).headers['www-authenticate'], 'Token')
  })

  t.test('userRateThrottle limits requests by user, and anonRateThrottle anonymous ones by address', async (t) => {
    const app = await build(t, {}, routes)
    await addUser(app)
    await addUser(app, { username: 'bob' })
    const [alice, bob] = [
      bearer((await obtainPair(app)).access),
      bearer((await obtainPair(app, { username: 'bob', password: PASSWORD })).access)
    ]
    const statuses = async (requests: Parameters<typeof ask>[]) => {
      const found = []
      for (const request of requests) found.push((await ask(...request)).statusCode)
      return found
    }

    const users = await statuses([1, 2, 3].map((count) => [app, '/users/', alice, `192.0.2.${count}`]))
    t.strictSame(users, [200, 200, 429])
    t.strictSame(await statuses([[app, '/users/', bob]]), [200])
    t.strictSame(await statuses([[app, '/users/']]), [401], 'permissions are checked first')
    const anonymous = await statuses([
      [app, '/anonymous/'],
      [app, '/anonymous/too/'],
      [app, '/anonymous/'],
      [app, '/anonymous/', {}, '192.0.2.9'],
      [app, '/anonymous/', bob]
    ])
    t.strictSame(anonymous, [200, 200, 429, 200, 200], 'routes share the limit, and users are exempt')
  })
})

t.test("throttles have DRF's sliding window, count with each rate, and report the longest wait", async (t) => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const { build } = worldOf('sqlite')
  const app = await build(t, {}, (app) => {
    app.get('/one/', { preHandler: anonRateThrottle('3/minute') }, async () => '')
    app.get('/two/', { preHandler: anonRateThrottle('3/second', '6/minute') }, async () => '')
  })
  const statusesAt = async (url: string, seconds: number[]) => {
    const found = []
    for (const second of seconds) {
      now = 1000 + second * 1000
      const { statusCode, headers } = await app.inject(url)
      found.push(statusCode === 429 ? `429 ${headers['retry-after']}` : statusCode)
    }
    return found
  }
  t.strictSame(await statusesAt('/one/', [0, 50, 50, 61, 61, 61]), [200, 200, 200, 200, '429 49', '429 49'])
  t.strictSame(
    await statusesAt('/two/', [0, 0, 0, 0, 1, 1, 1, 1]),
    [200, 200, 200, '429 1', 200, 200, '429 59', '429 59'],
    'the second rate has counted the request that the first one rejected'
  )
})

t.test('a throttle with an invalid rate throws', async (t) => {
  for (const rate of ['', '5', '0/minute', '5/fortnight', 'off'])
    t.throws(() => anonRateThrottle(rate), /must be a rate/)
})

/** A client's login session: refreshes, failures of the network, logout and concurrent calls. */
import t from 'tap'
import { type ClientStorage, NetworkError, SignedOutError } from '../../src/client/client.ts'
import { claimsOf } from '../support/tokens.ts'
import { cut, hold, lose, refuse } from './proxy.ts'
import { clock, LOGOUT, nextChange, REFRESH, shelf, sidIn, slowShelf, spoil, stage } from './stage.ts'

t.test('access tokens are refreshed before they expire, also with a wrong clock', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  for (const wrongBy of [0, 3600, -3600]) {
    const { now, forward } = clock(wrongBy)
    const client = await clientOf({ now })
    const { length } = proxy.seen(REFRESH)
    const ask = async () => (await client.fetch('/api/protected/')).status

    t.equal(await ask(), 200)
    const first = await client.getAccessToken()
    forward(265)
    t.equal(await client.getAccessToken(), first)
    t.equal(proxy.seen(REFRESH).length, length, 'no refresh 35 seconds before')
    forward(10)
    t.equal(await ask(), 200)
    t.equal(proxy.seen(REFRESH).length, length + 1)
    t.not(await client.getAccessToken(), first)
    forward(600)
    t.equal(await ask(), 200)
    t.equal(proxy.seen(REFRESH).length, length + 2)
  }
})

t.test('short-lived access tokens are not refreshed for every call, and refreshAhead sets the time', async (t) => {
  const { client: clientOf, proxy } = await stage(t, { accessTokenLifetime: 20 })
  const { now, forward } = clock()
  const client = await clientOf({ now })

  for (const [seconds, refreshes] of [
    [0, 0],
    [8, 0],
    [3, 1],
    [8, 1],
    [3, 2]
  ] as const) {
    forward(seconds)
    await client.getAccessToken()
    t.equal(proxy.seen(REFRESH).length, refreshes)
  }
  const eager = await clientOf({ now, refreshAhead: 1 })
  forward(18)
  await eager.getAccessToken()
  t.equal(proxy.seen(REFRESH).length, 2)
  forward(2)
  await eager.getAccessToken()
  t.equal(proxy.seen(REFRESH).length, 3)
})

t.test('access tokens without a readable exp are used until they are rejected', async (t) => {
  const { client: clientOf, proxy, alice } = await stage(t)
  const { now, forward } = clock()
  const client = await clientOf({ now }, 'not yet')

  for (const access of ['opaque', 'a.b.c', `a.${btoa('{"exp":1}')}.c`, `a.${btoa('null')}.c`]) {
    proxy.upon('POST /api/token/', refuse(200, JSON.stringify({ access, refresh: 'x' })))
    await client.signIn(alice)
    forward(1e6)
    t.equal(await client.getAccessToken(), access)
  }
})

t.test('twenty concurrent calls with an expired token cause one refresh and all succeed', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  for (const storage of [undefined, slowShelf()]) {
    const { now, forward } = clock()
    const client = await clientOf({ now, ...(storage && { storage }) })
    const { length } = proxy.seen(REFRESH)
    const twenty = () => Promise.all(Array.from({ length: 20 }, () => client.fetch('/api/protected/')))

    forward(600)
    t.ok((await twenty()).every(({ ok }) => ok))
    t.equal(proxy.seen(REFRESH).length, length + 1, 'before expiry')
    if (storage) spoil(storage)
    t.ok((await twenty()).every(({ ok }) => ok))
    t.equal(proxy.seen(REFRESH).length, length + (storage ? 2 : 1), 'after twenty 401 responses')
  }
})

t.test('after a lost response to a refresh the next call succeeds', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const { now, forward } = clock()
  const client = await clientOf({ now })
  for (let rounds = 0; rounds < 3; rounds++) {
    forward(600)
    proxy.upon(REFRESH, lose)
    await t.rejects(client.fetch('/api/protected/'), { name: 'NetworkError', status: null, retryable: true })
    t.equal((await client.fetch('/api/protected/')).status, 200)
  }
})

t.test('failed refreshes throw NetworkError with retryable and keep the session', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const { now, forward } = clock()
  const reasons: string[] = []
  const client = await clientOf({ now, onSignOut: (reason) => reasons.push(reason) })
  forward(600)
  const answers: [status: number, body: string, retryable: boolean][] = [
    ...([408, 429, 500, 502, 503, 504] as const).map((status) => [status, '{"detail":"x"}', true] as never),
    [200, '<html>Sign in to the hotel</html>', true],
    [200, '{}', true],
    [401, '<html>A proxy asks who you are</html>', false],
    [401, '{"message":"Unauthorized"}', false],
    [401, '{}', false],
    [401, '{"detail":{"msg":"Unauthorized"}}', false],
    [400, '{"message":["Bad"],"error":"Bad Request"}', false],
    [400, '{"errors":["Bad request"]}', false],
    [400, '{"errors":[{"title":"Bad request"}]}', false],
    [400, '{"refresh":[]}', false],
    [400, '', false],
    [403, '{"detail":"Not from there."}', false],
    [404, '{"detail":"Not found."}', false]
  ]

  for (const [status, body, retryable] of answers) {
    proxy.upon(REFRESH, refuse(status, body, { 'retry-after': '5' }))
    await t.rejects(client.fetch('/api/protected/'), { name: 'NetworkError', status, retryable, retryAfter: 5 }, body)
  }
  const problem = { 'content-type': 'application/problem+json' }
  proxy.upon(REFRESH, refuse(401, '{"title":"Unauthorized","detail":"No valid credentials."}', problem))
  await t.rejects(client.fetch('/api/protected/'), { name: 'NetworkError', status: 401 }, 'RFC 9457')
  proxy.upon(REFRESH, cut)
  await t.rejects(client.getAccessToken(), NetworkError)
  const { handler, release } = hold()
  proxy.upon(REFRESH, handler)
  const patient = t.intercept(globalThis, 'setTimeout', { value: hurried(globalThis.setTimeout) })
  await t.rejects(client.fetch('/api/protected/'), { name: 'NetworkError', status: null, retryable: true })
  patient.restore()
  release()

  t.equal(await client.isSignedIn(), true)
  t.strictSame(reasons, [])
  t.equal((await client.fetch('/api/protected/')).status, 200)
})

/** Replaces the timeout of 15 seconds by one of 20 milliseconds. */
const hurried = (wait: typeof setTimeout) =>
  ((work: () => void, milliseconds = 0) => wait(work, milliseconds === 15_000 ? 20 : milliseconds)) as typeof setTimeout

t.test('if a refresh fails the access token is used until it expires', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const { now, forward } = clock()
  const client = await clientOf({ now })
  const first = await client.getAccessToken()
  proxy.upon(REFRESH, refuse(503), 'always')

  forward(280)
  t.equal(await client.getAccessToken(), first)
  t.equal((await client.fetch('/api/protected/')).status, 200)
  t.equal(proxy.seen(REFRESH).length, 2)
  forward(30)
  await t.rejects(client.fetch('/api/protected/'), NetworkError)
  proxy.mend()
  t.equal((await client.fetch('/api/protected/')).status, 200)
})

t.test('a revoked session rejects all calls and calls onSignOut once', async (t) => {
  const { client: clientOf, proxy, app, alice } = await stage(t)
  const storage = shelf()
  const reasons: string[] = []
  const client = await clientOf({ storage, onSignOut: (reason) => reasons.push(reason) })
  await app.auth.sessions.end(sidIn(storage), 'logout')

  const calls = await Promise.allSettled(Array.from({ length: 5 }, () => client.fetch('/api/protected/')))

  t.ok(calls.every((call) => call.status === 'rejected' && call.reason instanceof SignedOutError))
  t.equal(proxy.seen(REFRESH).length, 1)
  t.strictSame(reasons, ['ended'])
  t.equal(storage.values.size, 0)
  t.equal(await client.isSignedIn(), false)
  await client.signIn(alice)
  await app.auth.users.deactivate(1)
  await t.rejects(client.fetch('/api/protected/'), SignedOutError)
  t.strictSame(reasons, ['ended', 'ended'])
})

t.test('a refusal of the refresh by the server ends the session', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  for (const [status, body] of [
    [401, '{"detail":"Token is invalid","code":"token_not_valid"}'],
    [400, '{"detail":"JSON parse error"}'],
    [400, '{"refresh":["This field may not be blank."]}'],
    [400, '{"non_field_errors":["Invalid data."]}']
  ] as const) {
    const { now, forward } = clock()
    const client = await clientOf({ now })
    forward(600)
    proxy.upon(REFRESH, refuse(status, body))
    await t.rejects(client.fetch('/api/protected/'), SignedOutError, body)
    t.equal(await client.isSignedIn(), false)
  }
})

t.test('a logout always ends the session locally, and at the server if it is reachable', async (t) => {
  const { client: clientOf, proxy, app } = await stage(t)
  for (const [handler, isHeard] of [
    [cut, false],
    [lose, false],
    [refuse(503), false],
    [refuse(401, '{"message":"Unauthorized"}'), false],
    [null, true]
  ] as const) {
    const storage = shelf()
    const client = await clientOf({ storage })
    const sid = sidIn(storage)
    if (handler) proxy.upon(LOGOUT, handler)
    t.equal(await client.signOut(), isHeard)
    t.equal(storage.values.size, 0)
    await t.rejects(client.fetch('/api/protected/'), SignedOutError)
    if (isHeard) t.equal(await app.auth.sessions.get(1, sid), null)
  }
  const storage = shelf()
  const client = await clientOf({ storage })
  await app.auth.sessions.end(sidIn(storage), 'logout')
  t.equal(await client.signOut(), true, 'already ended')
})

t.test('a logout during a refresh is final, and revokes the new refresh token', async (t) => {
  for (const settings of [{}, { refreshStore: 'blacklist' as const }]) {
    const { client: clientOf, proxy, app } = await stage(t, settings)
    for (const storage of [shelf(), slowShelf()]) {
      const { now, forward } = clock()
      const reasons: string[] = []
      const client = await clientOf({ storage, now, onSignOut: (reason) => reasons.push(reason) })
      const { handler, arrived, release } = hold()
      proxy.upon(REFRESH, handler)
      forward(600)
      const call = client.fetch('/api/protected/').catch((error: unknown) => error)
      await arrived
      const change = nextChange(client)
      const signingOut = client.signOut()
      t.equal(await change, false)
      t.equal(storage.values.size, 0, 'before the response')
      release()

      t.ok((await call) instanceof SignedOutError)
      t.equal(await signingOut, true)
      t.equal(storage.values.size, 0)
      t.strictSame(reasons, ['here'])
      const latest = JSON.parse(proxy.seen(LOGOUT).at(-1)?.body as string).refresh
      await t.rejects(app.auth.tokens.refresh(latest), { message: 'Token is blacklisted' })
      t.not(latest, JSON.parse(proxy.seen(REFRESH).at(-1)?.body as string).refresh, 'the new token is revoked')
    }
  }
})

t.test('a logout during a login ends the new session', async (t) => {
  const { client: clientOf, proxy, app, alice } = await stage(t)
  const client = await clientOf({}, 'not yet')
  const { handler, arrived, release } = hold()
  proxy.upon('POST /api/token/', handler)
  const login = client.signIn(alice).catch((error: unknown) => error)
  await arrived
  t.equal(await client.signOut(), true)
  release()

  t.ok((await login) instanceof SignedOutError)
  t.equal(await client.isSignedIn(), false)
  t.strictSame(await app.auth.sessions.list(1), [])
})

const REFUSAL = '{"detail":"Token is blacklisted","code":"token_not_valid"}'

t.test('a refresh does not replace a concurrent login of another user, also without Web Locks', async (t) => {
  t.intercept(globalThis, 'navigator' as never, { value: {} as never })
  const { client: clientOf, proxy, app } = await stage(t)
  const { id } = await app.auth.users.createUser({ username: 'bob', password: 's3cret-Pass!' })
  const bob = { username: 'bob', password: 's3cret-Pass!' }
  const storage = shelf()
  const { now, forward } = clock()
  const [alices, other] = [await clientOf({ storage, now }), await clientOf({ storage, now }, 'not yet')]
  for (const isRefused of [false, true]) {
    const { handler, arrived, release } = hold()
    proxy.upon(
      REFRESH,
      isRefused
        ? (_pass, response) => handler(async () => () => response.writeHead(401).end(REFUSAL), response)
        : handler
    )
    forward(600)
    const call = alices.getAccessToken()
    await arrived
    await other.signIn(bob)
    release()
    t.equal(claimsOf(await call).user_id, String(id))
    t.equal(claimsOf(await alices.getAccessToken()).user_id, String(id))
  }
})

t.test('without rotation the refresh token is kept', async (t) => {
  const { client: clientOf, proxy } = await stage(t, { rotateRefreshTokens: false })
  const { now, forward } = clock()
  const client = await clientOf({ now })
  for (let rounds = 1; rounds < 4; rounds++) {
    forward(600)
    t.equal((await client.fetch('/api/protected/')).status, 200)
    t.equal(proxy.seen(REFRESH).length, rounds)
  }
  t.equal(new Set(proxy.seen(REFRESH).map(({ body }) => body)).size, 1)
})

t.test('invalid content of the storage counts as signed out', async (t) => {
  const { client: clientOf } = await stage(t)
  for (const text of ['', 'x', '{}', 'null', '[]', '"x"', '{"access":1}']) {
    const storage: ClientStorage = { get: () => text, set: () => undefined, remove: () => undefined }
    const client = await clientOf({ storage }, 'not yet')
    t.equal(await client.isSignedIn(), false, text)
  }
})

import t from 'tap'
import { isAuthenticated, type RequestInfo, TokenUser } from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair, refreshWith } from '../support/journeys.ts'
import { claimsOf } from '../support/tokens.ts'

/** Returns a `claims` option whose plan changes with each call, and whose path is the URL of the request. */
function plans() {
  let count = 0
  return (user: { username: string }, request: RequestInfo | null) => ({
    plan: `${user.username}-${++count}`,
    path: request?.url
  })
}

onEachDatabase(t, (t, { build }) => {
  const pick = (token: string) => {
    const { plan, path } = claimsOf(token)
    return { plan, path }
  }
  const first = { plan: 'alice-1', path: '/api/token/' }
  const second = { plan: 'alice-2', path: '/api/token/refresh/' }
  const none = { plan: undefined, path: undefined }
  const table = [
    { options: {}, pair: [first, first], after: [first, first] },
    { options: { claimsIn: 'access' as const }, pair: [none, first], after: [none, second] },
    { options: { claimsIn: 'refresh' as const }, pair: [first, none], after: [first, none] },
    { options: { freshClaims: true }, pair: [first, first], after: [second, second] },
    { options: { freshClaims: true, claimsIn: 'refresh' as const }, pair: [first, none], after: [second, none] },
    { options: { freshClaims: true, claimsIn: 'access' as const }, pair: [none, first], after: [none, second] }
  ]
  for (const { options, pair, after } of table) {
    t.test(`custom claims are in the tokens, and as fresh, as ${JSON.stringify(options)} requires`, async (t) => {
      const app = await build(t, { claims: plans(), ...options })
      await addUser(app)

      const obtained = await obtainPair(app)
      const refreshed = (await refreshWith(app, obtained.refresh)).json()

      t.strictSame([pick(obtained.refresh), pick(obtained.access)], pair)
      t.strictSame([pick(refreshed.refresh), pick(refreshed.access)], after)
      t.equal(claimsOf(refreshed.access).user_id, '1')
    })
  }

  t.test('custom claims that set a reserved claim return 500', async (t) => {
    const app = await build(t, { claims: () => ({ exp: 4_102_444_800 }) })
    const credentials = await addUser(app)

    const answer = await app.inject({ method: 'POST', url: '/api/token/', payload: credentials })

    t.equal(answer.statusCode, 500)
    t.strictSame(answer.json(), { detail: 'A server error occurred.' })
  })

  t.test('with freshClaims refreshing a sliding token recomputes the custom claims', async (t) => {
    const app = await build(t, { claims: plans(), freshClaims: true })
    const credentials = await addUser(app)

    const { token } = await app.auth.tokens.obtainSliding(credentials)
    const renewed = await app.auth.tokens.refreshSliding(token)

    t.equal(pick(token).plan, 'alice-1')
    t.equal(pick(renewed.token).plan, 'alice-2')
  })

  t.test('users rejected by userAuthenticationRule can neither obtain nor refresh tokens', async (t) => {
    let isOpen = true
    const app = await build(t, { userAuthenticationRule: async ({ username }) => isOpen && username === 'alice' })
    await addUser(app)
    const bob = await addUser(app, { username: 'bob' })
    const { refresh } = await obtainPair(app)
    isOpen = false

    const refused = await refreshWith(app, refresh)

    t.equal(refused.statusCode, 401)
    t.strictSame(refused.json(), { detail: 'No active account found for the given token.' })
    isOpen = true
    await t.rejects(obtainPair(app, bob), /No active account found with the given credentials/)
  })

  t.test('onLoginFailed receives masked credentials; onLoginSuccess replaces the last_login update', async (t) => {
    const told: unknown[] = []
    const app = await build(t, {
      updateLastLogin: true,
      onLoginSuccess: (user, request) => void told.push(user.username, 'password' in user, request?.url),
      onLoginFailed: (credentials, request) => void told.push(credentials, request?.url)
    })
    const credentials = await addUser(app)

    await t.rejects(obtainPair(app, { ...credentials, password: 'wrong' }))
    await obtainPair(app)

    const masked = { username: 'alice', password: '********************' }
    t.strictSame(told, [masked, '/api/token/', 'alice', false, '/api/token/'])
    t.equal((await app.auth.users.get('username', 'alice'))?.lastLogin, null)
  })

  t.test('onLoginFailed receives the credentials under the name of loginField', async (t) => {
    const told: unknown[] = []
    const app = await build(t, { loginField: 'email', onLoginFailed: (credentials) => void told.push(credentials) })
    const payload = { email: 'nobody@example.com', password: 'wrong' }
    t.equal((await app.inject({ method: 'POST', url: '/api/token/', payload })).statusCode, 401)
    t.strictSame(told, [{ email: 'nobody@example.com', password: '********************' }])
  })

  t.test('jsonEncoder encodes the claims of new tokens', async (t) => {
    const app = await build(t, { jsonEncoder: (claims) => JSON.stringify({ ...claims, seal: 'ours' }) })
    await addUser(app)

    t.equal(claimsOf((await obtainPair(app)).access).seal, 'ours')
  })

  t.test('tokenUserClass sets the class of request.user', async (t) => {
    class Member extends TokenUser {
      get isGold(): boolean {
        return this.claims.plan === 'gold'
      }
    }
    const app = await build(t, { tokenUserClass: Member, claims: () => ({ plan: 'gold' }) }, (app) => {
      app.get('/member', { preHandler: isAuthenticated }, async ({ user }) => ({ gold: (user as Member).isGold }))
    })
    await addUser(app)

    const answer = await app.inject({ url: '/member', headers: bearer((await obtainPair(app)).access) })

    t.strictSame(answer.json(), { gold: true })
  })

  t.test('without tokenTypeClaim and jtiClaim tokens carry and need neither claim', async (t) => {
    const app = await build(t, { tokenTypeClaim: 'none', jtiClaim: null, refreshStore: 'none' })
    await addUser(app)

    const { access, refresh } = await obtainPair(app)
    const refreshed = await refreshWith(app, refresh)
    const opened = await app.inject({ url: '/api/protected/', headers: bearer(access) })

    t.strictSame(Object.keys(claimsOf(access)), ['exp', 'iat', 'user_id'])
    t.equal(refreshed.statusCode, 200)
    t.equal(opened.statusCode, 200)
  })
})

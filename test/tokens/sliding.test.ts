import t from 'tap'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer } from '../support/journeys.ts'
import { claimsOf, mint, secondsNow } from '../support/tokens.ts'

const SLIDING = { authTokenClasses: ['SlidingToken' as const], stateless: false }

onEachDatabase(t, (t, { buildWithBlacklist: build }) => {
  const obtain = async (app: Awaited<ReturnType<typeof build>>, payload: object) =>
    app.inject({ method: 'POST', url: '/api/token/sliding/', payload })
  const renew = async (app: Awaited<ReturnType<typeof build>>, token: string) =>
    app.inject({ method: 'POST', url: '/api/token/sliding/refresh/', payload: { token } })

  t.test('a sliding token authenticates requests and is refreshed with the same jti and refresh_exp', async (t) => {
    const app = await build(t, { ...SLIDING, slidingTokenLifetime: 60, slidingTokenRefreshLifetime: 600 })
    const credentials = await addUser(app)

    const { token } = (await obtain(app, credentials)).json()
    const opened = await app.inject({ url: '/api/protected/', headers: bearer(token) })
    const renewed = (await renew(app, token)).json().token

    const claims = claimsOf(token)
    t.equal(opened.statusCode, 200)
    t.strictSame(Object.keys(claims), ['token_type', 'exp', 'iat', 'jti', 'refresh_exp', 'user_id'])
    t.equal(Number(claims.exp) - Number(claims.iat), 60)
    t.equal(Number(claims.refresh_exp) - Number(claims.iat), 600)
    t.match(claimsOf(renewed), {
      jti: claims.jti,
      refresh_exp: claims.refresh_exp,
      user_id: '1',
      token_type: 'sliding'
    })
    t.equal(await app.auth.database.outstandingToken.count(), 1)
  })

  t.test('a rejected refresh of a sliding token returns 401 with the reason', async (t) => {
    const app = await build(t, SLIDING)
    await addUser(app)
    const sliding = { token_type: 'sliding', refresh_exp: secondsNow() + 100 }
    const cases: [string, string, number][] = [
      [mint({ claims: { ...sliding, refresh_exp: secondsNow() } }), "Token 'refresh_exp' claim has expired", 401],
      [mint({ claims: { token_type: 'sliding' } }), "Token has no 'refresh_exp' claim", 401],
      [mint({ claims: { ...sliding, refresh_exp: 'soon' } }), 'Token is invalid', 401],
      [mint({ claims: { ...sliding, exp: secondsNow() - 1 } }), 'Token is expired', 401],
      [mint({}), 'Token has wrong type', 401],
      [mint({ claims: { ...sliding, user_id: '7' } }), 'No active account found for the given token.', 401]
    ]

    for (const [token, detail, status] of cases) {
      const answer = await renew(app, token)

      t.equal(answer.statusCode, status, detail)
      t.equal(answer.json().detail, detail)
      t.equal(answer.headers['www-authenticate'], 'Bearer realm="api"')
    }
  })

  t.test('a blacklisted sliding token neither authenticates requests nor can be refreshed', async (t) => {
    const app = await build(t, SLIDING)
    const { token } = (await obtain(app, await addUser(app))).json()
    const { id } = await app.auth.database.outstandingToken.findFirstOrThrow()
    await app.auth.database.blacklistedToken.create({ data: { tokenId: id, blacklistedAt: new Date() } })

    const opened = await app.inject({ url: '/api/protected/', headers: bearer(token) })
    const renewed = await renew(app, token)

    t.equal(opened.statusCode, 401)
    t.equal(opened.json().messages[0].message, 'Token is blacklisted')
    t.strictSame(renewed.json(), { detail: 'Token is blacklisted', code: 'token_not_valid' })
  })

  t.test('wrong credentials return 401 and no sliding token', async (t) => {
    const app = await build(t, SLIDING)
    const { username } = await addUser(app)

    const answer = await obtain(app, { username, password: 'wrong' })

    t.equal(answer.statusCode, 401)
    t.strictSame(answer.json(), { detail: 'No active account found with the given credentials' })
  })
})

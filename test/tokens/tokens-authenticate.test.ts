/** Authenticating requests by the token in the Authorization header. */
import t from 'tap'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { jtiOf, mint } from '../support/tokens.ts'
import { accessOf, bodyOf, refusalOf, tokenError } from './rows.ts'

onEachDatabase(t, (t, { build }) => {
  t.test('a blacklisted sliding token is rejected, an access token with its jti is not', async (t) => {
    const app = await build(t, { authTokenClasses: ['SlidingToken', 'AccessToken'] })
    const token = mint({ claims: { token_type: 'sliding' } })
    await app.auth.database.outstandingToken.create({
      data: { token, jti: String(jtiOf(token)), userId: null, createdAt: new Date(), expiresAt: new Date() }
    })
    t.match(await app.auth.verifier.authenticate(token), { token_type: 'sliding' })
    await app.auth.database.blacklistedToken.create({ data: { tokenId: 1n, blacklistedAt: new Date() } })

    const refusal = await refusalOf(app.auth.verifier.authenticate(token))

    t.match(refusal.body, { messages: [{ message: 'Token is blacklisted' }, { message: 'Token has wrong type' }] })
    t.match(
      await app.auth.verifier.authenticate(accessOf(token)),
      { token_type: 'access' },
      'the access token is valid'
    )
  })
})

t.test('tokens of authTokenClasses are accepted, others return 401 with one message for each class', async (t) => {
  const { build } = worldOf('sqlite')
  const one = (await build(t)).auth.verifier
  const two = (await build(t, { authTokenClasses: ['AccessToken', 'SlidingToken'] })).auth.verifier
  const claims = { token_type: 'access' }
  const cases: [token: string, asAccess: string, asSliding: string][] = [
    ['x', 'Token is invalid', 'Token is invalid'],
    [mint({ claims: { ...claims, exp: 1 } }), 'Token is expired', 'Token is expired'],
    [mint({ claims, omit: ['exp'] }), "Token has no 'exp' claim", "Token has no 'exp' claim"],
    [mint({ claims, omit: ['jti'] }), 'Token has no id', 'Token has no id'],
    [mint({ omit: ['token_type'] }), 'Token has no type', 'Token has no type'],
    [mint(), 'Token has wrong type', 'Token has wrong type']
  ]

  for (const [token, asAccess, asSliding] of cases) {
    const refusals = [await refusalOf(one.authenticate(token)), await refusalOf(two.authenticate(token))]

    const access = { token_class: 'AccessToken', token_type: 'access', message: asAccess }
    const sliding = { token_class: 'SlidingToken', token_type: 'sliding', message: asSliding }
    const body = tokenError('Given token not valid for any token type')
    t.strictSame(refusals.map(bodyOf), [
      { ...body, messages: [access] },
      { ...body, messages: [access, sliding] }
    ])
  }
  t.match(await one.authenticate(mint({ claims })), claims)
  t.match(await two.authenticate(mint({ claims: { token_type: 'sliding' } })), { token_type: 'sliding' })
})

t.test('a database failure is raised as such and not as an invalid token', async (t) => {
  const app = await worldOf('sqlite').build(t, { authTokenClasses: ['SlidingToken'] })
  t.intercept(app.auth.database.blacklistedToken, 'findFirst', {
    value: async () => {
      throw new Error('down')
    }
  })

  await t.rejects(app.auth.verifier.authenticate(mint({ claims: { token_type: 'sliding' } })), /^down$/)
})

/** Refreshing tokens: the new pair, the check of the user, and single use. */
import t from 'tap'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'
import { claimsOf, jtiOf, mint, secondsNow } from '../support/tokens.ts'
import { allowInserts, refuseInserts } from './faults.ts'
import { blacklistedIn, bodyOf, deletingUserAfter, outcomeOf, outstandingIn, refusalOf, tokenError } from './rows.ts'

const NO_ACCOUNT = { detail: 'No active account found for the given token.' }

onEachDatabase(t, (t, { buildWithBlacklist: build }) => {
  t.test('with rotation a refresh token is exchanged once for a new pair', async (t) => {
    const app = await build(t, { refreshTokenLifetime: '1h' })
    const { id } = await addUser(app)
    const own = { jti: 'f1', user_id: String(id), roles: ['a'], exp: secondsNow() + 9, iat: 1, aud: 'x', é: '🔑' }
    const token = mint({ claims: own })

    const pair = await app.auth.tokens.refresh(token)

    const [access, successor] = [claimsOf(pair.access), claimsOf(pair.refresh ?? '')]
    t.strictSame(Object.keys(pair), ['access', 'refresh'])
    t.strictSame(Object.keys(successor), Object.keys(claimsOf(token)), 'claims keep their order')
    t.strictSame(Object.keys(access), ['token_type', 'exp', 'iat', 'jti', 'user_id', 'roles', 'aud', 'é'])
    for (const claims of [access, successor]) t.match(claims, { user_id: String(id), roles: ['a'], aud: 'x', é: '🔑' })
    t.match([access.token_type, successor.token_type], ['access', 'refresh'])
    t.equal(new Set(['f1', access.jti, successor.jti]).size, 3)
    t.match(
      [access, successor].map(({ exp, iat }) => Number(exp) - Number(iat)),
      [300, 3600]
    )
    t.match(await outstandingIn(app), [
      { jti: 'f1', token, userId: id, expiresAt: new Date(own.exp * 1000) },
      { jti: successor.jti, token: pair.refresh, userId: id, expiresAt: new Date(Number(successor.exp) * 1000) }
    ])
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(token))), tokenError('Token is blacklisted'))
    t.match(await app.auth.tokens.refresh(pair.refresh ?? ''), { access: String, refresh: String })
  })

  t.test('without blacklistAfterRotation a rotated token stays valid, and its successors are recorded', async (t) => {
    const app = await build(t, { blacklistAfterRotation: false })
    await addUser(app)
    const { refresh } = await obtainPair(app)

    const first = await app.auth.tokens.refresh(refresh)
    const second = await app.auth.tokens.refresh(refresh)

    const handedOut = [refresh, first.refresh ?? '', second.refresh ?? '']
    t.strictSame(
      (await outstandingIn(app)).map(({ jti }) => jti),
      handedOut.map(jtiOf)
    )
    t.equal(await blacklistedIn(app), 0)
  })

  t.test('without rotation a refresh returns only an access token, and nothing is recorded', async (t) => {
    const app = await build(t, { rotateRefreshTokens: false })
    const { id } = await addUser(app)
    const token = mint({ claims: { user_id: id } })

    const first = await app.auth.tokens.refresh(token)
    const second = await app.auth.tokens.refresh(token)

    t.strictSame(Object.keys(first), ['access'])
    t.equal(claimsOf(first.access).user_id, id, 'an integer user_id stays an integer')
    t.not(jtiOf(first.access), jtiOf(second.access))
    t.strictSame(await outstandingIn(app), [])
  })

  t.test(
    'errors are reported in the order of SimpleJWT: invalid, expired, blacklisted, missing claims, wrong type, no account',
    async (t) => {
      const app = await build(t)
      await addUser(app)
      const ended = mint({ claims: { jti: 'ended' } })
      await app.auth.tokens.blacklist(ended)
      const cases: [string, object][] = [
        ['x', tokenError('Token is invalid')],
        [mint({ claims: { jti: 'ended', exp: 1 } }), tokenError('Token is expired')],
        [mint({ claims: { jti: 'ended', token_type: 'access', user_id: 77 } }), tokenError('Token is blacklisted')],
        [mint({ claims: { jti: 'ended' }, omit: ['exp'] }), tokenError('Token is blacklisted')],
        [mint({ omit: ['exp', 'jti', 'token_type'] }), tokenError("Token has no 'exp' claim")],
        [mint({ omit: ['jti', 'token_type'] }), tokenError('Token has no id')],
        [mint({ omit: ['token_type'], claims: { user_id: 77 } }), tokenError('Token has no type')],
        [mint({ claims: { token_type: 'access', user_id: 77 } }), tokenError('Token has wrong type')],
        [mint({ claims: { token_type: null } }), tokenError('Token has wrong type')],
        [mint({ claims: { user_id: 77 } }), NO_ACCOUNT]
      ]

      for (const [token, body] of cases) {
        const refusal = await refusalOf(app.auth.tokens.refresh(token))

        t.equal(refusal.statusCode, 401)
        t.strictSame(refusal.body, body)
      }
      t.equal((await outstandingIn(app)).length, 1, 'no rejected token is recorded')
    }
  )

  t.test('refreshing for a deleted, malformed or (with checkUserIsActive) inactive user returns 401', async (t) => {
    const app = await build(t)
    const { databaseUrl } = app.auth.settings
    const lenient = await build(t, { checkUserIsActive: false, databaseUrl })
    await addUser(app)
    const ina = await addUser(app, { username: 'ina', isActive: false })
    const gone = await addUser(app, { username: 'gone' })
    const { refresh } = await obtainPair(app, gone)
    await app.auth.users.deleteUser(gone.id)
    const odd = ['abc', '01', '1e0', '1 ', '１', '2147483648', -1, 1.5, true, false, [], [1], {}, { equals: 1 }]
    const ofInactive = mint({ claims: { user_id: ina.id } })
    const tokens = [refresh, ofInactive, ...odd.map((user_id) => mint({ claims: { user_id } }))]

    for (const token of tokens) {
      const refusal = await refusalOf(app.auth.tokens.refresh(token))

      t.equal(refusal.statusCode, 401)
      t.strictSame(refusal.body, NO_ACCOUNT, JSON.stringify(claimsOf(token).user_id))
    }
    t.match(await lenient.auth.tokens.refresh(ofInactive), { refresh: String })
    t.strictSame(bodyOf(await refusalOf(lenient.auth.tokens.refresh(refresh))), NO_ACCOUNT)
  })

  t.test('a token without a user can be refreshed, as in SimpleJWT, and is recorded without a user', async (t) => {
    const app = await build(t)
    const tokens = [mint({ omit: ['user_id'] }), ...[null, '', 0].map((user_id) => mint({ claims: { user_id } }))]

    for (const token of tokens) t.match(await app.auth.tokens.refresh(token), { access: String, refresh: String })

    const rows = await outstandingIn(app)
    t.equal(rows.length, 2 * tokens.length)
    t.ok(rows.every(({ userId }) => userId === null))
  })

  t.test('with checkRevokeToken tokens of an old password are rejected (401) and blacklisted if stored', async (t) => {
    const remembering = await build(t, { checkRevokeToken: true })
    const forgetful = await build(t, { checkRevokeToken: true, refreshStore: 'none' })

    for (const app of [remembering, forgetful]) {
      const alice = await addUser(app)
      const { refresh } = await obtainPair(app)
      const next = await app.auth.tokens.refresh(refresh)
      const bare = mint({ claims: { user_id: alice.id } })
      await app.auth.users.setPassword(alice.id, `${PASSWORD}2`)

      for (const token of [next.refresh ?? '', bare]) {
        const refusals = [
          await refusalOf(app.auth.tokens.refresh(token)),
          await refusalOf(app.auth.tokens.refresh(token))
        ]

        const changed = { detail: "The user's password has been changed." }
        const again = app === remembering ? tokenError('Token is blacklisted') : changed
        t.strictSame(refusals.map(bodyOf), [changed, again])
        t.ok(refusals.every(({ statusCode }) => statusCode === 401))
      }
      t.match(await app.auth.tokens.refresh(mint({ omit: ['user_id'] })), { access: String })
    }
    t.equal(await blacklistedIn(forgetful), 0)
  })

  t.test('of 20 concurrent refreshes exactly one succeeds, also for a token issued elsewhere', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const { refresh } = await obtainPair(app)

    for (const token of [refresh, mint({ claims: { user_id: String(id) } })]) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => refreshWith(app, token)))

      const winners = answers.filter(({ statusCode }) => statusCode === 200)
      const losers = answers.filter(({ statusCode }) => statusCode === 401)
      t.equal(winners.length, 1)
      t.equal(losers.length, 19)
      for (const answer of losers) t.strictSame(answer.json(), tokenError('Token is blacklisted'))
      t.equal((await refreshWith(app, winners[0]?.json().refresh)).statusCode, 200, 'the successor is valid')
    }
    // Each token has three generations, of which the first two are blacklisted.
    t.equal((await outstandingIn(app)).length, 6)
    t.equal(await blacklistedIn(app), 4)
  })

  t.test('a refresh that fails in the database leaves the token valid', async (t) => {
    const app = await build(t)
    await addUser(app)
    const { refresh } = await obtainPair(app)
    const tables = ['token_blacklist_outstandingtoken', 'token_blacklist_blacklistedtoken']

    for (const table of tables) {
      await refuseInserts(app, table)
      const outcomes = await Promise.all(Array.from({ length: 5 }, () => outcomeOf(app.auth.tokens.refresh(refresh))))
      await allowInserts(app, table)

      t.ok(outcomes.every((outcome) => outcome?.message.includes('refused')))
      t.equal((await outstandingIn(app)).length, 1)
      t.equal(await blacklistedIn(app), 0)
    }
    t.equal((await refreshWith(app, refresh)).statusCode, 200)
  })

  t.test('a user deleted during the refresh gets 401, and other users can refresh', async (t) => {
    const app = await build(t)
    await addUser(app)
    const bob = await addUser(app, { username: 'bob' })
    const { refresh } = await obtainPair(app)
    deletingUserAfter(t, app, 'get')

    const answer = await refreshWith(app, refresh)

    t.equal(answer.statusCode, 401)
    t.strictSame(answer.json(), NO_ACCOUNT)
    t.match(await refreshWith(app, (await obtainPair(app, bob)).refresh), { statusCode: 200 })
  })

  t.test('with userIdField "username" tokens identify the user by the username', async (t) => {
    const app = await build(t, { userIdField: 'username', userIdClaim: 'sub' })
    await addUser(app)
    const { refresh } = await obtainPair(app)

    const pair = await app.auth.tokens.refresh(refresh)
    await app.auth.tokens.blacklist(pair.refresh ?? '')

    t.match(
      [pair.access, pair.refresh].map((token) => claimsOf(token ?? '').sub),
      ['alice', 'alice']
    )
    t.equal((await outstandingIn(app)).length, 2)
    for (const sub of ['Alice', 'nobody', 'a\0', '\ud800', 'x'.repeat(200)]) {
      t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(mint({ claims: { sub } })))), NO_ACCOUNT)
    }
  })
})

t.test('the configured audience and issuer are required, and written into new tokens', async (t) => {
  const app = await worldOf('sqlite').buildWithBlacklist(t, { audience: 'us,them', issuer: 'me' })
  await addUser(app)
  const { refresh, access } = await obtainPair(app)

  const pair = await app.auth.tokens.refresh(refresh)

  for (const token of [refresh, access, pair.refresh ?? '', pair.access]) {
    t.match(claimsOf(token), { aud: ['us', 'them'], iss: 'me' })
  }
  for (const claims of [{}, { aud: 'us' }, { iss: 'me' }, { aud: 'you', iss: 'me' }]) {
    const refusal = await refusalOf(app.auth.tokens.refresh(mint({ claims })))
    t.strictSame(refusal.body, tokenError('Token is invalid'))
  }
  t.match(await app.auth.tokens.refresh(mint({ claims: { aud: 'them', iss: 'me' } })), { access: String })
})

t.test('refreshing a token with a claim named __proto__ pollutes no prototype', async (t) => {
  const app = await worldOf('sqlite').buildWithBlacklist(t)
  await addUser(app)
  const claims = JSON.parse('{"__proto__":{"user_id":"77","polluted":true}}')

  const pair = await app.auth.tokens.refresh(mint({ claims }))

  t.equal(({} as { polluted?: boolean }).polluted, undefined)
  t.equal(claimsOf(pair.access).user_id, '1')
})

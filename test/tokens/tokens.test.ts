/** Obtaining, verifying and blacklisting tokens. */
import t from 'tap'
import type { LatchkeyOptions } from '../../src/index.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'
import { claimsOf, headerOf, jtiOf, mint, secondsNow } from '../support/tokens.ts'
import vectors from './jwt-vectors.json' with { type: 'json' }
import { blacklistedIn, bodyOf, deletingUserAfter, outcomeOf, outstandingIn, refusalOf, tokenError } from './rows.ts'

const ALICE = { username: 'alice', password: PASSWORD }

onEachDatabase(t, (t, { buildWithBlacklist: build }) => {
  t.test('valid credentials return a refresh and an access token, and the refresh token is recorded', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const before = secondsNow()

    const pair = await app.auth.tokens.obtainPair(ALICE)

    const [refresh, access] = [claimsOf(pair.refresh), claimsOf(pair.access)]
    t.strictSame(Object.keys(pair), ['refresh', 'access'])
    t.strictSame(headerOf(pair.refresh), { alg: 'HS256', typ: 'JWT' })
    for (const [kind, claims, lifetime] of [['refresh', refresh, 86_400] as const, ['access', access, 300] as const]) {
      t.strictSame(Object.keys(claims), ['token_type', 'exp', 'iat', 'jti', 'user_id'])
      t.match(claims, { token_type: kind, jti: /^[0-9a-f]{32}$/, user_id: String(id) })
      t.ok(Number(claims.iat) >= before && Number(claims.iat) <= secondsNow())
      t.equal(Number(claims.exp) - Number(claims.iat), lifetime)
    }
    t.not(refresh.jti, access.jti)
    const [row, ...others] = await outstandingIn(app)
    t.strictSame(others, [])
    t.match(row, { jti: refresh.jti, token: pair.refresh, userId: id, expiresAt: new Date(Number(refresh.exp) * 1000) })
    t.equal(Math.floor(Number(row?.createdAt) / 1000), refresh.iat)
    t.equal((await app.auth.users.get('id', id))?.lastLogin, null)
  })

  t.test('wrong, unknown, inactive and malformed credentials return the same 401', async (t) => {
    const app = await build(t)
    await addUser(app)
    await addUser(app, { username: 'ina', isActive: false })
    await app.auth.users.createUser({ username: 'locked' })
    const wrong = [
      { ...ALICE, password: 'wrong' },
      { ...ALICE, password: '' },
      { ...ALICE, password: `${PASSWORD}\0` },
      { ...ALICE, username: 'Alice' },
      { ...ALICE, username: 'nobody' },
      { ...ALICE, username: 'ina' },
      { ...ALICE, username: 'locked' },
      { username: 'locked', password: '!' },
      { ...ALICE, username: 'a\0' },
      { ...ALICE, username: '\ud800' },
      { ...ALICE, username: 'x'.repeat(100_000) }
    ]

    for (const credentials of wrong) {
      const refusal = await refusalOf(app.auth.tokens.obtainPair(credentials))

      t.equal(refusal.statusCode, 401)
      t.strictSame(refusal.body, { detail: 'No active account found with the given credentials' })
    }
    t.strictSame(await outstandingIn(app), [])
  })

  t.test('inactive users get tokens only with AllowAllUsersModelBackend and without checkUserIsActive', async (t) => {
    const lenient: LatchkeyOptions = { authenticationBackends: ['AllowAllUsersModelBackend'] }
    const strict = await build(t, lenient)
    const { databaseUrl } = strict.auth.settings
    const open = await build(t, { ...lenient, checkUserIsActive: false, databaseUrl })
    const half = await build(t, { checkUserIsActive: false, databaseUrl })
    const ina = await addUser(strict, { username: 'ina', isActive: false })

    t.equal((await refusalOf(strict.auth.tokens.obtainPair(ina))).statusCode, 401)
    t.equal((await refusalOf(half.auth.tokens.obtainPair(ina))).statusCode, 401)
    t.equal(claimsOf((await open.auth.tokens.obtainPair(ina)).access).user_id, String(ina.id))
  })

  t.test('claim names, lifetimes, algorithm and user id of new tokens follow the settings', async (t) => {
    const names = { tokenTypeClaim: 'kind', jtiClaim: 'tid', userIdClaim: 'sub', revokeTokenClaim: 'mark' }
    const lives = { accessTokenLifetime: '1m', refreshTokenLifetime: '1h', algorithm: 'HS512' }
    const app = await build(t, { ...names, ...lives, userIdField: 'username', checkRevokeToken: true, issuer: 'me' })
    const { id } = await addUser(app)
    const [stored] = vectors.revoke_claim
    await app.auth.database.user.update({ where: { id }, data: { password: stored?.password as string } })
    t.intercept(app.auth.users, 'authenticate', { value: () => app.auth.users.get('id', id) })

    const pair = await app.auth.tokens.obtainPair(ALICE)

    for (const [kind, token, lifetime] of [
      ['refresh', pair.refresh, 3600] as const,
      ['access', pair.access, 60] as const
    ]) {
      const claims = claimsOf(token)
      t.strictSame(Object.keys(claims), ['kind', 'exp', 'iat', 'tid', 'sub', 'mark', 'iss'])
      t.match(claims, { kind, sub: 'alice', mark: stored?.claim, iss: 'me' })
      t.equal(Number(claims.exp) - Number(claims.iat), lifetime)
      t.equal(headerOf(token).alg, 'HS512')
    }
    t.not(claimsOf(pair.refresh).tid, claimsOf(pair.access).tid)
    t.match(await outstandingIn(app), [{ jti: claimsOf(pair.refresh).tid, userId: id }])
  })

  t.test('with updateLastLogin obtaining a pair sets last_login, and refreshing does not', async (t) => {
    const app = await build(t, { updateLastLogin: true })
    const { id } = await addUser(app)
    const before = Date.now()

    const { refresh } = await app.auth.tokens.obtainPair(ALICE)
    const atLogin = Number((await app.auth.users.get('id', id))?.lastLogin)
    await app.auth.tokens.refresh(refresh)

    t.ok(atLogin >= before && atLogin <= Date.now())
    t.equal(Number((await app.auth.users.get('id', id))?.lastLogin), atLogin, 'unchanged by the refresh')
  })

  t.test('a user deleted during the login gets 401, and other users can log in', async (t) => {
    const app = await build(t)
    await addUser(app)
    const bob = await addUser(app, { username: 'bob' })
    deletingUserAfter(t, app, 'authenticate')

    const refusal = await refusalOf(app.auth.tokens.obtainPair(ALICE))

    t.equal(refusal.statusCode, 401)
    t.strictSame(await outstandingIn(app), [])
    t.equal(claimsOf((await app.auth.tokens.obtainPair(bob)).access).user_id, String(bob.id))
  })

  t.test('verify accepts valid tokens of any type and user, and rejects invalid and expired ones', async (t) => {
    const app = await build(t)
    const { verifier } = app.auth
    const odd = [undefined, null, '1', 77, 'nobody', []].map((user_id) => mint({ claims: { user_id } }))
    const kinds = [undefined, null, 'access', 'refresh', 'sliding', 'odd'].map((token_type) =>
      mint({ claims: { token_type } })
    )

    for (const token of [...kinds, ...odd]) t.equal(await verifier.verify(token), undefined)
    t.strictSame(bodyOf(await refusalOf(verifier.verify('x'))), tokenError('Token is invalid'))
    t.strictSame(bodyOf(await refusalOf(verifier.verify(mint({ claims: { exp: 1 } })))), tokenError('Token is expired'))
    t.strictSame(
      bodyOf(await refusalOf(verifier.verify(mint({ omit: ['exp', 'jti'] })))),
      tokenError("Token has no 'exp' claim")
    )
    t.strictSame(bodyOf(await refusalOf(verifier.verify(mint({ omit: ['jti'] })))), tokenError('Token has no id'))
  })

  t.test('verify rejects blacklisted tokens (400) only with blacklistAfterRotation', async (t) => {
    const asking = await build(t)
    const { databaseUrl } = asking.auth.settings
    const trusting = await build(t, { blacklistAfterRotation: false, databaseUrl })
    const forgetful = await build(t, { refreshStore: 'none', databaseUrl })
    await addUser(asking)
    const { refresh } = await asking.auth.tokens.obtainPair(ALICE)
    await asking.auth.tokens.blacklist(refresh)

    const refusal = await refusalOf(asking.auth.verifier.verify(refresh))

    t.equal(refusal.statusCode, 400)
    t.strictSame(refusal.body, { non_field_errors: ['Token is blacklisted'] })
    t.equal(await trusting.auth.verifier.verify(refresh), undefined)
    t.equal(await forgetful.auth.verifier.verify(refresh), undefined)
  })

  t.test('blacklisting also records tokens issued elsewhere and tokens without an existing user', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const { refresh } = await app.auth.tokens.obtainPair(ALICE)
    const ofNobody = [
      mint({ claims: { user_id: '77' } }),
      mint({ claims: { user_id: null } }),
      mint({ omit: ['user_id'] })
    ]
    const ofAlice = [refresh, mint({ claims: { user_id: id } }), mint({ claims: { exp: secondsNow() + 9.5 } })]

    for (const token of [...ofAlice, ...ofNobody]) await app.auth.tokens.blacklist(token)

    const rows = await outstandingIn(app)
    t.strictSame(
      rows.map(({ jti }) => jti),
      [...ofAlice, ...ofNobody].map(jtiOf)
    )
    t.strictSame(
      rows.map(({ userId }) => userId),
      [id, id, id, null, null, null]
    )
    t.strictSame(
      rows.map(({ token }) => token),
      [...ofAlice, ...ofNobody]
    )
    t.ok(rows.every(({ expiresAt }) => expiresAt.getMilliseconds() === 0))
    t.equal(await blacklistedIn(app), 6)
    for (const token of ofAlice) {
      t.strictSame(bodyOf(await refusalOf(app.auth.tokens.blacklist(token))), tokenError('Token is blacklisted'))
    }
  })

  t.test('only valid refresh tokens with a well-formed user id can be blacklisted', async (t) => {
    const app = await build(t)
    const odd = ['', 'abc', '01', '1e0', ' 1', '１', '2147483648', 0, -1, 1.5, true, [1], { id: 1 }]
    const cases: [string, string][] = [
      ['', 'Token is invalid'],
      [mint({ key: 'another-key-0123456789-abcdefghijklmnop' }), 'Token is invalid'],
      [mint({ claims: { exp: 1 } }), 'Token is expired'],
      [mint({ omit: ['exp'] }), "Token has no 'exp' claim"],
      [mint({ omit: ['jti'] }), 'Token has no id'],
      [mint({ omit: ['token_type'] }), 'Token has no type'],
      [mint({ claims: { token_type: 'access' } }), 'Token has wrong type'],
      [mint({ claims: { token_type: 'sliding' } }), 'Token has wrong type'],
      [mint({ claims: { token_type: ['refresh'] } }), 'Token has wrong type'],
      ...odd.map((user_id): [string, string] => [mint({ claims: { user_id } }), 'Token is invalid'])
    ]

    for (const [token, message] of cases) {
      t.strictSame(
        bodyOf(await refusalOf(app.auth.tokens.blacklist(token))),
        tokenError(message),
        JSON.stringify(token)
      )
    }
    t.strictSame(await outstandingIn(app), [])
  })

  t.test('of 20 concurrent calls exactly one blacklists a token', async (t) => {
    const app = await build(t)
    await addUser(app)
    const { refresh } = await app.auth.tokens.obtainPair(ALICE)

    const outcomes = await Promise.all(Array.from({ length: 20 }, () => outcomeOf(app.auth.tokens.blacklist(refresh))))

    const lost = outcomes.filter((outcome) => outcome !== null)
    t.equal(lost.length, 19)
    for (const refusal of lost) t.strictSame(bodyOf(refusal), tokenError('Token is blacklisted'))
    t.equal(await blacklistedIn(app), 1)
  })

  t.test('flushing deletes the rows of expired tokens', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    await app.auth.tokens.obtainPair(ALICE)
    const expired = { token: 'x', userId: id, createdAt: new Date(0), expiresAt: new Date(Date.now() - 1000) }
    await app.auth.database.outstandingToken.createMany({
      data: [1, 2, 3].map((jti) => ({ ...expired, jti: `old${jti}` }))
    })

    t.equal(await app.auth.tokens.flushExpiredTokens(), 3)
    t.equal((await outstandingIn(app)).length, 1)
  })
})

t.test('with refreshStore "none" blacklisting has no effect and nothing is recorded', async (t) => {
  const app = await worldOf('sqlite').buildWithBlacklist(t, { refreshStore: 'none' })
  await addUser(app)

  const { refresh } = await app.auth.tokens.obtainPair(ALICE)
  await app.auth.tokens.blacklist(refresh)
  await app.auth.tokens.blacklist(refresh)

  t.match(await app.auth.tokens.refresh(refresh), { access: String, refresh: String })
  t.match(
    bodyOf(await refusalOf(app.auth.tokens.blacklist(mint({ claims: { user_id: 'abc' } })))),
    tokenError('Token is invalid')
  )
  t.equal(await app.auth.tokens.flushExpiredTokens(), 0)
  t.strictSame(await outstandingIn(app), [])
})

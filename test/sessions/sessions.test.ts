/** Login sessions: the rotation of their refresh tokens, and what ends them. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { SessionRow } from '../../src/database/open.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'
import { claimsOf, jtiOf, mint, secondsNow } from '../support/tokens.ts'
import { bodyOf, outcomeOf, refusalOf, tokenError } from '../tokens/rows.ts'

const ENDED = tokenError('Token is blacklisted')
const NO_ACCOUNT = { detail: 'No active account found for the given token.' }
const ALICE = { username: 'alice', password: PASSWORD }

const sidOf = (token: string) => claimsOf(token).sid as string
const rowOf = ({ auth }: FastifyInstance, token: string) =>
  auth.database.session.findUniqueOrThrow({ where: { id: sidOf(token) } })
const alter = ({ auth }: FastifyInstance, token: string, data: Partial<SessionRow>) =>
  auth.database.session.update({ where: { id: sidOf(token) }, data })

/** Refreshes and returns the successor. @throws AuthError if the refresh is rejected */
async function successorOf({ auth }: FastifyInstance, token: string): Promise<string> {
  return (await auth.tokens.refresh(token)).refresh ?? ''
}

onEachDatabase(t, (t, { build }) => {
  t.test('a login creates a session row, which its tokens name in sid, and a refresh rotates its jti', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const headers = { 'user-agent': `Browser\0 ${'x'.repeat(600)}` }
    const answer = await app.inject({ method: 'POST', url: '/api/token/', payload: ALICE, headers })
    const { refresh, access } = answer.json()
    const first = await rowOf(app, refresh)
    const next = await app.auth.tokens.refresh(refresh)
    const row = await rowOf(app, refresh)

    t.match(first, {
      userId: id,
      jti: jtiOf(refresh),
      previousJti: null,
      label: '',
      address: '127.0.0.1',
      endedAt: null
    })
    t.match(first.userAgent, /^Browser x{247}$/)
    t.equal(+first.expiresAt - +first.createdAt, 90 * 86_400_000)
    t.equal(+first.idleExpiresAt, 1000 * Number(claimsOf(refresh).exp))
    t.match(row, { jti: jtiOf(next.refresh ?? ''), previousJti: jtiOf(refresh), expiresAt: first.expiresAt })
    t.equal(+row.idleExpiresAt, 1000 * Number(claimsOf(next.refresh ?? '').exp))
    t.match(sidOf(refresh), /^[0-9a-f]{32}$/)
    for (const token of [access, next.access, next.refresh ?? '']) t.equal(sidOf(token), sidOf(refresh))
    t.equal(await app.auth.database.outstandingToken.count(), 0, "nothing is recorded in SimpleJWT's tables")
  })

  t.test('within the grace period a used token returns the same successor, also after that was used', async (t) => {
    const app = await build(t)
    await addUser(app)
    const { refresh } = await obtainPair(app)
    const successor = await successorOf(app, refresh)

    const again = await app.auth.tokens.refresh(refresh)

    t.equal(again.refresh, successor)
    t.match(claimsOf(again.access), { sid: sidOf(refresh), token_type: 'access' })
    const third = await successorOf(app, successor)
    t.equal(await successorOf(app, successor), third)
    t.strictSame(
      bodyOf(await refusalOf(app.auth.tokens.refresh(refresh))),
      ENDED,
      'the use of a token two rotations old is reuse'
    )
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(third))), ENDED, 'the session has ended')
    t.match(await rowOf(app, refresh), { endReason: 'reuse_older', endedAt: Date })
    t.equal(
      (await app.inject({ url: '/api/protected/', headers: { authorization: `Bearer ${again.access}` } })).statusCode,
      401
    )
  })

  t.test('after the grace period a used token replaces its successor, whose use then is reuse', async (t) => {
    const app = await build(t)
    await addUser(app)
    const { refresh } = await obtainPair(app)
    const lost = await successorOf(app, refresh)
    await alter(app, refresh, { refreshedAt: new Date(Date.now() - 30_000) })

    const replacement = await successorOf(app, refresh)

    t.not(replacement, lost, 'a lost response does not log the client out')
    t.equal(await successorOf(app, refresh), replacement, 'and has a grace period of its own')
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(lost))), ENDED)
    t.match(await rowOf(app, refresh), { endReason: 'reuse_older' })
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(replacement))), ENDED)
  })

  t.test('verifying a token ends the session exactly if it is reuse', async (t) => {
    const app = await build(t)
    await addUser(app)
    const verify = async (token: string) =>
      (await app.inject({ method: 'POST', url: '/api/token/verify/', payload: { token } })).statusCode
    const { refresh } = await obtainPair(app)
    const lost = await successorOf(app, refresh)
    t.equal(await verify(refresh), 200, 'the previous token')
    await alter(app, refresh, { refreshedAt: new Date(Date.now() - 30_000) })
    const replacement = await successorOf(app, refresh)
    t.equal(await verify(replacement), 200)
    t.equal(await verify(refresh), 200)
    t.match(await rowOf(app, refresh), { endedAt: null })

    t.equal(await verify(lost), 400)
    t.match(await rowOf(app, refresh), { endReason: 'reuse_older' })
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(replacement))), ENDED)
  })

  t.test('a second client in the grace period is recorded as the last one', async (t) => {
    const app = await build(t)
    await addUser(app)
    const { refresh } = await obtainPair(app)
    await refreshWith(app, refresh)
    const headers = { 'user-agent': 'Other' }
    const payload = { refresh }
    const answer = await app.inject({
      method: 'POST',
      url: '/api/token/refresh/',
      payload,
      headers,
      remoteAddress: '192.0.2.7'
    })
    t.equal(answer.statusCode, 200)
    t.match(await rowOf(app, refresh), { lastAddress: '192.0.2.7', lastUserAgent: 'Other', endedAt: null })
  })

  t.test('without a grace period a second use is reuse and ends this session only', async (t) => {
    const app = await build(t, { rotationGrace: 0 })
    await addUser(app)
    const [one, other] = [await obtainPair(app), await obtainPair(app)]
    const successor = await successorOf(app, one.refresh)

    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(one.refresh))), ENDED)
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(successor))), ENDED)
    t.match(await rowOf(app, one.refresh), { endReason: 'reuse_previous' })
    t.match(await app.auth.tokens.refresh(other.refresh), { refresh: String })
  })

  t.test('a session expires at its maximum age despite refreshes, and its tokens expire no later', async (t) => {
    const app = await build(t)
    await addUser(app)
    const { refresh } = await obtainPair(app)
    const end = new Date((secondsNow() + 60) * 1000)
    await alter(app, refresh, { expiresAt: end })

    const successor = await successorOf(app, refresh)
    const next = await successorOf(app, successor)

    for (const token of [successor, next]) t.equal(claimsOf(token).exp, end.getTime() / 1000)
    await alter(app, refresh, { expiresAt: new Date(Date.now() - 1000) })
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(next))), tokenError('Token is expired'))
    const short = await build(t, { sessionMaxAge: 60, databaseUrl: app.auth.settings.databaseUrl })
    const { exp, iat } = claimsOf((await obtainPair(short)).refresh)
    t.equal(Number(exp) - Number(iat), 60)
  })

  t.test('without rotation a session keeps its refresh token and records the last use', async (t) => {
    const app = await build(t, { rotateRefreshTokens: false })
    await addUser(app)
    const { refresh } = await obtainPair(app)
    await alter(app, refresh, { refreshedAt: new Date(0) })

    t.strictSame(Object.keys(await app.auth.tokens.refresh(refresh)), ['access'])
    t.ok(+(await rowOf(app, refresh)).refreshedAt > Date.now() - 60_000)
    await alter(app, refresh, { expiresAt: new Date(Date.now() - 1000) })
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(refresh))), tokenError('Token is expired'))
    await app.auth.sessions.end(sidOf(refresh), 'logout')
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(refresh))), ENDED)
  })

  t.test('inactive users cannot refresh (401), and deactivating or deleting a user ends all sessions', async (t) => {
    const app = await build(t)
    const { users, database, tokens, verifier } = app.auth
    const [alice, bob] = [await addUser(app), await addUser(app, { username: 'bob' })]
    const [one, two] = [await obtainPair(app), await obtainPair(app, bob)]
    const other = await obtainPair(app)
    await database.user.update({ where: { id: alice.id }, data: { isActive: false } })

    t.strictSame(bodyOf(await refusalOf(tokens.refresh(one.refresh))), NO_ACCOUNT, 'deactivated in the database')
    await users.activate(alice.id)
    t.match(await tokens.refresh(one.refresh), { refresh: String }, 'activated again')
    await users.deactivate(alice.id)
    await users.activate(alice.id)
    for (const { refresh, access } of [one, other]) {
      t.strictSame(bodyOf(await refusalOf(tokens.refresh(refresh))), ENDED)
      t.match(await refusalOf(verifier.authenticate(access)), { statusCode: 401 })
    }
    t.match(await rowOf(app, other.refresh), { endReason: 'inactive' })
    t.match(
      await verifier.authenticate((await obtainPair(app)).access),
      { user_id: '1' },
      'a new login is a new session'
    )
    await users.deleteUser(bob.id)
    t.strictSame(bodyOf(await refusalOf(tokens.refresh(two.refresh))), ENDED)
    t.match(await refusalOf(verifier.authenticate(two.access)), { statusCode: 401 })
    t.equal(await database.session.count({ where: { userId: bob.id } }), 0)
    const elsewhere = mint({ claims: { token_type: 'access', user_id: String(bob.id), iat: secondsNow() - 1 } })
    t.match(await refusalOf(verifier.authenticate(elsewhere)), { statusCode: 401 }, 'also a token without sid')
  })

  t.test('a new password ends all sessions but the current one, and a password reset ends all', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const [mine, other] = [await obtainPair(app), await obtainPair(app)]
    await app.auth.users.setPassword(id, 'an0ther-Pass!', { sid: sidOf(mine.refresh) })

    t.match(await app.auth.tokens.refresh(mine.refresh), { refresh: String })
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(other.refresh))), ENDED)
    t.match(await rowOf(app, other.refresh), { endReason: 'password' })
    const user = await app.auth.users.get('id', id)
    if (user === null) throw new Error('no user')
    t.equal(await app.auth.users.resetPassword({ ...user, password: 'old' }, PASSWORD), false)
    t.match(await app.auth.tokens.refresh(mine.refresh), { refresh: String }, 'a rejected reset ends nothing')
    t.equal(await app.auth.users.resetPassword(user, PASSWORD), true)
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(mine.refresh))), ENDED)
  })

  t.test('a login is rejected (401) if the user is changed after the password check', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const { users, tokens, database } = app.auth
    const refusal = { statusCode: 401, message: 'No active account found with the given credentials' }
    const changes = [
      () => users.deactivate(id),
      () => users.setPassword(id, 'an0ther-Pass!'),
      () => users.deleteUser(id)
    ]
    for (const change of changes) {
      await users.activate(id)
      await users.setPassword(id, PASSWORD)
      const find = users.authenticate.bind(users)
      const finding = t.intercept(users, 'authenticate', {
        value: async (name: string, password: string) => {
          finding.restore()
          const user = await find(name, password)
          await change()
          return user
        }
      })
      t.match(await refusalOf(tokens.obtainPair(ALICE)), refusal)
    }
    t.equal(await database.session.count({ where: { endedAt: null } }), 0)
  })

  t.test('a logout with any refresh token of a session revokes all its tokens; a second one is rejected', async (t) => {
    const app = await build(t)
    await addUser(app)
    const { refresh, access } = await obtainPair(app)
    const successor = await successorOf(app, refresh)

    await app.auth.verifier.verify(successor)
    await app.auth.verifier.verify(refresh)
    await app.auth.tokens.blacklist(refresh)

    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.blacklist(successor))), ENDED)
    for (const token of [successor, refresh, access]) {
      t.strictSame(bodyOf(await refusalOf(app.auth.verifier.verify(token))), {
        non_field_errors: ['Token is blacklisted']
      })
    }
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(successor))), ENDED)
    t.match(await refusalOf(app.auth.verifier.authenticate(access)), { message: /not valid for any token type/ })
    t.equal((await refreshWith(app, mint({ claims: { sid: 'f'.repeat(32) } }))).statusCode, 401, 'unknown session')
  })

  t.test('a login beyond sessionLimit ends the oldest session, also with concurrent logins', async (t) => {
    const app = await build(t, { sessionLimit: 2 })
    const { id } = await addUser(app)
    const oldest = await obtainPair(app)
    await alter(app, oldest.refresh, { createdAt: new Date(0) })
    const second = await obtainPair(app)
    await obtainPair(app)

    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(oldest.refresh))), ENDED)
    t.match(await rowOf(app, oldest.refresh), { endReason: 'limit' })
    t.equal(await outcomeOf(app.auth.tokens.refresh(second.refresh)), null)
    await Promise.all(Array.from({ length: 8 }, () => obtainPair(app)))
    t.equal((await app.auth.sessions.list(id)).length, 2)
  })

  t.test('a sliding token has a session and is rejected after its end (401)', async (t) => {
    const app = await build(t, { authTokenClasses: ['SlidingToken'] })
    await addUser(app)
    const { token } = await app.auth.tokens.obtainSliding(ALICE)
    const renewed = await app.auth.tokens.refreshSliding(token)

    t.equal(+(await rowOf(app, token)).idleExpiresAt, 1000 * Number(claimsOf(token).refresh_exp))
    await app.auth.sessions.end(sidOf(token), 'logout')
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refreshSliding(renewed.token))), ENDED)
    t.match(await refusalOf(app.auth.verifier.authenticate(renewed.token)), { statusCode: 401 })
  })

  t.test('flushing deletes expired sessions and revocations, and keeps ended sessions until they expire', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const { database, tokens } = app.auth
    const [live, idle, ended] = [await obtainPair(app), await obtainPair(app), await obtainPair(app)]
    const row = await rowOf(app, live.refresh)
    const over = Array.from({ length: 1100 }, (_, index) => ({ ...row, id: `x${index}`, idleExpiresAt: new Date(0) }))
    await database.session.createMany({ data: over })
    await alter(app, idle.refresh, { idleExpiresAt: new Date(Date.now() - 1000) })
    await tokens.blacklist(ended.refresh)
    await database.revocation.create({ data: { sid: 'x', revokedAt: new Date(0), expiresAt: new Date(0) } })

    t.equal(await tokens.flushExpiredTokens(), 1101)
    t.strictSame(
      (await app.auth.sessions.list(id)).map((session) => session.id),
      [sidOf(live.refresh)]
    )
    t.match(await rowOf(app, ended.refresh), { endReason: 'logout' }, 'kept until its token has expired')
    t.equal(await database.revocation.count(), 1)
  })
})

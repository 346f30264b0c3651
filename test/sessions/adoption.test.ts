/** Adoption of refresh tokens without a login session: SimpleJWT's, and those of JWT_REFRESH_STORE=blacklist. */
import t from 'tap'
import { onEachDatabase } from '../support/build.ts'
import { addUser, obtainPair } from '../support/journeys.ts'
import { claimsOf, jtiOf, mint } from '../support/tokens.ts'
import { blacklistedIn, bodyOf, refusalOf, tokenError } from '../tokens/rows.ts'

const ENDED = tokenError('Token is blacklisted')

onEachDatabase(t, (t, { build, buildWithBlacklist }) => {
  t.test('concurrent first refreshes of a token without a session create one session and one successor', async (t) => {
    const before = await buildWithBlacklist(t)
    const { id } = await addUser(before)
    const { databaseUrl } = before.auth.settings
    const recorded = (await obtainPair(before)).refresh
    const app = await build(t, { databaseUrl })
    const other = await build(t, { databaseUrl })
    for (const token of [recorded, mint({ claims: { user_id: String(id), plan: 'pro' } })]) {
      const uses = Array.from({ length: 20 }, (_, at) => (at % 2 ? app : other).auth.tokens.refresh(token))
      const answers = await Promise.all(uses)

      t.equal(new Set(answers.map(({ refresh }) => refresh)).size, 1)
      const [{ refresh = '', access } = { access: '' }] = answers
      const { token_type, user_id, plan } = claimsOf(token)
      t.match(claimsOf(refresh), { token_type, user_id, ...(plan ? { plan } : {}), sid: /^[0-9a-f]{32}$/ })
      t.equal(claimsOf(access).sid, claimsOf(refresh).sid)
      t.match(await app.auth.tokens.refresh(refresh), { refresh: String })
      t.strictSame(
        bodyOf(await refusalOf(before.auth.tokens.refresh(token))),
        ENDED,
        'for an app without sessions it is blacklisted'
      )
      t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(token))), ENDED, 'two rotations later it is reuse')
      t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(refresh))), ENDED)
    }
    t.equal(await app.auth.database.session.count(), 2)
  })

  t.test('tokens can be blacklisted before, during and after adoption; without a user they are rejected', async (t) => {
    const before = await buildWithBlacklist(t)
    await addUser(before)
    const app = await build(t, { databaseUrl: before.auth.settings.databaseUrl })
    const [one, two, three] = [await obtainPair(before), await obtainPair(before), await obtainPair(before)]
    await before.auth.tokens.blacklist(one.refresh)

    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(one.refresh))), ENDED)
    await app.auth.tokens.blacklist(two.refresh)
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(two.refresh))), ENDED)
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.blacklist(two.refresh))), ENDED)
    const { refresh = '' } = await app.auth.tokens.refresh(three.refresh)
    await app.auth.tokens.blacklist(three.refresh)
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(refresh))), ENDED)
    t.equal(await blacklistedIn(app), 3)
    const spent = (await obtainPair(before)).refresh
    const looking = t.intercept(app.auth.sessions, 'isAdopted', {
      value: async (jti: string) => {
        looking.restore()
        await app.auth.tokens.refresh(spent)
        return jti === ''
      }
    })
    await app.auth.tokens.blacklist(spent)
    t.match(await app.auth.database.session.findMany({ where: { previousJti: String(jtiOf(spent)) } }), [
      { endReason: 'logout' }
    ])
    const nobody = mint({ omit: ['user_id'] })
    t.match(await refusalOf(app.auth.tokens.refresh(nobody)), { message: /no recognizable user identification/ })
    const gone = mint({ claims: { user_id: '77' } })
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(gone))), {
      detail: 'No active account found for the given token.'
    })
    t.equal(await app.auth.database.session.count(), 2)
  })

  t.test('without rotation a token is adopted unchanged', async (t) => {
    const app = await build(t, { rotateRefreshTokens: false })
    const { id } = await addUser(app)
    const token = mint({ claims: { user_id: String(id) } })
    const [one, two] = [await app.auth.tokens.refresh(token), await app.auth.tokens.refresh(token)]

    t.equal(claimsOf(one.access).sid, claimsOf(two.access).sid)
    t.match(await app.auth.database.session.findMany(), [{ jti: jtiOf(token), userId: id }])
    await app.auth.tokens.blacklist(token)
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(token))), ENDED)
  })

  t.test('without rotation a token is not adopted again after its session was deleted as expired', async (t) => {
    const app = await build(t, { rotateRefreshTokens: false, sessionMaxAge: 60 })
    const { id } = await addUser(app)
    const token = mint({ claims: { user_id: String(id), iat: Math.floor(Date.now() / 1000) - 61 } })
    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(token))), tokenError('Token is expired'))
    t.equal(await app.auth.database.session.count(), 0)
  })

  t.test('a token that Django rotates during its adoption is rejected and gets no session', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const token = mint({ claims: { user_id: String(id) } })
    const { sessions, database } = app.auth
    const asking = t.intercept(sessions, 'adopt', {
      value: async (...given: Parameters<typeof sessions.adopt>) => {
        asking.restore()
        const [{ id: tokenId } = { id: 0n }] = await database.outstandingToken.findMany()
        await database.blacklistedToken.create({ data: { tokenId, blacklistedAt: new Date() } })
        return sessions.adopt(...given)
      }
    })

    t.strictSame(bodyOf(await refusalOf(app.auth.tokens.refresh(token))), ENDED)
    t.equal(await database.session.count(), 0)
  })
})

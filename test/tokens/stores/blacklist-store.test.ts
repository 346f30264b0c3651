import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import type { Database } from '../../../src/database/open.ts'
import { InvalidToken } from '../../../src/errors.ts'
import { BlacklistStore, type TokenRecord } from '../../../src/tokens/stores/blacklist-store.ts'
import { onEachDatabase } from '../../support/build.ts'
import { addUser } from '../../support/journeys.ts'
import { allowInserts, refuseInserts } from '../faults.ts'
import { watchStatements } from '../statements.ts'

const OUTSTANDING = 'token_blacklist_outstandingtoken'
const BLACKLISTED = 'token_blacklist_blacklistedtoken'

const inSeconds = (seconds: number) => new Date((Math.floor(Date.now() / 1000) + seconds) * 1000)

const tokenOf = (userId: number | null, more: Partial<TokenRecord> = {}): TokenRecord => ({
  token: 'header.payload.signature',
  jti: randomUUID(),
  userId,
  createdAt: new Date(),
  expiresAt: inSeconds(300),
  ...more
})

const rowsOf = ({ auth }: FastifyInstance) =>
  auth.database.outstandingToken.findMany({ orderBy: { id: 'asc' }, include: { blacklistedToken: true } })

const storeOf = ({ auth }: FastifyInstance, database = auth.database) =>
  new BlacklistStore(database, auth.settings, auth.users, () => 'header.payload.signature')

const isBlacklistedError = (error: unknown) => error instanceof InvalidToken && error.message === 'Token is blacklisted'

/** Wraps a database so that `erase` runs just before a row is written to the blacklist. */
const deletingFirst = (database: Database, erase: () => Promise<unknown>) =>
  database.$extends({
    query: {
      blacklistedToken: {
        create: async ({ args, query }) => {
          await erase()
          return query(args)
        }
      }
    }
  }) as unknown as Database

onEachDatabase(t, (t, { build }) => {
  t.test('an issued token is recorded and not blacklisted', async (t) => {
    const app = await build(t)
    const blacklist = storeOf(app)
    const token = tokenOf((await addUser(app)).id)

    await blacklist.record(token)

    t.match(await rowsOf(app), [{ ...token, blacklistedToken: null }])
    t.equal(await blacklist.isBlacklisted(token.jti), false)
    t.equal(await blacklist.isBlacklisted('unheard-of'), false)
  })

  t.test('tokens of a deleted user are rejected (401), and nothing is blacklisted', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const blacklist = storeOf(app)
    const refusal = { message: 'No active account found for the given token.', statusCode: 401 }
    const token = tokenOf(id)

    await t.rejects(blacklist.record(tokenOf(77)), refusal)
    await t.rejects(blacklist.blacklist(tokenOf(77)), refusal)
    await t.rejects(blacklist.blacklist(token, tokenOf(77)), refusal)

    t.match(await rowsOf(app), [{ ...token, blacklistedToken: null }])
    t.equal((await rowsOf(app)).length, 1)
    await blacklist.blacklist(token, tokenOf(id))
    t.equal(await blacklist.isBlacklisted(token.jti), true)
  })

  t.test('a token can be blacklisted once, whether or not it was recorded before (then 401)', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const blacklist = storeOf(app)
    const [known, unknown] = [tokenOf(id), tokenOf(id)]
    await blacklist.record(known)

    await blacklist.blacklist({ ...known, token: 'other' })
    await blacklist.blacklist(unknown)

    t.match(await rowsOf(app), [known, unknown])
    for (const token of [known, unknown]) {
      t.equal(await blacklist.isBlacklisted(token.jti), true)
      await t.rejects(blacklist.blacklist(token), { message: 'Token is blacklisted', statusCode: 401 })
    }
    t.equal(await app.auth.database.blacklistedToken.count(), 2)
  })

  t.test('a token is blacklisted and its successor recorded in one step, or neither', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const blacklist = storeOf(app)
    const [first, second, third] = [tokenOf(id), tokenOf(id), tokenOf(id)]

    await blacklist.blacklist(first, second)
    await t.rejects(blacklist.blacklist(first, third), { message: 'Token is blacklisted' })

    t.match(await rowsOf(app), [
      { ...first, blacklistedToken: Object },
      { ...second, blacklistedToken: null }
    ])
    t.equal((await rowsOf(app)).length, 2, 'the third is not recorded')
  })

  t.test('a database error leaves the token valid and its successor unrecorded', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const blacklist = storeOf(app)
    const [token, successor] = [tokenOf(id), tokenOf(id)]
    await blacklist.record(token)

    for (const table of [OUTSTANDING, BLACKLISTED]) {
      await refuseInserts(app, table)
      await t.rejects(blacklist.blacklist(token, successor), /refused/, table)
      await allowInserts(app, table)

      t.equal(await blacklist.isBlacklisted(token.jti), false)
      t.equal((await rowsOf(app)).length, 1)
    }
    await blacklist.blacklist(token, successor)
    t.equal(await blacklist.isBlacklisted(token.jti), true)
  })

  t.test('of 20 concurrent calls one blacklists the token, and the others report it as blacklisted', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const blacklist = storeOf(app)
    const [known, unknown] = [tokenOf(id), tokenOf(id)]
    await blacklist.record(known)

    for (const token of [known, unknown]) {
      const attempts = await Promise.allSettled(
        Array.from({ length: 20 }, () => blacklist.blacklist(token, tokenOf(id)))
      )

      const refusals = attempts.flatMap((attempt) => (attempt.status === 'rejected' ? [attempt.reason] : []))
      t.equal(refusals.length, 19)
      t.ok(refusals.every(isBlacklistedError))
    }
    t.equal((await rowsOf(app)).length, 4, 'two tokens and their two successors')
    t.equal(await app.auth.database.blacklistedToken.count(), 2)
  })

  t.test('a token whose row is flushed during the call is rejected (401)', async (t) => {
    const app = await build(t)
    const { database } = app.auth
    const blacklist = storeOf(
      app,
      deletingFirst(database, () => database.outstandingToken.deleteMany())
    )

    await t.rejects(blacklist.blacklist(tokenOf(null)), { name: 'AuthenticationFailed', statusCode: 401 })
  })

  t.test('flushing deletes only expired tokens, blacklisted or not, in batches of 1,000', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { database } = app.auth
    const blacklist = storeOf(app)
    const expired = Array.from({ length: 2500 }, (_, index) => tokenOf(null, { expiresAt: inSeconds(-index) }))
    await database.outstandingToken.createMany({ data: expired })
    const tokens = await database.outstandingToken.findMany({ select: { id: true } })
    const places = tokens.filter((_, index) => index % 2).map(({ id }) => ({ tokenId: id, blacklistedAt: new Date() }))
    await database.blacklistedToken.createMany({ data: places })
    const [good, ended] = [tokenOf(null), tokenOf(null)]
    await blacklist.record(good)
    await blacklist.blacklist(ended)

    let flushed = 0
    const statements = await statementsOf(async () => {
      flushed = await blacklist.deleteExpired()
    })

    t.equal(flushed, 2500)
    t.match(await rowsOf(app), [good, ended])
    t.equal((await rowsOf(app)).length, 2)
    t.equal(await database.blacklistedToken.count(), 1)
    t.equal(await blacklist.isBlacklisted(ended.jti), true)
    const batch = [`SELECT ${OUTSTANDING}`, 'BEGIN', `DELETE ${BLACKLISTED}`, `DELETE ${OUTSTANDING}`, 'COMMIT']
    // SQLite cannot bind 1,000 values in one statement, so each DELETE is sent twice.
    t.strictSame(
      statements.filter((statement, index) => statement !== statements[index - 1]),
      [...batch, ...batch, ...batch]
    )
    t.equal(await blacklist.deleteExpired(), 0)
  })
})

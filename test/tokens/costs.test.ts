/** SQL statements of each operation. More of them are a regression unless intended. */
import t from 'tap'
import type { LatchkeyOptions } from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, PASSWORD } from '../support/journeys.ts'
import { mint } from '../support/tokens.ts'
import { outcomeOf } from './rows.ts'
import { watchStatements } from './statements.ts'

const ALICE = { username: 'alice', password: PASSWORD }

const USER = 'SELECT auth_user'
const BLACKLIST = 'SELECT token_blacklist_blacklistedtoken'
const KNOWN = 'SELECT token_blacklist_outstandingtoken'
const RECORD = 'INSERT token_blacklist_outstandingtoken'
const ENTER = 'INSERT token_blacklist_blacklistedtoken'

const BEGIN = 'INSERT latchkey_session'
const TURN = 'UPDATE latchkey_session'
const LOOK = ['SELECT latchkey_session', USER]
/** When everything of the user was ended last, for tokens without a session. */
const EPOCH = 'SELECT latchkey_credential_epoch'
const END = ['BEGIN', TURN, 'INSERT latchkey_revocation', 'COMMIT']

onEachDatabase(t, (t, { build: buildWithSessions, buildWithBlacklist: build }) => {
  t.test('with login sessions a login takes two statements and a refresh one; some settings add one', async (t) => {
    const costs: [LatchkeyOptions, login: string[], refresh: string[]][] = [
      [{}, [USER, BEGIN], [TURN]],
      [{ rotateRefreshTokens: false }, [USER, BEGIN], [TURN]],
      [{ sessionLimit: 2 }, [USER, BEGIN, 'SELECT latchkey_session'], [TURN]],
      [{ checkRevokeToken: true }, [USER, BEGIN], [USER, TURN]],
      [{ claims: () => ({}), freshClaims: true }, [USER, BEGIN], [USER, TURN]],
      [{ userAuthenticationRule: () => true }, [USER, BEGIN], [USER, TURN]]
    ]

    for (const [settings, login, refresh] of costs) {
      const statementsOf = watchStatements(t)
      const app = await buildWithSessions(t, { revocationPoll: 60, ...settings })
      const { tokens } = app.auth
      await addUser(app)
      let pair = { refresh: '', access: '' }

      t.strictSame(
        await statementsOf(async () => {
          pair = await tokens.obtainPair(ALICE)
        }),
        login
      )
      t.strictSame(await statementsOf(() => tokens.refresh(pair.refresh)), refresh)
      t.strictSame(await statementsOf(() => outcomeOf(tokens.refresh('x'))), [], 'a forged token causes none')
    }
  })

  t.test('with login sessions a retry takes three statements, a logout one transaction and a guard none', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await buildWithSessions(t, { revocationPoll: 60 })
    const { tokens, verifier } = app.auth
    await addUser(app)
    const { refresh, access } = await tokens.obtainPair(ALICE)
    await tokens.refresh(refresh)

    t.strictSame(await statementsOf(() => tokens.refresh(refresh)), [TURN, ...LOOK])
    t.strictSame(await statementsOf(() => app.inject({ url: '/api/protected/', headers: bearer(access) })), [])
    t.strictSame(await statementsOf(() => verifier.verify(access)), [])
    t.strictSame(await statementsOf(() => verifier.verify(refresh)), ['SELECT latchkey_session'])
    t.strictSame(await statementsOf(() => tokens.blacklist(refresh)), END)
    t.strictSame(await statementsOf(() => outcomeOf(tokens.refresh(refresh))), [TURN, 'SELECT latchkey_session'])
  })

  t.test(
    'with the blacklist a login takes four statements: the last one checks that the user has not changed',
    async (t) => {
      const costs: [LatchkeyOptions, string[]][] = [
        [{}, [USER, EPOCH, RECORD, USER]],
        [{ updateLastLogin: true }, [USER, EPOCH, RECORD, USER, 'UPDATE auth_user']],
        [{ refreshStore: 'none' }, [USER, EPOCH, USER]]
      ]

      for (const [settings, expected] of costs) {
        const statementsOf = watchStatements(t)
        const app = await build(t, settings)
        await addUser(app)

        t.strictSame(await statementsOf(() => app.auth.tokens.obtainPair(ALICE)), expected)
        const refused = { ...ALICE, password: 'wrong' }
        t.strictSame(await statementsOf(() => outcomeOf(app.auth.tokens.obtainPair(refused))), [USER])
      }
    }
  )

  t.test('with the blacklist a refresh takes eight statements, and three without rotation', async (t) => {
    const rotation = [BLACKLIST, USER, EPOCH, KNOWN, 'BEGIN', ENTER, RECORD, 'COMMIT']
    const costs: [LatchkeyOptions, string[]][] = [
      [{}, rotation],
      [{ blacklistAfterRotation: false }, [BLACKLIST, USER, EPOCH, RECORD]],
      [{ rotateRefreshTokens: false }, [BLACKLIST, USER, EPOCH]],
      [{ refreshStore: 'none' }, [USER, EPOCH]]
    ]

    for (const [settings, expected] of costs) {
      const statementsOf = watchStatements(t)
      const app = await build(t, settings)
      await addUser(app)
      const { refresh } = await app.auth.tokens.obtainPair(ALICE)

      t.strictSame(await statementsOf(() => app.auth.tokens.refresh(refresh)), expected)
      t.strictSame(await statementsOf(() => outcomeOf(app.auth.tokens.refresh('x'))), [], 'a forged token causes none')
    }
  })

  t.test('with the blacklist a logout takes four statements, verifying one, and a guard none', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    await addUser(app)
    const { refresh, access } = await app.auth.tokens.obtainPair(ALICE)
    const get = () => app.inject({ url: '/api/protected/', headers: bearer(access) })

    t.strictSame(await statementsOf(() => app.auth.verifier.verify(access)), [BLACKLIST])
    t.strictSame(await statementsOf(() => app.auth.tokens.blacklist(refresh)), [BLACKLIST, USER, KNOWN, ENTER])
    t.strictSame(await statementsOf(get), [])
    t.equal((await get()).statusCode, 200)
  })

  t.test('without stateless a guard reads the user once per request', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t, { stateless: false, blacklistAfterRotation: false })
    await addUser(app)
    const access = mint({ claims: { token_type: 'access' } })
    const get = () => app.inject({ url: '/api/protected/', headers: bearer(access) })

    t.strictSame(await statementsOf(get), [USER])
    t.equal((await get()).statusCode, 200)
    t.strictSame(await statementsOf(() => app.auth.verifier.verify(access)), [])
  })
})

/** A refresh token is of the user whose session it names, whatever its claims say, and a rename cannot hand it on. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { accountRoutes } from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'
import { claimsOf, mint, secondsNow } from '../support/tokens.ts'

onEachDatabase(t, (t, { build }) => {
  t.test('a refresh token with another user id than its session is rejected (401)', async (t) => {
    const app = await build(t)
    const [alice, mallory] = [await addUser(app), await addUser(app, { username: 'mallory' })]
    const { refresh } = await obtainPair(app, mallory)
    const claims = claimsOf(refresh)

    const others = [
      alice.id,
      String(alice.id),
      '0',
      0,
      -1,
      1e20,
      null,
      '',
      true,
      [mallory.id],
      {},
      `${mallory.id} `,
      '1e0'
    ]
    for (const user_id of others) {
      const answer = await refreshWith(app, mint({ claims: { ...claims, user_id } }))
      t.equal(answer.statusCode, 401, JSON.stringify(user_id))
    }
    t.equal((await refreshWith(app, mint({ claims, omit: ['user_id'] }))).statusCode, 401)
    t.equal((await refreshWith(app, refresh)).statusCode, 200, 'the session is not ended by that')
  })

  for (const byStaff of [false, true]) {
    t.test(
      `with userIdField "username" a rename ${byStaff ? 'by staff ' : ''}ends all tokens of the old name`,
      async (t) => {
        const app = await build(t, { userIdField: 'username' }, (app) =>
          app.register(accountRoutes, { prefix: '/auth' })
        )
        const mallory = await addUser(app, { username: 'alice' })
        const { refresh, access } = await obtainPair(app, mallory)

        if (byStaff) await app.auth.users.updateUser(mallory.id, { username: 'mallory' })
        else {
          const payload = { current_password: PASSWORD, new_username: 'mallory' }
          const url = '/auth/users/set_username/'
          t.equal((await app.inject({ method: 'POST', url, payload, headers: bearer(access) })).statusCode, 204)
        }
        await addUser(app, { username: 'alice' })

        t.equal((await refreshWith(app, refresh)).statusCode, 401)
        t.equal((await app.inject({ url: '/auth/users/me/', headers: bearer(access) })).statusCode, 401)
        const sidless = mint({ claims: { ...claimsOf(access) }, omit: ['sid'] })
        t.equal((await app.inject({ url: '/api/protected/', headers: bearer(sidless) })).statusCode, 401)
        t.equal(
          (await refreshWith(app, (await obtainPair(app, { username: 'mallory', password: PASSWORD })).refresh))
            .statusCode,
          200
        )
      }
    )
  }

  for (const refreshStore of ['session', 'blacklist', 'none'] as const) {
    t.test(
      `store "${refreshStore}": no token of a former username is accepted for the next user of that name`,
      async (t) => {
        const endings: [how: string, end: (app: FastifyInstance, id: number) => Promise<unknown>][] = [
          ['a rename', (app, id) => app.auth.users.setUsername(id, 'mallory')],
          ['a rename by staff', (app, id) => app.auth.users.updateUser(id, { username: 'mallory' })],
          ['a deletion', (app, id) => app.auth.users.deleteUser(id)]
        ]
        for (const [how, end] of endings) {
          for (const stateless of how === 'a rename' ? [true, false] : [true]) {
            const app = await build(t, { userIdField: 'username', refreshStore, stateless })
            const mallory = await addUser(app, { username: 'alice' })
            const { refresh, access } = await obtainPair(app, mallory)
            const old = { iat: secondsNow() - 60, user_id: 'alice' }
            const sidless = mint({ claims: { ...old, token_type: 'refresh' } })
            const oldAccess = mint({ claims: { ...old, token_type: 'access' } })

            await end(app, mallory.id)
            await addUser(app, { username: 'alice' })

            for (const token of [refresh, sidless]) t.equal((await refreshWith(app, token)).statusCode, 401, how)
            for (const token of [access, oldAccess]) {
              const answer = await app.inject({ url: '/api/protected/', headers: bearer(token) })
              t.equal(answer.statusCode, 401, `${how}, stateless ${stateless}`)
              const verified = await app.inject({ method: 'POST', url: '/api/token/verify/', payload: { token } })
              t.equal(verified.statusCode, 400, `${how}, verification`)
            }
            const next = await obtainPair(app)
            t.equal((await refreshWith(app, next.refresh)).statusCode, 200, `${how}: the next user's own`)
            t.equal((await app.inject({ url: '/api/protected/', headers: bearer(next.access) })).statusCode, 200, how)
          }
        }
      }
    )
  }

  t.test('a login during a rename gets no token of the former username (401)', async (t) => {
    for (const refreshStore of ['session', 'blacklist', 'none'] as const) {
      const app = await build(t, { userIdField: 'username', refreshStore })
      const { id } = await addUser(app)
      const { users } = app.auth
      const authenticating = t.intercept(users, 'authenticate', {
        value: async (...given: Parameters<typeof users.authenticate>) => {
          authenticating.restore()
          const user = await users.authenticate(...given)
          await users.setUsername(id, 'other')
          return user
        }
      })
      const answer = await app.inject({
        method: 'POST',
        url: '/api/token/',
        payload: { username: 'alice', password: PASSWORD }
      })
      t.equal(answer.statusCode, 401, refreshStore)
    }
  })

  t.test('a rename to the same username ends nothing', async (t) => {
    const app = await build(t, { userIdField: 'username' })
    const { id } = await addUser(app)
    const { refresh } = await obtainPair(app)
    await app.auth.users.setUsername(id, 'alice')
    t.equal((await refreshWith(app, refresh)).statusCode, 200)
  })

  t.test(
    'logout and verification reject a token of another user than its session, also of an inactive owner',
    async (t) => {
      const app = await build(t)
      const [alice, mallory] = [await addUser(app), await addUser(app, { username: 'mallory' })]
      const { refresh } = await obtainPair(app, mallory)
      const token = mint({ claims: { ...claimsOf(refresh), user_id: String(alice.id) } })
      const post = (path: string, payload: object) => app.inject({ method: 'POST', url: `/api/token/${path}`, payload })

      t.not((await post('verify/', { token })).statusCode, 200)
      t.equal((await post('blacklist/', { refresh: token })).statusCode, 401)
      t.equal((await post('verify/', { token: refresh })).statusCode, 200, 'the session is not ended by that')
      await app.auth.database.user.update({ where: { id: mallory.id }, data: { isActive: false } })
      t.match((await refreshWith(app, token)).json(), { code: 'token_not_valid' })
    }
  )
})

/** A refresh token is of the user whose session it names, whatever its claims say, and a rename cannot hand it on. */
import t from 'tap'
import { accountRoutes } from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD, refreshWith } from '../support/journeys.ts'
import { claimsOf, mint } from '../support/tokens.ts'

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
})

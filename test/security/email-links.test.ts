/** A link in an email is for one purpose, and no link undoes a deactivation. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { EmailTokens, uidOf } from '../../src/accounts/email-tokens.ts'
import { accountRoutes, type LatchkeyOptions } from '../../src/index.ts'
import { onEachDatabase, SIGNING_KEY } from '../support/build.ts'
import { PASSWORD } from '../support/journeys.ts'

const STRONG = 'an0ther-Pass!'

onEachDatabase(t, (t, { build }) => {
  const start = async (scope: Parameters<typeof build>[0], settings: LatchkeyOptions) => {
    const app = await build(scope, settings, (app) => app.register(accountRoutes, { prefix: '/auth' }))
    const tokens = new EmailTokens([SIGNING_KEY], 3600)
    const post = (path: string, payload: object) =>
      app.inject({ method: 'POST', url: `/auth/users/${path}`, payload }).then(({ statusCode }) => statusCode)
    const row = async () => {
      const user = await app.auth.users.get('username', 'alice')
      if (user === null) throw new Error('no user')
      return user
    }
    const link = async (purpose: Parameters<EmailTokens['make']>[0]) => {
      const user = await row()
      return { uid: uidOf(user), token: tokens.make(purpose, user) }
    }
    await post('', { username: 'alice', email: 'alice@example.com', password: PASSWORD })
    return { app, post, row, link }
  }

  t.test('no link activates a deactivated account, with activation emails or without', async (t) => {
    for (const accountsSendActivationEmail of [true, false]) {
      const { app, post, row, link } = await start(t, { accountsSendActivationEmail })
      const early = [await link('activation'), await link('passwordReset'), await link('usernameReset')]
      if (accountsSendActivationEmail) t.equal(await post('activation/', await link('activation')), 204)
      t.equal((await row()).isActive, true)

      await app.auth.users.deactivate((await row()).id)

      await post('resend_activation/', { email: 'alice@example.com' })
      for (const values of [...early, await link('activation'), await link('passwordReset')]) {
        t.not(await post('activation/', values), 204)
      }
      await post('reset_password_confirm/', { ...(await link('passwordReset')), new_password: STRONG })
      t.equal((await row()).isActive, false)
    }
  })

  t.test('a deactivation before the activation ends the wait for it', async (t) => {
    const { app, post, row, link } = await start(t, { accountsSendActivationEmail: true })
    const values = await link('activation')
    await app.auth.users.deactivate((await row()).id)
    t.not(await post('activation/', values), 204)
    t.equal((await row()).isActive, false)
  })

  t.test('an account that staff deactivate before its activation cannot be activated by its link', async (t) => {
    const { app, post, row, link } = await start(t, { accountsSendActivationEmail: true })
    const values = await link('activation')
    await app.auth.users.updateUser((await row()).id, { isActive: false })
    t.equal(await post('activation/', values), 403)
    t.equal((await row()).isActive, false)
  })

  t.test('an activation concurrent with a deactivation by staff leaves the account inactive', async (t) => {
    for (let round = 0; round < 8; round++) {
      const { app, post, row, link } = await start(t, { accountsSendActivationEmail: true })
      const values = await link('activation')
      const { id } = await row()
      await Promise.all([
        app.auth.users.updateUser(id, { isActive: false }),
        sleep(round).then(() => post('activation/', values))
      ])
      t.equal((await row()).isActive, false, `round ${round}`)
    }
  })

  t.test(
    'an activation by staff ends the wait for the link, also for a later deactivation by another system',
    async (t) => {
      const { app, post, row, link } = await start(t, { accountsSendActivationEmail: true })
      const values = await link('activation')
      const { id } = await row()
      await app.auth.users.updateUser(id, { isActive: true })
      await app.auth.database.user.update({ where: { id }, data: { isActive: false } })
      t.equal(await post('activation/', values), 403)
      t.equal((await row()).isActive, false)
    }
  )

  t.test('an activation link is used once and resets nothing; a reset link activates nothing', async (t) => {
    const { post, row, link } = await start(t, { accountsSendActivationEmail: true })
    const [activation, reset] = [await link('activation'), await link('passwordReset')]
    t.equal(await post('activation/', reset), 400)
    t.equal(await post('activation/', activation), 204)
    t.not(await post('activation/', activation), 204)
    t.equal(await post('reset_password_confirm/', { ...activation, new_password: STRONG }), 400)
    t.equal(await post('reset_username_confirm/', { ...reset, new_username: 'mallory' }), 400)
    t.equal((await row()).isActive, true)
  })

  t.test('no link reveals which user ids exist', async (t) => {
    const { app, link } = await start(t, {})
    const { uid } = await link('passwordReset')
    for (const path of ['reset_password_confirm', 'reset_username_confirm', 'activation']) {
      const bodies = []
      for (const each of [uid, 'OTk5', 'x', '']) {
        const token = 'x-00000000000000000000000000000000'
        const payload = { uid: each || '-', token, new_password: STRONG, new_username: 'bob' }
        const answer = await app.inject({ method: 'POST', url: `/auth/users/${path}/`, payload })
        bodies.push([answer.statusCode, answer.body])
      }
      t.equal(new Set(bodies.map(String)).size, 1, path)
      t.match(bodies[0], [400, '{"token":["Invalid token for given user."]}'], path)
    }
  })
})

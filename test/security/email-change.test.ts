/** A new email address requires the password, is confirmed by its owner, and the old address is told. */
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { accountRoutes, type LatchkeyOptions } from '../../src/index.ts'
import { linkIn, type Received, startSmtp } from '../accounts/smtp.ts'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../support/journeys.ts'

const OLD = 'alice@example.com'
const NEW = 'new@example.com'
const MISSING = { current_password: ['This field is required.'] }
const WRONG = { current_password: ['Invalid password.'] }

async function start(t: Test, { build }: TestWorld, settings: LatchkeyOptions = {}) {
  const smtp = await startSmtp(t)
  const app = await build(t, { mailUrl: smtp.url, ...settings }, (app) =>
    app.register(accountRoutes, { prefix: '/auth' })
  )
  const { id } = await addUser(app, { email: OLD })
  const headers = bearer((await obtainPair(app)).access)
  const call = async (method: 'POST' | 'PATCH' | 'PUT', url: string, payload: object) => {
    const answer = await app.inject({ method, url, payload, headers })
    return [answer.statusCode, answer.body === '' ? null : answer.json()]
  }
  const emailOf = async () => (await app.auth.users.get('id', id))?.email
  return { app, id, smtp, call, emailOf }
}

const subjects = (mails: Received[]) => mails.map(({ to, text }) => `${to}: ${/^Subject: (.*)\r$/m.exec(text)?.[1]}`)
const staff = async (app: FastifyInstance, id: number) =>
  app.auth.users.updateUser(id, { isStaff: true, isSuperuser: true })

onEachDatabase(t, (t, world) => {
  t.test('a change of email requires the password (400), and the old address gets a notice', async (t) => {
    const { smtp, call, emailOf } = await start(t, world)
    for (const method of ['PATCH', 'PUT'] as const) {
      t.strictSame(await call(method, '/auth/users/me/', { email: NEW }), [400, MISSING])
      t.strictSame(await call(method, '/auth/users/me/', { email: NEW, current_password: 'x' }), [400, WRONG])
    }
    t.equal(await emailOf(), OLD)
    t.match(await call('PATCH', '/auth/users/me/', { email: OLD }), [200, { email: OLD }], 'no change')

    t.match(await call('PATCH', '/auth/users/me/', { email: NEW, current_password: PASSWORD }), [200, { email: NEW }])

    t.equal(await emailOf(), NEW)
    t.strictSame(subjects(await smtp.received(1)), [`${OLD}: Latchkey - Your email address has been changed`])
  })

  t.test('staff must send their own password to change their own password or email at /api/users/ (400)', async (t) => {
    const { app, id, smtp, call, emailOf } = await start(t, world)
    await staff(app, id)
    const url = `/api/users/${id}/`
    for (const change of [{ email: NEW }, { password: 'an0ther-Pass!' }]) {
      t.strictSame(await call('PATCH', url, change), [400, MISSING])
      t.strictSame(await call('PATCH', url, { ...change, current_password: 'x' }), [400, WRONG])
    }
    t.match(await call('PATCH', url, { first_name: 'Al', email: OLD }), [200, { first_name: 'Al' }])
    t.match(await call('PATCH', url, { email: NEW, current_password: PASSWORD }), [200, { email: NEW }])
    const other = await addUser(app, { username: 'bob', email: 'bob@example.com' })
    t.match(await call('PATCH', `/api/users/${other.id}/`, { email: 'b@example.com' }), [
      200,
      { email: 'b@example.com' }
    ])
    t.equal(await emailOf(), NEW)
    t.strictSame(subjects(await smtp.received(2)).toSorted(), [
      `${OLD}: Latchkey - Your email address has been changed`,
      'bob@example.com: Latchkey - Your email address has been changed'
    ])
  })

  t.test('with activation emails the address changes when its link is used, once', async (t) => {
    const { smtp, call, emailOf } = await start(t, world, { accountsSendActivationEmail: true })
    const change = { email: NEW, current_password: PASSWORD }
    t.match(await call('PATCH', '/auth/users/me/', change), [200, { email: OLD }], 'still the old one')
    t.match(await call('PATCH', '/auth/users/me/', {}), [200, { email: OLD }], 'the user stays logged in')
    const [mail] = await smtp.received(1)
    t.strictSame(mail?.to, [NEW])
    const link = linkIn(mail as Received)

    t.equal((await call('POST', '/auth/users/activation/', { ...link, token: `${link.token.slice(0, -1)}x` }))[0], 400)
    t.equal(
      (await call('POST', '/auth/users/reset_password_confirm/', { ...link, new_password: 'an0ther-Pass!' }))[0],
      400
    )
    const uses = await Promise.all([1, 2, 3].map(() => call('POST', '/auth/users/activation/', link)))
    t.equal(uses.filter(([status]) => status === 204).length, 1, 'one of three concurrent requests')
    t.equal(await emailOf(), NEW)
    t.strictSame(subjects(await smtp.received(2)).slice(1), [`${OLD}: Latchkey - Your email address has been changed`])
  })

  t.test('a link to a new address ends with a further request, a new password, and a deactivation', async (t) => {
    const { app, id, smtp, call, emailOf } = await start(t, world, { accountsSendActivationEmail: true })
    const linkTo = async (email: string, count: number) => {
      const row = await app.auth.users.get('id', id)
      await app.auth.accounts.changeOwnEmail(row as NonNullable<typeof row>, email, PASSWORD)
      return linkIn((await smtp.received(count))[count - 1] as Received)
    }
    const first = await linkTo(NEW, 1)
    const second = await linkTo('second@example.com', 2)
    t.equal((await call('POST', '/auth/users/activation/', first))[0], 400)
    await app.auth.users.setPassword(id, PASSWORD)
    t.equal((await call('POST', '/auth/users/activation/', second))[0], 400)
    const third = await linkTo(NEW, 3)
    await app.auth.users.deactivate(id)
    t.equal((await call('POST', '/auth/users/activation/', third))[0], 400)
    await app.auth.users.activate(id)
    t.equal((await call('POST', '/auth/users/activation/', third))[0], 400)
    t.equal(await emailOf(), OLD)
  })
})

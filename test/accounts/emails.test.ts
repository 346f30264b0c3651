/** Notification mails about changes to accounts, which settings enable. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { accountRoutes } from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../support/journeys.ts'
import { linkIn, type Received, startSmtp } from './smtp.ts'

const STRONG = 'Zx9-long-pass'
const NOTICES = {
  accountsSendConfirmationEmail: true,
  accountsPasswordChangedEmailConfirmation: true,
  accountsUsernameChangedEmailConfirmation: true
}
const mount = (app: FastifyInstance) => app.register(accountRoutes, { prefix: '/auth' })

const post = async (app: FastifyInstance, path: string, payload: object, headers = {}) => {
  const url = path === '' ? '/auth/users/' : `/auth/users/${path}/`
  return (await app.inject({ method: 'POST', url, payload, headers })).statusCode
}
const signIn = async (app: FastifyInstance, username: string, password: string) =>
  bearer((await obtainPair(app, { username, password })).access)

/** Returns the recipient and the unfolded subject. */
const aboutOf = ({ to, text }: Received) => {
  const [, subject = ''] = /^Subject: (.*(?:\r\n .*)*)\r$/m.exec(text) ?? []
  return `${to}: ${subject.replace(/\r\n/g, '')}`
}

onEachDatabase(t, (t, { build }) => {
  t.test('a new account and changes of password and username are notified by mail, without the password', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { ...NOTICES, mailUrl: smtp.url, accountsSiteName: 'A&B' }, mount)

    t.equal(await post(app, '', { username: 'bob', email: 'bob@example.com', password: STRONG }), 201)
    const as = await signIn(app, 'bob', STRONG)
    const change = { current_password: STRONG, new_password: `${STRONG}2` }
    t.equal(await post(app, 'set_password', { ...change, current_password: 'x' }, as), 400)
    t.equal(await post(app, 'set_password', change, as), 204)
    const again = await signIn(app, 'bob', `${STRONG}2`)
    t.equal(await post(app, 'set_username', { current_password: `${STRONG}2`, new_username: 'ｃarol' }, again), 204)

    // Emails that are sent at nearly the same time may arrive in another order.
    const mails = (await smtp.received(3)).toSorted((a, b) => aboutOf(a).localeCompare(aboutOf(b)))
    t.strictSame(mails.map(aboutOf), [
      'bob@example.com: A&B - Your account has been successfully created and activated!',
      'bob@example.com: A&B - Your password has been successfully changed!',
      'bob@example.com: A&B - Your username has been successfully changed!'
    ])
    for (const { text } of mails) {
      t.match(text, /Content-Type: text\/plain/)
      t.match(text, /Content-Type: text\/html[\s\S]*<p>A&#38;B<\/p>/)
      t.notMatch(text, STRONG)
      t.notMatch(text, /\/[A-Za-z0-9_-]+\/[0-9a-z]+-[0-9a-f]{32}/, 'no link with a token')
    }
    t.match(mails[2]?.text, 'Hello carol,', 'with the new username')
  })

  t.test(
    'with activation by mail the link is sent first, and the confirmation once after the link has been used',
    async (t) => {
      const smtp = await startSmtp(t)
      const app = await build(t, { ...NOTICES, mailUrl: smtp.url, accountsSendActivationEmail: true }, mount)

      t.equal(await post(app, '', { username: 'bob', email: 'bob@example.com', password: STRONG }), 201)
      const [first] = await smtp.received(1)
      const link = linkIn(first as Received)
      const statuses = await Promise.all([1, 2, 3].map(() => post(app, 'activation', link)))
      t.strictSame(statuses.toSorted(), [204, 403, 403], 'one of three concurrent requests')
      const mails = await smtp.received(2)
      t.strictSame(mails.map(aboutOf), [
        'bob@example.com: Account activation on Latchkey',
        'bob@example.com: Latchkey - Your account has been successfully created and activated!'
      ])
    }
  )

  t.test('resets of password and username by link are notified by mail', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { ...NOTICES, mailUrl: smtp.url }, mount)
    await addUser(app, { email: 'alice@example.com' })
    await post(app, 'reset_password', { email: 'alice@example.com' })
    const [reset] = await smtp.received(1)
    t.equal(await post(app, 'reset_password_confirm', { ...linkIn(reset as Received), new_password: STRONG }), 204)
    await smtp.received(2)
    await post(app, 'reset_username', { email: 'alice@example.com' })
    const rename = (await smtp.received(3))[2]
    t.equal(await post(app, 'reset_username_confirm', { ...linkIn(rename as Received), new_username: 'al' }), 204)
    t.strictSame((await smtp.received(4)).map(aboutOf), [
      'alice@example.com: Password reset on Latchkey',
      'alice@example.com: Latchkey - Your password has been successfully changed!',
      'alice@example.com: Username reset on Latchkey',
      'alice@example.com: Latchkey - Your username has been successfully changed!'
    ])
    t.ok(await signIn(app, 'al', STRONG))
  })

  t.test('users without email address get no mail, and notifications are disabled by default', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { ...NOTICES, mailUrl: smtp.url }, mount)
    t.equal(await post(app, '', { username: 'bob', password: STRONG }), 201)
    const quiet = await build(t, { mailUrl: smtp.url }, mount)
    t.equal(await post(quiet, '', { username: 'bob', email: 'bob@example.com', password: STRONG }), 201)
    const as = await signIn(quiet, 'bob', STRONG)
    t.equal(await post(quiet, 'set_password', { current_password: STRONG, new_password: PASSWORD }, as), 204)
    t.equal(await post(quiet, 'reset_password', { email: 'bob@example.com' }), 204)
    t.strictSame((await smtp.received(1)).map(aboutOf), ['bob@example.com: Password reset on Latchkey'])
  })
})

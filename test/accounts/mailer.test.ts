/** Links by mail: activation, and reset of password and username. */
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { EmailTokens, uidOf } from '../../src/accounts/email-tokens.ts'
import { accountRoutes } from '../../src/index.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, obtainPair, PASSWORD } from '../support/journeys.ts'
import { linkIn, startSmtp } from './smtp.ts'

const STRONG = 'Zx9-long-pass'
const mount = (app: FastifyInstance) => app.register(accountRoutes, { prefix: '/auth' })

const post = async (app: FastifyInstance, path: string, payload: object, headers = {}) => {
  const answer = await app.inject({ method: 'POST', url: `/auth/users/${path}/`, payload, headers })
  return [answer.statusCode, answer.body === '' ? null : answer.json()]
}
const canSignIn = async (app: FastifyInstance, username: string, password: string) =>
  obtainPair(app, { username, password }).then(
    () => true,
    () => false
  )

onEachDatabase(t, (t, { build }) => {
  t.test('a reset link sets a new password once, and is sent for the email address in any case', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(
      t,
      { mailUrl: smtp.url, mailFrom: 'us@example.com', accountsSiteUrl: 'https://site.example/app/' },
      mount
    )
    await addUser(app, { email: 'alice@example.com' })

    const asked = await post(app, 'reset_password', { email: 'ALICE@example.COM' }, { host: 'evil.example' })
    t.strictSame(asked, [204, null])
    const [mail] = await smtp.received(1)
    t.match(mail, {
      from: 'us@example.com',
      to: ['alice@example.com'],
      text: /^Subject: Password reset on Latchkey\r$/m
    })
    t.match(mail?.text, /https:\/\/site\.example\/app\/password-reset\//)
    t.match(mail?.text, /Content-Type: text\/html/)
    t.notMatch(mail?.text, /evil/)
    const link = linkIn(mail as NonNullable<typeof mail>)

    const weak = await post(app, 'reset_password_confirm', { ...link, new_password: 'alice123' })
    t.match(weak, [400, { new_password: ['The password is too similar to the username.'] }])
    const tries = await Promise.all(
      [1, 2, 3].map((count) => post(app, 'reset_password_confirm', { ...link, new_password: `${STRONG}${count}` }))
    )
    t.strictSame(tries.map(([status]) => status).toSorted(), [204, 400, 400], 'one of three concurrent requests')
    t.match(tries.find(([status]) => status === 400)?.[1], { token: ['Invalid token for given user.'] })
    t.equal(await canSignIn(app, 'alice', PASSWORD), false)
    const won = tries.findIndex(([status]) => status === 204) + 1
    t.ok(await canSignIn(app, 'alice', `${STRONG}${won}`))
    t.ok((await app.auth.users.get('username', 'alice'))?.lastLogin)
  })

  t.test('reset requests return 204 for every valid address; only active users with a password get mail', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { mailUrl: smtp.url }, mount)
    await addUser(app, { email: 'two@example.com' })
    await addUser(app, { username: 'bob', email: 'Two@example.com' })
    await addUser(app, { username: 'ina', email: 'ina@example.com', isActive: false })
    await app.auth.users.createUser({ username: 'nopass', email: 'nopass@example.com', password: null })
    await addUser(app, { username: 'none', email: '' })

    for (const email of [
      'none@example.com',
      'ina@example.com',
      'nopass@example.com',
      'two@example.com',
      "x'--@example.com"
    ]) {
      t.strictSame(await post(app, 'reset_password', { email }), [204, null], email)
    }
    await smtp.received(1)
    await sleep(200)
    t.strictSame(
      smtp.mails.flatMap(({ to }) => to),
      ['two@example.com']
    )
    for (const email of [
      'x',
      '',
      'a@b',
      'a b@example.com',
      'a@example.com\r\nBcc: b@example.com',
      { contains: '@' },
      null
    ]) {
      t.equal((await post(app, 'reset_password', { email }))[0], 400, JSON.stringify(email))
    }
  })

  t.test('a reset link that is expired, changed, outdated or of another user is rejected (400)', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { mailUrl: smtp.url, passwordResetTimeout: '1h' }, mount)
    const { id } = await addUser(app, { email: 'alice@example.com' })
    const other = await addUser(app, { username: 'bob' })
    await post(app, 'reset_password', { email: 'alice@example.com' })
    const [mail] = await smtp.received(1)
    const { uid, token } = linkIn(mail as NonNullable<typeof mail>)
    const confirm = (link: object) => post(app, 'reset_password_confirm', { uid, token, new_password: STRONG, ...link })

    const stale = [400, { token: ['Invalid token for given user.'] }]
    t.strictSame(await confirm({ uid: Buffer.from(String(other.id)).toString('base64url') }), stale)
    for (const bad of [
      `${token}0`,
      token.replace(/.$/, 'g'),
      token.toUpperCase(),
      `0${token}`,
      'x',
      '-',
      'z'.repeat(90)
    ]) {
      t.strictSame(await confirm({ token: bad }), stale, bad)
    }
    for (const bad of ['OTk5', 'x', '!!', Buffer.from('1e0').toString('base64url'), 'MQ'.repeat(20), '__proto__']) {
      t.strictSame(await confirm({ uid: bad }), stale, bad)
    }
    const now = Date.now()
    const clock = t.intercept(Date, 'now', { value: () => now + 3_601_000 })
    t.strictSame(await confirm({}), stale, 'after an hour')
    clock.restore()
    await app.auth.users.updateLastLogin(id)
    t.strictSame(await confirm({}), stale, 'after a login')
  })

  t.test('with accountsSendActivationEmail an account is inactive until its link is used', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { mailUrl: smtp.url, accountsSendActivationEmail: true }, mount)
    const made = await post(app, '', { username: 'bob', email: 'bob@example.com', password: STRONG }).catch(() => null)
    t.ok(made)
    await app.inject({
      method: 'POST',
      url: '/auth/users/',
      payload: { username: 'bob', email: 'bob@example.com', password: STRONG }
    })
    const [mail] = await smtp.received(1)
    const link = linkIn(mail as NonNullable<typeof mail>)

    t.equal(await canSignIn(app, 'bob', STRONG), false)
    t.strictSame(await post(app, 'activation', { ...link, token: 'x' }), [
      400,
      { token: ['Invalid token for given user.'] }
    ])
    t.strictSame(await post(app, 'resend_activation', { email: 'bob@example.com' }), [204, null])
    await smtp.received(2)
    t.strictSame(await post(app, 'activation', link), [204, null])
    t.strictSame(await post(app, 'activation', link), [403, { detail: 'Stale token for given user.' }])
    t.strictSame(await post(app, 'resend_activation', { email: 'bob@example.com' }), [204, null], 'without mail')
    t.equal(await canSignIn(app, 'bob', STRONG), true)
    await sleep(200)
    t.equal(smtp.mails.length, 2)
  })

  t.test('a link by mail resets the username once', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { mailUrl: smtp.url }, mount)
    await addUser(app, { email: 'alice@example.com' })
    await addUser(app, { username: 'bob' })
    t.strictSame(await post(app, 'reset_username', { email: 'alice@example.com' }), [204, null])
    const [mail] = await smtp.received(1)
    const link = linkIn(mail as NonNullable<typeof mail>)

    t.match(await post(app, 'reset_username_confirm', { ...link, new_username: 'bob' }), [
      400,
      { new_username: [/already exists/] }
    ])
    t.strictSame(await post(app, 'reset_username_confirm', { ...link, new_username: 'carol' }), [204, null])
    t.equal((await post(app, 'reset_username_confirm', { ...link, new_username: 'dave' }))[0], 400, 'used link')
    t.ok(await canSignIn(app, 'carol', PASSWORD))
  })
})

const { build } = worldOf('sqlite')

t.test('settings require a repeated password, and report unknown email addresses (400)', async (t) => {
  const app = await build(t, { accountsPasswordRetype: true, accountsShowEmailNotFound: true }, mount)
  const create = async (payload: object) => (await app.inject({ method: 'POST', url: '/auth/users/', payload })).json()
  const bob = { username: 'bob', password: STRONG }

  t.strictSame(await create(bob), { re_password: ['This field is required.'] })
  t.strictSame(await create({ ...bob, re_password: 'x' }), {
    non_field_errors: ["The two password fields didn't match."]
  })
  t.match(await create({ ...bob, re_password: STRONG }), { username: 'bob' })
  t.strictSame(await post(app, 'reset_password', { email: 'x@example.com' }), [
    400,
    ['User with given email does not exist.']
  ])
})

t.test('without a mail server mails are written to files', async (t) => {
  const here = process.cwd()
  process.chdir(t.testdir())
  t.teardown(() => process.chdir(here))
  const app = await build(t, {}, mount)
  await addUser(app, { email: 'alice@example.com' })

  t.strictSame(await post(app, 'reset_password', { email: 'alice@example.com' }), [204, null])
  for (let waited = 0; waited < 100 && !existsSync('data/mail'); waited++) await sleep(50)
  const [file = ''] = readdirSync('data/mail')
  const { uid, token } = linkIn({ from: '', to: [], text: readFileSync(`data/mail/${file}`, 'utf8') })
  t.strictSame(await post(app, 'reset_password_confirm', { uid, token, new_password: STRONG }), [204, null])
})

t.test('an unreachable mail server changes no response and does not stop the app', async (t) => {
  const app = await build(t, { mailUrl: 'smtp://127.0.0.1:1' }, mount)
  await addUser(app, { email: 'alice@example.com' })
  t.strictSame(await post(app, 'reset_password', { email: 'alice@example.com' }), [204, null])
  await sleep(200)
  t.ok(await canSignIn(app, 'alice', PASSWORD))
})

t.test('links of a fallback secret are valid, and a public key cannot sign links (400)', async (t) => {
  const databaseUrl = await worldOf('sqlite').databaseUrl(t)
  const pem = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const older = 'an older secret, which has been replaced'
  const statusOf = async (signingKeyFallbacks: string[], secret: string) => {
    const app = await build(t, { databaseUrl, signingKeyFallbacks }, mount)
    const user = (await app.auth.users.get('username', 'alice')) ?? (await addUser(app))
    const row = await app.auth.database.user.findUniqueOrThrow({ where: { id: user.id } })
    const link = { uid: uidOf(row), token: new EmailTokens([secret], 60).make('passwordReset', row) }
    return (await post(app, 'reset_password_confirm', { ...link, new_password: STRONG }))[0]
  }

  t.equal(await statusOf([], older), 400)
  t.equal(await statusOf([`EdDSA:${pem}`], pem), 400)
  t.equal(await statusOf([`EdDSA:${pem}`], pem.trim()), 400)
  t.equal(await statusOf([`HS512:${older}`, `EdDSA:${pem}`], older), 204)
})

t.test('resend_activation returns 400 without accountsSendActivationEmail', async (t) => {
  const app = await build(t, {}, mount)
  t.strictSame(await post(app, 'resend_activation', { email: 'a@example.com' }), [400, null])
})

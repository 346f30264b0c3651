/** Nobody can be flooded with emails, and neither a response nor the time of one reveals whether an email is sent. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Delivery } from '../../src/accounts/delivery.ts'
import { accountRoutes } from '../../src/index.ts'
import { linkIn, type Received, startSmtp } from '../accounts/smtp.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'

onEachDatabase(t, (t, { build }) => {
  t.test('accounts with the same address get one email with a link for each', async (t) => {
    const smtp = await startSmtp(t)
    const app = await build(t, { mailUrl: smtp.url }, (app) => app.register(accountRoutes, { prefix: '/auth' }))
    const names = Array.from({ length: 12 }, (_, index) => `user${index}`)
    for (const username of names) await addUser(app, { username, email: 'one@example.com' })
    const post = (path: string, payload: object) =>
      app.inject({ method: 'POST', url: `/auth/users/${path}/`, payload }).then(({ statusCode }) => statusCode)

    t.equal(await post('reset_password', { email: 'one@example.com' }), 204)

    const [mail] = await smtp.received(1)
    const text = (mail as Received).text.replace(/=\r\n/g, '')
    for (const username of names) t.match(text, new RegExp(`^${username}:\r$`, 'm'))
    const link = linkIn(mail as Received)
    t.equal(await post('reset_password_confirm', { ...link, new_password: 'an0ther-Pass!' }), 204)
  })

  t.test(
    'an address gets a limited number of emails an hour, with the same responses, also concurrently',
    async (t) => {
      const smtp = await startSmtp(t)
      const settings = { mailUrl: smtp.url, accountsEmailsPerHour: 3, accountsSendActivationEmail: true }
      const app = await build(t, settings, (app) => app.register(accountRoutes, { prefix: '/auth' }))
      await addUser(app, { email: 'alice@example.com' })
      await addUser(app, { username: 'bob', email: 'bob@example.com' })
      const requests = Array.from({ length: 10 }, (_, index) => index)
      const ask = (email: string) =>
        app.inject({ method: 'POST', url: '/auth/users/reset_password/', payload: { email } })

      const answers = await Promise.all(
        requests.map((index) => ask(index % 2 === 0 ? 'alice@example.com' : 'ALICE@example.com'))
      )
      t.ok(answers.every(({ statusCode }) => statusCode === 204))
      for (const index of requests) {
        const payload = { username: `victim${index}`, email: 'alice@example.com', password: 'an0ther-Pass!' }
        t.equal((await app.inject({ method: 'POST', url: '/auth/users/', payload })).statusCode, 201)
      }
      await ask('bob@example.com')
      await sleep(300)
      t.equal((await smtp.received(4)).filter(({ to }) => to[0] === 'alice@example.com').length, 3)

      await app.auth.database.emailCount.updateMany({ data: { startedAt: new Date(Date.now() - 3_601_000) } })
      await ask('alice@example.com')
      await smtp.received(5)
    }
  )
})

t.test('the limit is of the mailbox, whatever its spelling, and notices are limited apart', async (t) => {
  const smtp = await startSmtp(t)
  const settings = { mailUrl: smtp.url, accountsEmailsPerHour: 2 }
  const app = await worldOf('sqlite').build(t, settings, (app) => app.register(accountRoutes, { prefix: '/auth' }))
  const spellings = ['bob@example.com', '"bob"@example.com', '"b\\ob"@example.com', 'BOB@example.com']
  for (const [index, email] of spellings.entries()) {
    await addUser(app, { username: `user${index}`, email })
    const payload = { email }
    await app.inject({ method: 'POST', url: '/auth/users/reset_password/', payload })
  }
  await sleep(300)
  await smtp.received(2)

  const { users } = app.auth
  const { id } = await addUser(app, { username: 'mallory', email: 'mallory@example.com' })
  for (let round = 0; round < 5; round++) {
    await users.setEmail(id, 'bob@example.com')
    await users.setEmail(id, `other${round}@example.com`)
  }
  // One to mallory's first address, two to bob, and one to each of four others.
  await smtp.received(9)
  const toBob = smtp.mails.filter(({ to }) => to[0] === 'bob@example.com')
  t.equal(toBob.filter(({ text }) => /has been changed/.test(text)).length, 2)
})

t.test('emails that wait are sent when the app closes', async (t) => {
  const smtp = await startSmtp(t)
  const settings = { mailUrl: smtp.url, accountsEmailDelay: '60s' }
  const app = await worldOf('sqlite').build(t, settings, (app) => app.register(accountRoutes, { prefix: '/auth' }))
  await addUser(app, { email: 'alice@example.com' })
  const payload = { email: 'alice@example.com' }
  await app.inject({ method: 'POST', url: '/auth/users/reset_password/', payload })
  await app.close()
  t.equal((await smtp.received(1))[0]?.to[0], 'alice@example.com')
})

t.test('emails are sent after a random delay, and at once when the app closes', async (t) => {
  const sent: [to: string, at: number][] = []
  const statements: Promise<number[]> = Promise.resolve([0, 1])
  const database = { emailCount: { deleteMany: () => null }, $executeRaw: () => null, $transaction: () => statements }
  const parts = {
    database: database as never,
    send: async ({ to }: { to: string }) => void sent.push([to, performance.now()]),
    limitPerHour: 5,
    onFault: (error: unknown) => t.fail(String(error))
  }
  const mail = (to: string) => ({ to, subject: '', text: '', html: '' })
  const delivery = new Delivery({ ...parts, maxDelay: 0.2 })
  const startedAt = performance.now()
  for (let index = 0; index < 20; index++) delivery.schedule(() => [mail(String(index))])
  t.equal(sent.length, 0)
  await sleep(400)
  const delays = sent.map(([, at]) => at - startedAt)
  t.equal(sent.length, 20)
  t.ok(Math.min(...delays) >= 19, 'none at once')
  t.not(sent.map(([to]) => to).join(), Array.from({ length: 20 }, (_, index) => index).join(), 'in random order')

  const slow = new Delivery({ ...parts, maxDelay: 60 })
  slow.schedule(() => [mail('last')])
  await slow.close()
  t.equal(sent.at(-1)?.[0], 'last')
})

/** Breached passwords: look-up by hash prefix (k-anonymity) at a server on loopback. */
import Fastify from 'fastify'
import t from 'tap'
import { accountRoutes } from '../../src/index.ts'
import { Passwords } from '../../src/passwords/passwords.ts'
import latchkey from '../../src/plugin.ts'
import { worldOf } from '../support/build.ts'
import { CHEAP } from '../support/settings.ts'
import { type Answer, KNOWN, listing, PREFIX, REST, startBreaches } from './breaches.ts'

const OTHERS = Array.from({ length: 5000 }, (_, at) => `${at.toString(16).toUpperCase().padStart(35, '0')}:${at % 3}`)

/** Creates password rules with a look-up. @returns `told` collects the reports of failed look-ups */
function rulesWith(passwordBreachedUrl: string | null) {
  const told: string[] = []
  const passwords = new Passwords({ passwordMinLength: 8, passwordBreachedUrl }, (reason) => told.push(reason))
  const codesOf = async (password: string) => (await passwords.faultsOf(password, null)).map(({ code }) => code)
  return { passwords, told, codesOf }
}

t.test('breached passwords are rejected, and only five digits of the hash are sent', async (t) => {
  const { asked, url } = await startBreaches(t, listing(...OTHERS, `${REST}:42`))
  const { passwords, told, codesOf } = rulesWith(url)

  t.strictSame(await passwords.faultsOf(KNOWN, null), [
    { message: 'This password has appeared in a data breach.', code: 'password_breached' }
  ])
  t.match(asked, [{ url: `/range/${PREFIX}`, padding: 'true' }])
  t.notMatch(asked[0]?.sent, new RegExp(`${KNOWN}|${REST.slice(0, 6)}`, 'i'))
  t.strictSame(await codesOf(`${KNOWN}!`), [])
  t.strictSame(told, [])
})

t.test('padding entries with count 0 are ignored, and hashes compared in any case', async (t) => {
  for (const [entry, codes] of Object.entries({
    [`${REST}:0`]: [],
    [`${REST.toLowerCase()}:1\n`]: ['password_breached'],
    [`${REST.slice(0, -1)}${REST.endsWith('0') ? '1' : '0'}:7`]: []
  })) {
    const { url } = await startBreaches(t, listing(...OTHERS, entry))
    const { told, codesOf } = rulesWith(url)
    t.strictSame(await codesOf(KNOWN), codes, entry)
    t.strictSame(told, [])
  }
})

t.test('no request is sent for an otherwise invalid password, or without passwordBreachedUrl', async (t) => {
  const { asked, url } = await startBreaches(t)
  t.strictSame(await rulesWith(url).codesOf('password'), ['password_too_common'])
  t.strictSame(await rulesWith(null).codesOf(KNOWN), [])
  t.strictSame(asked, [])
})

t.test('if the look-up fails the password is accepted and the reason reported without the hash', async (t) => {
  const elsewhere = await startBreaches(t)
  const wrong: [answer: Answer, reason: RegExp][] = [
    [(response) => response.writeHead(500).end(`${REST}:42`), /^the server responded with status 500$/],
    [(response) => response.writeHead(404).end(), /^the server responded with status 404$/],
    [(response) => response.writeHead(302, { location: `${elsewhere.url}${PREFIX}` }).end(), /redirect/],
    [(response) => response.end(`<html>${REST}:42`), /^the response is not a list of password hashes$/],
    [(response) => response.end(`${REST}:x`), /^the response is not a list of password hashes$/],
    [(response) => response.end(), /^the response is not a list of password hashes$/],
    [(response) => response.end(`${REST}:42\r\n`.repeat(10_000)), /^the response has more than 262144 bytes$/],
    [(response) => response.writeHead(200, { 'content-length': 100 }).end(REST, () => response.destroy()), /./],
    [(response) => response.destroy(), /./]
  ]
  await Promise.all(
    wrong.map(async ([answer, reason], at) => {
      const { url } = await startBreaches(t, answer)
      const { told, codesOf } = rulesWith(url)
      t.strictSame(await codesOf(KNOWN), [], `${at}`)
      t.match(told, [reason], `${at}: ${told}`)
      t.notMatch(told.join(), new RegExp(`${PREFIX}|${KNOWN}|range`, 'i'))
    })
  )
  t.strictSame(elsewhere.asked, [], 'redirects are not followed')
})

t.test('look-ups time out after two seconds', async (t) => {
  const { timeout } = AbortSignal
  const patience: number[] = []
  t.intercept(AbortSignal, 'timeout', {
    value: (milliseconds: number) => {
      patience.push(milliseconds)
      return timeout.call(AbortSignal, milliseconds / 20)
    }
  })
  for (const answer of [() => undefined, (response) => void response.write(`${REST}:42\r\n`)] satisfies Answer[]) {
    const { told, codesOf } = rulesWith((await startBreaches(t, answer)).url)
    t.strictSame(await codesOf(KNOWN), [])
    t.match(told, [/timeout/])
  }
  t.strictSame(patience, [2000, 2000])
})

t.test('failed look-ups are reported at most once a minute', async (t) => {
  const { url, stop } = await startBreaches(t)
  await stop()
  const { told, codesOf } = rulesWith(url)
  for (let count = 0; count < 3; count++) t.strictSame(await codesOf(KNOWN), [])
  t.strictSame(told, ['ECONNREFUSED'])
  const now = performance.now()
  t.intercept(performance, 'now', { value: () => now + 61_000 })
  t.strictSame(await codesOf(KNOWN), [])
  t.equal(told.length, 2)
})

t.test('a registration with a breached password returns 400, or 201 and a warning if the look-up fails', async (t) => {
  const [up, down] = [await startBreaches(t), await startBreaches(t)]
  await down.stop()
  const databaseUrl = await worldOf('sqlite').databaseUrl(t)
  for (const [passwordBreachedUrl, status, logged] of [
    [up.url, 400, 0],
    [down.url, 201, 1]
  ] as const) {
    const lines: string[] = []
    const app = Fastify({ logger: { level: 'warn', stream: { write: (line: string) => void lines.push(line) } } })
    t.teardown(() => app.close())
    await app.register(latchkey, { ...CHEAP, databaseUrl, passwordBreachedUrl })
    await app.register(accountRoutes, { prefix: '/auth' })
    const payload = { username: 'bob', password: KNOWN }
    const answer = await app.inject({ method: 'POST', url: '/auth/users/', payload })

    t.equal(answer.statusCode, status)
    if (status === 400) {
      t.strictSame(answer.json(), { password: ['This password has appeared in a data breach.'] })
    }
    t.equal(lines.length, logged)
    t.notMatch(lines.join(), new RegExp(`${PREFIX}|${KNOWN}`, 'i'))
  }
})

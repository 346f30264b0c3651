/** The login rate limit by address, and attempts to evade it. */
import t from 'tap'
import { listening } from '../support/listening.ts'
import { mint } from '../support/tokens.ts'

const JSON_TYPE = { 'content-type': 'application/json' }

function logIn(origin: string, headers: Record<string, string> = {}, url = '/api/token/'): Promise<Response> {
  const body = JSON.stringify({ username: 'nobody', password: 'x' })
  return fetch(origin + url, { method: 'POST', body, headers: { ...JSON_TYPE, ...headers } })
}

t.test(
  'of 40 concurrent logins only the permitted number is processed, and the others return 429 with Retry-After',
  async (t) => {
    const { origin } = await listening(t, { loginRate: '5/minute' })
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, at) => logIn(origin, { 'x-forwarded-for': `10.0.0.${at}` }))
    )
    t.equal(answers.filter(({ status }) => status === 401).length, 5)
    for (const answer of answers.filter(({ status }) => status !== 401)) {
      t.equal(answer.status, 429)
      const seconds = Number(answer.headers.get('retry-after'))
      t.ok(seconds >= 1 && seconds <= 60)
      t.match(await answer.text(), /^\{"detail":"Request was throttled\. Expected available in \d+ seconds?\."\}$/)
    }
  }
)

t.test('no header, spelling of the URL or format of the body evades the limit', async (t) => {
  const { origin } = await listening(t, { loginRate: '2/hour' })
  for (let tries = 0; tries < 2; tries++) t.equal((await logIn(origin)).status, 401)
  const names = [
    'x-forwarded-for',
    'x-real-ip',
    'client-ip',
    'true-client-ip',
    'cf-connecting-ip',
    'x-client-ip',
    'x-cluster-client-ip'
  ]
  for (const name of [...names, 'user-agent', 'cookie', 'authorization', 'accept-language']) {
    t.equal((await logIn(origin, { [name]: '203.0.113.7' })).status, 429, name)
  }
  t.equal((await logIn(origin, { forwarded: 'for=203.0.113.7' })).status, 429)
  for (const url of ['/api/token', '/api/token/?a=1', '/api/token?', '/api/%74oken/']) {
    t.equal((await logIn(origin, {}, url)).status, 429, url)
  }
  const form = new URLSearchParams({ username: 'nobody', password: 'x' })
  t.equal((await fetch(`${origin}/api/token/`, { method: 'POST', body: form })).status, 429)

  const verified = await fetch(`${origin}/api/token/verify/`, {
    method: 'POST',
    body: JSON.stringify({ token: mint() }),
    headers: JSON_TYPE
  })
  t.equal(verified.status, 200, 'verify is not limited')
  t.equal((await fetch(`${origin}/health/ready`)).status, 200)
})

t.test('behind a trusted proxy the address is the one that the proxy adds to X-Forwarded-For', async (t) => {
  const { origin } = await listening(t, { loginRate: '2/hour', trustProxy: '127.0.0.1,10.0.0.0/8' })
  const callers: ((at: number) => string)[] = [
    () => '203.0.113.1',
    (at) => `192.0.2.${at}, 203.0.113.2`,
    (at) => `192.0.2.${at}, 203.0.113.3, 10.0.0.7`,
    (at) => `2001:db8:1:2::${at}`,
    (at) => ['2001:db8:5::1', '2001:0DB8:0005::2', '2001:db8:5:0::3'][at] ?? '',
    (at) => (at === 0 ? '::ffff:203.0.113.9' : '203.0.113.9')
  ]
  for (const forwardedFor of callers) {
    const statuses: number[] = []
    for (let at = 0; at < 3; at++) statuses.push((await logIn(origin, { 'x-forwarded-for': forwardedFor(at) })).status)
    t.strictSame(statuses, [401, 401, 429], forwardedFor(1))
  }
})

t.test('X-Forwarded-For is ignored unless the peer is a trusted proxy', async (t) => {
  const { origin } = await listening(t, { loginRate: '2/hour', trustProxy: '10.0.0.0/8' })
  const statuses: number[] = []
  for (let at = 0; at < 3; at++) statuses.push((await logIn(origin, { 'x-forwarded-for': `192.0.2.${at}` })).status)
  t.strictSame(statuses, [401, 401, 429])
})

// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the cases' own placeholders
/** The runner with a fake app, so that only the runner is tested. */
import t from 'tap'
import { SIGNING_KEY } from '../support/settings.ts'
import { claimsOf, mint, secondsNow } from '../support/tokens.ts'
import { type Case, type Change, groupOf, type HttpRequest, readCases } from './case.ts'
import { corruptions } from './corrupt.ts'
import { type Answer, runCase, type Target } from './runner.ts'
import { at, fillIn, tellTime } from './variables.ts'

interface Fake extends Target {
  sent: HttpRequest[]
  changes: Change[]
}

/** A target that records requests and changes. @param answer replaces parts of its constant response */
function fakeTarget(answer: Partial<Answer> = {}): Fake {
  const sent: HttpRequest[] = []
  const changes: Change[] = []
  return {
    sent,
    changes,
    signingKey: SIGNING_KEY,
    send: async (request) => {
      sent.push(request)
      const token = mint({ claims: { jti: 'a', exp: secondsNow() + 60 } })
      const body = JSON.stringify({ token, detail: 'No.', nested: [{ id: 1, ok: null }] })
      return { status: 401, headers: { 'www-authenticate': 'Bearer' }, body, ...answer }
    },
    change: async (change) => void changes.push(change),
    query: async () => [
      [1, 0],
      ['a', null]
    ],
    mails: () => 1,
    resetToken: async (username) => ({ uid: `uid of ${username}`, tok: 't' })
  }
}

const GOOD: Case = {
  name: 'fake.good',
  setup: [
    { http: { method: 'GET', path: '/' }, expect: { status: 401, json: { $any: true } }, save: { id: '/nested/0/id' } },
    { mint: { claims: { exp: { $now: 9 }, custom: '${id}' }, omit: ['jti'] }, as: 'minted' },
    { decode: '${minted}', save: { custom: '/custom' } },
    { db: { op: 'set_password', username: 'alice', password: '${pw}' } },
    { reset_token: 'alice' }
  ],
  request: { method: 'POST', path: '/x/', json: { pw: '${pw}', id: '${custom}', both: '${uid}-${tok}' } },
  expect: {
    status: 401,
    json: {
      token: {
        $jwt: {
          keys: ['token_type', 'exp', 'iat', 'jti', 'user_id'],
          lifetime: 60,
          header: { alg: 'HS256', typ: 'JWT' },
          claims: { user_id: '1', jti: { $not: 'b' }, token_type: { $re: '^refresh$' }, iat: { $now: 0 } }
        }
      },
      detail: 'No.',
      nested: [{ id: '${id}', ok: null }]
    },
    headers: { 'www-authenticate': 'Bearer', allow: null },
    key_order: ['token', 'detail', 'nested']
  },
  db_expect: {
    'select 1': [
      [1, 0],
      ['a', null]
    ]
  },
  mails: 1
}
t.test('a correct case passes, and its steps are executed', async (t) => {
  const target = fakeTarget()

  t.strictSame(await runCase(GOOD, target), [])

  t.equal(target.sent.length, 2)
  t.strictSame(target.sent[1]?.json, { pw: 's3cret-Pass!', id: 1, both: 'uid of alice-t' })
  t.strictSame(target.changes, [{ op: 'set_password', username: 'alice', password: 's3cret-Pass!' }])
})

t.test('the runner detects every corruption of a case', async (t) => {
  const found = corruptions(GOOD)

  for (const { label, spoilt } of found) t.not((await runCase(spoilt, fakeTarget())).length, 0, label)

  const labels = found.map(({ label }) => label)
  t.equal(new Set(labels).size, labels.length, 'labels are unique')
  for (const label of ['status', 'json.detail', 'header www-authenticate', 'header allow', 'key_order', 'mails']) {
    t.ok(labels.includes(label), label)
  }
  for (const label of ['json.token: user_id', 'json.token: lifetime', 'select 1[0][0]', 'select 1 with one less']) {
    t.ok(labels.includes(label), label)
  }
})

t.test('a response that differs from the recorded one fails the case', async (t) => {
  const answers: Partial<Answer>[] = [
    { status: 200 },
    { body: '' },
    { body: '{}' },
    { body: 'not JSON' },
    { headers: {} },
    { headers: { 'www-authenticate': 'bearer' } },
    { headers: { 'www-authenticate': 'Bearer', allow: 'GET' } }
  ]
  const { setup: _, ...bare } = GOOD
  const good: Case = { ...bare, request: { method: 'GET', path: '/' }, expect: fillIn(GOOD.expect, { id: 1 }) }
  t.strictSame(await runCase(good, fakeTarget()), [])
  for (const answer of answers) t.not((await runCase(good, fakeTarget(answer))).length, 0, JSON.stringify(answer))
})

t.test('a failed setup step fails the case, or throws if it saves variables', async (t) => {
  const request = { method: 'GET', path: '/' }
  const expect = { status: 401 }
  t.strictSame(await runCase({ name: 'x', request, expect }, fakeTarget()), [])

  const unexpected: Case = { name: 'x', setup: [{ http: request }], request, expect }
  t.match(await runCase(unexpected, fakeTarget()), [/^step 1: status: expected 200, but it is 401/])
  const unsaved: Case = { name: 'x', setup: [{ http: request, save: { a: '/a' } }], request, expect }
  await t.rejects(runCase(unsaved, fakeTarget()), /status: expected 200/)
  const nothing: Case = { ...unsaved, setup: [{ http: request, expect, save: { a: '/a' } }] }
  await t.rejects(runCase(nothing, fakeTarget()), /there is nothing at \/a/)
  const unknown: Case = { name: 'x', request: { ...request, path: '/${nobody}/' }, expect }
  await t.rejects(runCase(unknown, fakeTarget()), /the case has saved no nobody/)
})

t.test('an unknown number of emails fails the case', async (t) => {
  const recorded: Case = { name: 'x', request: { method: 'GET', path: '/' }, expect: { status: 401 }, mails: 0 }
  t.match(await runCase(recorded, { ...fakeTarget(), mails: () => undefined }), [/nobody counts them/])
})

t.test('variables keep their type if they are the whole value, and $now becomes a time in requests', async (t) => {
  t.strictSame(fillIn({ a: '${n}', b: ['x${n}y'], c: '^[0-9]{3}$' }, { n: 5 }), { a: 5, b: ['x5y'], c: '^[0-9]{3}$' })
  t.strictSame(tellTime({ exp: { $now: -5 }, deep: [{ $now: 1 }], x: null }, 100), { exp: 95, deep: [101], x: null })
  t.equal(at({ a: [{ b: null }] }, '/a/0/b'), null)
  t.strictSame(claimsOf(mint({ omit: ['jti', 'exp', 'iat'] })), { token_type: 'refresh', user_id: '1' })
})

t.test('all recorded cases can be corrupted and have unique names', async (t) => {
  const cases = readCases()
  t.equal(cases.length, 198)
  t.equal(new Set(cases.map(({ name }) => name)).size, cases.length)
  for (const recorded of cases) t.not(corruptions(recorded).length, 0, `${groupOf(recorded)}: ${recorded.name}`)
})

/** Claims of every type and size in validly signed tokens: none authenticates by mistake or reaches a query. */
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { onEachDatabase, type TestWorld, worldOf } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { secondsNow } from '../support/tokens.ts'
import { DOORS, type Door, isRefusal, show, tokenFor, tokenWith } from './doors.ts'

const LONG_AGO = 1_700_000_000
const deep = `${'['.repeat(1200)}${']'.repeat(1200)}`

/** JSON text, which can express more than JavaScript values. */
const NO_TIMES = ['null', 'true', '"1"', `"${secondsNow() + 300}"`, '"NaN"', '[]', `[${secondsNow()}]`, '{}', '1e400']
const TIMES: Record<string, string[]> = {
  exp: [...NO_TIMES, '0', '-1', '-1e400', `${LONG_AGO}`, '253402300800', '9007199254740993', '9'.repeat(400)],
  iat: [...NO_TIMES, '4102444800', '253402300800', '99999999999999999999'],
  nbf: [...NO_TIMES, '4102444800', '253402300800', '1e308']
}
const IDS = [
  'null',
  '1',
  'true',
  '[]',
  '["a"]',
  '{}',
  '{"contains":""}',
  '""',
  '"a b"',
  '"a\\n"',
  '"a\\u0000"',
  '"\\ud800"'
]
const NO_ID = [...IDS, '"ａ"', `"' OR 1=1 --"`, `"${'a'.repeat(65)}"`, `"${'a'.repeat(300)}"`]
const NO_SUBJECT = ['null', '1', 'true', '[]', '{}']

/** Ids that no user can have, though Python or SQL would convert some of them. */
const NOBODY = [
  ...['true', 'false', '1.5', '-1', '2147483648', '9007199254740993', '99999999999999999999', '1e400'],
  ...['"１"', '"1\\n"', '" 1"', '"+1"', '"1e0"', '"01"', '"0x1"', '"1.0"', '"-1"', '"1_0"', '"٢"', '"1\\u0000"'],
  ...['"2147483648"', '"99999999999999999999"', '"NaN"', '"Infinity"', '"%"', '"1 OR 1=1"', '"\\ud800"'],
  ...[`"${'9'.repeat(1000)}"`, '"7b2e5e4e-0000-4000-8000-000000000000"'],
  ...['[]', '[1]', '["1"]', '[["1"]]', '{}', '{"contains":""}', '{"not":"0"}', '{"equals":1}', '{"toString":1}'],
  ...['{"toString":null,"valueOf":null}', '{"__proto__":null}', deep]
]
/** Ids of tokens without a user, which SimpleJWT refreshes; the new tokens must not authenticate requests. */
const NAMELESS = ['null', '""', '0', '-0']

async function opensNothing(app: FastifyInstance, door: Door, token: string): Promise<boolean> {
  const { statusCode, body } = await show(app, door, token)
  if (statusCode !== 200) return statusCode === 401
  const { access, token: sliding } = JSON.parse(body)
  return door !== 'header' && (await show(app, 'header', access ?? sliding)).statusCode === 401
}

async function areRefused(t: Test, app: FastifyInstance, name: string, value: string): Promise<void> {
  for (const door of DOORS) {
    const answer = await show(app, door, tokenWith(door, name, value))
    isRefusal(t, answer, 401, `${door}: ${name} ${value.slice(0, 40)}`)
    t.match(answer.body, '"code":"token_not_valid"')
  }
}

t.test(
  'every endpoint rejects times and subjects of other types, and tokens without expiry or without jti (401)',
  async (t) => {
    const app = await worldOf('sqlite').build(t)
    await addUser(app)
    for (const [name, values] of Object.entries({ ...TIMES, sub: NO_SUBJECT })) {
      for (const value of values) await areRefused(t, app, name, value)
    }
    for (const door of DOORS) {
      for (const name of ['exp', 'jti'])
        isRefusal(t, await show(app, door, tokenFor(door, {}, [name])), 401, `no ${name}`)
    }
    for (const end of ['null', 'true', '"9999999999"', '[]', '{}', '0', '-1e400', `${LONG_AGO}`]) {
      isRefusal(t, await show(app, 'sliding', tokenWith('sliding', 'refresh_exp', end)), 401, `refresh_exp ${end}`)
    }
  }
)

async function areNobodys(t: Test, build: TestWorld['build'], stateless: boolean): Promise<void> {
  const app = await build(t, { stateless, authTokenClasses: ['AccessToken', 'SlidingToken'] })
  t.equal((await addUser(app)).id, 1)
  for (const value of [...NOBODY, ...NAMELESS]) {
    for (const door of ['header', 'refresh', 'sliding'] as const) {
      const token = tokenWith(door, 'user_id', value)
      t.ok(await opensNothing(app, door, token), `${door}: ${value.slice(0, 40)}`)
    }
  }
  for (const value of NOBODY) {
    isRefusal(t, await show(app, 'blacklist', tokenWith('blacklist', 'user_id', value)), 401, value.slice(0, 40))
  }
  for (const value of ['1', '"1"', '1.0', '1e0']) {
    t.equal((await show(app, 'header', tokenWith('header', 'user_id', value))).statusCode, 200, value)
  }
}

t.test('with stateless an impossible user id authenticates no request', (t) =>
  areNobodys(t, worldOf('sqlite').build, true)
)

t.test('claims named like object members, and deeply nested claims, have no effect', async (t) => {
  const app = await worldOf('sqlite').build(t)
  await addUser(app)
  for (const door of DOORS) {
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'then', 'toJSON', 'x']) {
      for (const value of ['{"token_type":"access","is_staff":true}', 'null', '1', '"x"', deep]) {
        const { statusCode, body } = await show(app, door, tokenWith(door, name, value))
        t.equal(statusCode, 200, `${door}: ${name} ${value.slice(0, 40)} ${body.slice(0, 100)}`)
      }
    }
  }
  t.notOk('is_staff' in {}, 'no prototype is polluted')
})

onEachDatabase(t, (t, { build }) => {
  t.test('every endpoint rejects a jti of another type or format (401)', async (t) => {
    const app = await build(t)
    await addUser(app)
    for (const value of NO_ID) await areRefused(t, app, 'jti', value)
  })

  t.test('without stateless an impossible user id authenticates no request', (t) => areNobodys(t, build, false))

  t.test('tokens of inactive and missing users are rejected by guards and refreshes (401)', async (t) => {
    const app = await build(t, { stateless: false })
    const ina = await addUser(app, { username: 'ina', isActive: false })
    for (const id of [ina.id, 999]) {
      for (const door of ['header', 'refresh', 'sliding'] as const) {
        isRefusal(t, await show(app, door, tokenFor(door, { user_id: `${id}` })), 401, `${door}: ${id}`)
      }
    }
  })

  t.test('any value of any claim returns 200 or 401, and never an error', async (t) => {
    const app = await build(t)
    await addUser(app)
    const names = fc.constantFrom('user_id', 'jti', 'exp', 'iat', 'nbf', 'sub', 'aud', 'iss', 'token_type', 'x')
    const value = fc.oneof(fc.jsonValue(), fc.double(), fc.bigInt(), fc.string({ unit: 'binary' }))
    const json = value.map((it) => (typeof it === 'bigint' ? `${it}` : JSON.stringify(it)))
    await fc.assert(
      fc.asyncProperty(names, json, fc.constantFrom(...DOORS), async (name, text, door) => {
        const { statusCode } = await show(app, door, tokenWith(door, name, text))
        // verify returns 400 for a blacklisted token, and another run may have blacklisted it.
        return [200, 401].includes(statusCode) || (statusCode === 400 && door === 'verify')
      }),
      { numRuns: 200 }
    )
  })
})

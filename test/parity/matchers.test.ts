import t from 'tap'
import { SIGNING_KEY } from '../support/settings.ts'
import { mint, secondsNow } from '../support/tokens.ts'
import type { Json } from './case.ts'
import { differences } from './matchers.ts'

const moment = { now: secondsNow(), signingKey: SIGNING_KEY }
const count = (expected: Json, actual: Json | undefined) => differences(expected, actual, 'json', moment).length

t.test('JSON is compared by keys, types and order of arrays', async (t) => {
  const same: Json[] = [null, true, 0, '', 'a', [], [1, [2]], {}, { a: { b: null } }]
  for (const [index, expected] of same.entries()) {
    for (const [other, actual] of same.entries()) {
      t.equal(count(expected, actual) === 0, index === other, `${JSON.stringify(expected)}, ${JSON.stringify(actual)}`)
    }
  }
  t.equal(count({ a: 1, b: 2 }, { b: 2, a: 1 }), 0, 'the order of keys is ignored')
  t.equal(count({ a: 1 }, { a: 1, b: 2 }), 1, 'additional key')
  t.equal(count({ a: 1, b: 2 }, { a: 1 }), 1, 'missing key')
  t.equal(count({ a: null }, {}), 1, 'null is not absent')
  t.equal(count([1, 2], [2, 1]), 2, 'the order of arrays counts')
  t.equal(count(1, '1'), 1)
  t.equal(count(1, true), 1)
})

t.test('$re, $any, $not and $now match values', async (t) => {
  const { now } = moment
  const table: [expected: Json, good: Json[], bad: (Json | undefined)[]][] = [
    [{ $re: '^a+$' }, ['a', 'aa'], ['b', '', 1, null, undefined]],
    [{ $any: true }, ['a', null, {}], [undefined]],
    [{ $not: 'a' }, ['b', null, 1], ['a', undefined]],
    [{ $now: 0 }, [now, now - 3, now + 3], [now - 4, now + 4, now + 0.5, String(now), null, undefined]],
    [{ $now: 100 }, [now + 100], [now]]
  ]
  for (const [expected, good, bad] of table) {
    for (const actual of good) t.equal(count(expected, actual), 0, `${JSON.stringify(expected)}, ${actual}`)
    for (const actual of bad) t.equal(count(expected, actual), 1, `${JSON.stringify(expected)}, not ${actual}`)
  }
})

t.test('unknown matchers throw', async (t) => {
  t.throws(() => count({ $jwz: {} }, 'x'), /is no matcher/)
  t.throws(() => count({ $re: 'x', $any: true }, 'x'), /is no matcher/)
})

t.test('$jwt compares header, order of claims, lifetime and given claims', async (t) => {
  const good = mint({ claims: { exp: moment.now + 60, iat: moment.now, foo: { bar: [1] } } })
  const keys = ['token_type', 'exp', 'iat', 'jti', 'user_id', 'foo']
  const table: [string, Json, boolean][] = [
    ['no expectation', {}, true],
    ['header', { header: { alg: 'HS256', typ: 'JWT' } }, true],
    ['header in another order', { header: { typ: 'JWT', alg: 'HS256' } }, false],
    ['part of the header', { header: { alg: 'HS256' } }, false],
    ['claims in order', { keys }, true],
    ['claims in another order', { keys: [...keys].reverse() }, false],
    ['a missing claim in the order', { keys: keys.slice(1) }, false],
    ['lifetime', { lifetime: 60 }, true],
    ['a second more', { lifetime: 61 }, true],
    ['two seconds more', { lifetime: 62 }, false],
    ['some claims', { claims: { user_id: '1', iat: { $now: 0 }, foo: { bar: [1] } } }, true],
    ['a claim of another type', { claims: { user_id: 1 } }, false],
    ['an absent claim', { claims: { bar: 1 } }, false],
    ['part of a claim', { claims: { foo: {} } }, false]
  ]
  for (const [title, expected, holds] of table) t.equal(count({ $jwt: expected }, good) === 0, holds, title)
})

t.test('$jwt does not match tokens with an invalid signature and other values', async (t) => {
  t.equal(count({ $jwt: {} }, mint({ key: 'another' })), 1, 'signed with another key')
  t.equal(count({ $jwt: {} }, mint({ alg: 'none' })), 1, 'unsigned')
  t.equal(count({ $jwt: {} }, 'a.b'), 1)
  t.equal(count({ $jwt: {} }, null), 1)
  t.equal(count({ $jwt: {} }, undefined), 1)
})

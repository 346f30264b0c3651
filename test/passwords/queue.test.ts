import { availableParallelism } from 'node:os'
import bcrypt from 'bcrypt'
import t, { type Test } from 'tap'
import { HashingOverloaded } from '../../src/passwords/hashers.ts'
import { CORRECT, preferring } from './hashing.ts'

const PARALLEL = availableParallelism()
const ROOM = PARALLEL + 100

/** Delays bcrypt hashes. @returns functions that complete them */
function holdHashes(t: Test) {
  const held: (() => void)[] = []
  t.intercept(bcrypt, 'hash', {
    value: (_password: string, salt: string) =>
      new Promise((resolve) => held.push(() => resolve(salt + '.'.repeat(31))))
  })
  return held
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('as many hashes run concurrently as there are cores, in all hashers together', async (t) => {
  const held = holdHashes(t)
  const asked = Array.from({ length: 3 * PARALLEL }, () => preferring('bcrypt').makePassword('secret'))

  for (let done = 0; done < 3; done++) {
    await turn()
    t.equal(held.length, PARALLEL)
    for (const letGo of held.splice(0)) letGo()
  }

  await Promise.all(asked)
  t.equal(held.length, 0)
})

t.test('hashes are computed in the order of the calls', async (t) => {
  const held = holdHashes(t)
  const served: number[] = []
  const asked = Array.from({ length: PARALLEL + 3 }, async (_, index) => {
    await preferring('bcrypt').makePassword('secret')
    served.push(index)
  })

  await turn()
  for (; held.length > 0; await turn()) held.shift()?.()
  await Promise.all(asked)

  t.strictSame(
    served,
    asked.map((_, index) => index)
  )
})

t.test('with a hundred waiting, further hashes are rejected (503), and the waiting ones complete', async (t) => {
  const held = holdHashes(t)
  const hashers = preferring('bcrypt')
  const accepted = Array.from({ length: ROOM }, () => hashers.makePassword('secret'))

  const refusals = await Promise.all([
    hashers.makePassword('secret').catch((error) => error),
    hashers.checkPassword('secret', null).catch((error) => error),
    hashers.runDummyHash('secret').catch((error) => error),
    preferring('md5')
      .makePassword('secret')
      .catch((error) => error)
  ])
  for (; held.length > 0; await turn()) for (const letGo of held.splice(0)) letGo()

  for (const refusal of refusals) {
    t.type(refusal, HashingOverloaded)
    t.match(refusal, { statusCode: 503, headers: { 'retry-after': /^[1-9]\d*$/ } })
  }
  t.ok((await Promise.all(accepted)).every((encoded) => encoded.startsWith('bcrypt$$2b$04$')))
  t.match(await preferring('md5').makePassword('secret'), /^md5\$/)
})

/** Sets the time of the queue. @returns a function that lets seconds pass */
function holdTime(t: Test) {
  let now = performance.now()
  t.intercept(performance, 'now', { value: () => now })
  return (seconds: number) => {
    now += seconds * 1000
  }
}

t.test('a client that has gone gives its place to others', async (t) => {
  const held = holdHashes(t)
  const hashers = preferring('bcrypt')
  let isGone = false
  const running = Array.from({ length: PARALLEL }, () => hashers.makePassword('secret'))
  const abandoned = Array.from({ length: 100 }, () =>
    hashers.checkPassword('secret', null, () => isGone).catch((error) => error)
  )
  await turn()
  t.throws(() => hashers.assertRoom(), HashingOverloaded)
  isGone = true
  t.doesNotThrow(() => hashers.assertRoom(), 'places of clients that have gone are free')
  const next = hashers.makePassword('secret')
  const early = hashers.runDummyHash('secret', () => true).catch((error) => error)
  for (; held.length > 0; await turn()) for (const letGo of held.splice(0)) letGo()
  await Promise.all([...running, next])
  t.type(await early, HashingOverloaded)
  t.equal(held.length, 0)
  for (const outcome of await Promise.all(abandoned)) t.type(outcome, HashingOverloaded)
})

t.test('failed hashes release their place in the queue', async (t) => {
  const failing = t.capture(bcrypt, 'hash', async () => {
    throw new Error('out of memory')
  })
  const failures = await Promise.allSettled(
    Array.from({ length: ROOM }, () => preferring('bcrypt').makePassword('secret'))
  )
  failing.restore()

  const encoded = await preferring('bcrypt').makePassword('secret')

  t.ok(failures.every((failure) => failure.status === 'rejected' && failure.reason.message === 'out of memory'))
  t.strictSame(await preferring('bcrypt').checkPassword('secret', encoded), CORRECT)
})

t.test('work that would wait for more than ten seconds is refused with the time in Retry-After', async (t) => {
  const held = holdHashes(t)
  const pass = holdTime(t)
  const hashers = preferring('bcrypt')
  for (let n = 0; n < 40; n++) {
    const hash = hashers.makePassword('secret')
    await turn()
    pass(2)
    held.shift()?.()
    await hash
  }
  const outcomes = Array.from({ length: 8 * PARALLEL }, () =>
    hashers.makePassword('secret').then(
      () => 'done',
      (error) => error
    )
  )
  const refusal = await Promise.race(outcomes)
  t.type(refusal, HashingOverloaded)
  t.match(refusal, { headers: { 'retry-after': /^1[0-2]$/ } })

  pass(11)
  for (; held.length > 0; await turn()) for (const letGo of held.splice(0)) letGo()
  const done = (await Promise.all(outcomes)).filter((outcome) => outcome === 'done')
  t.equal(done.length, PARALLEL, 'those that have begun; the others have waited for too long')
})

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
    t.match(refusal, { statusCode: 503, headers: { 'retry-after': '5' } })
  }
  t.ok((await Promise.all(accepted)).every((encoded) => encoded.startsWith('bcrypt$$2b$04$')))
  t.match(await preferring('md5').makePassword('secret'), /^md5\$/)
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

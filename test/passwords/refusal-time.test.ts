/** Refused logins take as long as the slowest recent check of a password (user enumeration). */
import t from 'tap'
import { createHashers } from '../../src/passwords/hashers.ts'
import { RefusalTime } from '../../src/passwords/refusal-time.ts'

const MINUTE = 60_000

t.test('a refusal takes as long as the slowest check of the last minutes', async (t) => {
  const refusals = new RefusalTime()
  t.equal(refusals.remainingAfter(100, 0), 0)
  refusals.record(100, 0)
  refusals.record(380, 1000)
  refusals.record(280, 2000)
  t.equal(refusals.remainingAfter(280, 3000), 100)
  t.equal(refusals.remainingAfter(4, 3000), 376)
  t.equal(refusals.remainingAfter(500, 3000), 0)
  t.equal(refusals.remainingAfter(280, 9 * MINUTE), 100, 'remembered for at least five minutes')
  t.equal(refusals.remainingAfter(280, 20 * MINUTE), 0, 'and for ten at most')
  refusals.record(60_000, 21 * MINUTE)
  t.equal(refusals.remainingAfter(0, 21 * MINUTE), 5000, 'a busy machine delays refusals by five seconds at most')
})

t.test(
  'a wrong password for a cheap hash waits for the time of the slowest one, and a correct one does not',
  async (t) => {
    const hashers = createHashers({ passwordHashers: ['pbkdf2_sha256', 'md5'], bcryptRounds: 4 })
    const startedAt = performance.now()
    await hashers.checkPassword('x', null)
    const slow = performance.now() - startedAt
    const md5 = await createHashers({ passwordHashers: ['md5'], bcryptRounds: 4 }).makePassword('secret')

    const refusedAt = performance.now()
    const check = await hashers.checkPassword('wrong', md5)
    const checkedAt = performance.now()
    await hashers.refuse(check)
    const waited = performance.now() - checkedAt

    t.ok(slow > 20, `${slow} ms`)
    t.ok(waited > 0.5 * slow, `${waited} ms of ${slow}, after ${checkedAt - refusedAt}`)
    const unhashed = await hashers.checkPassword('x'.repeat(2000), md5)
    const unhashedAt = performance.now()
    await hashers.refuse(unhashed)
    t.ok(performance.now() - unhashedAt < 0.5 * slow, 'nobody with such a password waits')
  }
)

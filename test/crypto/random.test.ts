/** Random text and ids. */
import t from 'tap'
import { ALPHANUMERIC, randomHex, randomText, uuidHex } from '../../src/crypto/random.ts'

t.test('random text has the requested length and uses the whole alphabet, and nothing else', async (t) => {
  t.match(randomText(40), /^[A-Za-z0-9]{40}$/)
  t.equal(randomText(0), '')
  t.strictSame(new Set(randomText(10_000)), new Set(ALPHANUMERIC))
  t.strictSame(new Set(randomText(1000, 'ab')), new Set('ab'))
})

t.test('each character of the alphabet is equally likely', async (t) => {
  const counts = new Map<string, number>()
  for (const character of randomText(62_000)) counts.set(character, (counts.get(character) ?? 0) + 1)
  // Six standard deviations around the mean of 1000.
  for (const [character, count] of counts) t.ok(Math.abs(count - 1000) < 190, `${character}: ${count}`)
})

t.test('random ids are hexadecimal and differ from each other', async (t) => {
  t.match(randomHex(20), /^[0-9a-f]{40}$/)
  t.match(uuidHex(), /^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/)
  t.equal(new Set(Array.from({ length: 1000 }, uuidHex)).size, 1000)
})

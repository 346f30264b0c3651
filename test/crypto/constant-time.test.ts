/** Comparison of secrets. */
import t from 'tap'
import { constantTimeEqual } from '../../src/crypto/constant-time.ts'

t.test('strings are equal only if their UTF-8 bytes are', async (t) => {
  for (const text of ['', 'a', 'é', '😀']) t.ok(constantTimeEqual(text, text))
  for (const other of ['b', '', 'aa', 'é', '\ud800']) t.notOk(constantTimeEqual('a', other))
  // Same length in UTF-16, different length in UTF-8, for which timingSafeEqual would throw.
  t.notOk(constantTimeEqual('aa', 'éa'))
})

/** Retries of transactions after conflicts. */
import t from 'tap'
import { DatabaseUnavailable } from '../../src/database/errors.ts'
import { retryOnConflict } from '../../src/database/retry.ts'

const known = (code: string) => Object.assign(new Error(code), { code })

t.test('conflicts with concurrent transactions are retried, up to five attempts', async (t) => {
  const rivals = [
    known('P2002'),
    known('P2003'),
    known('P2025'),
    new DatabaseUnavailable('', { cause: known('P2034') })
  ]
  const errors: unknown[] = [...rivals]
  t.equal(await retryOnConflict(async () => (errors.length > 0 ? Promise.reject(errors.shift()) : 'done')), 'done')

  let attempts = 0
  const failing = retryOnConflict(async () => {
    attempts++
    throw rivals[attempts % rivals.length]
  })
  await t.rejects(failing, { code: 'P2003' })
  t.equal(attempts, 5)
})

t.test('a row that is missing at every attempt raises a 503', async (t) => {
  await t.rejects(
    retryOnConflict(() => Promise.reject(known('P2025'))),
    { statusCode: 503, cause: { code: 'P2025' } }
  )
})

t.test('other errors are thrown without a retry', async (t) => {
  for (const error of [known('P2000'), new DatabaseUnavailable(), new TypeError('x')]) {
    let attempts = 0
    const failing = retryOnConflict(async () => {
      attempts++
      throw error
    })
    await t.rejects(failing, error)
    t.equal(attempts, 1)
  }
})

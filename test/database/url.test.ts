/** The two kinds of DATABASE_URL. */
import t from 'tap'
import { filePathOf, providerOf } from '../../src/database/url.ts'

t.test('a file: URL is a path of a SQLite file, without a query and without percent-decoding', async (t) => {
  const cases: [string, string][] = [
    ['file:./data/latchkey.db', './data/latchkey.db'],
    ['file:data.db?mode=ro', 'data.db'],
    ['file:/var/lib/latchkey.db', '/var/lib/latchkey.db'],
    ['file:///var/lib/latchkey.db', '/var/lib/latchkey.db'],
    ['file:100%.db', '100%.db'],
    ['file::memory:', ':memory:']
  ]

  for (const [url, path] of cases) {
    t.equal(filePathOf(url), path, url)
    t.equal(providerOf(url), 'sqlite', url)
  }
})

t.test('a PostgreSQL URL has no file path', async (t) => {
  for (const url of ['postgresql://localhost/latchkey', 'postgres://u:p@localhost/latchkey']) {
    t.equal(filePathOf(url), null, url)
    t.equal(providerOf(url), 'postgresql', url)
  }
})

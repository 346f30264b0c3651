/** Pagination by page number and by limit and offset, with links. */
import Fastify, { type FastifyRequest } from 'fastify'
import t from 'tap'
import { type Page, paginateByNumber, paginateByOffset, type Rows } from '../../src/drf/pagination.ts'
import { drfScope } from '../../src/drf/view.ts'

const SIZE = { size: 2, max: 3 }

/** An app with lists of the numbers 1 to `length`. @returns fetches a page, or status and body of an error */
function appWith(length: number) {
  const app = Fastify()
  const all = Array.from({ length }, (_, index) => index + 1)
  const rows: Rows<number> = {
    count: async () => length,
    find: async ({ skip, take }) => all.slice(skip, skip + take)
  }
  drfScope(app)
  app.get('/pages/', (request) => paginateByNumber(request, rows, SIZE))
  app.get('/limits/', (request) => paginateByOffset(request, rows, SIZE))
  return async (url: string) => {
    const answer = await app.inject({ url, headers: { host: 'h:8000' } })
    return answer.statusCode === 200 ? (answer.json() as Page<number>) : [answer.statusCode, answer.json()]
  }
}

t.test('page links keep the other parameters in sorted order, and the link to page 1 omits its number', async (t) => {
  const ask = appWith(5)
  t.strictSame(await ask('/pages/?z=1&page=2&a=b%20c&z=2'), {
    count: 5,
    next: 'http://h:8000/pages/?a=b+c&page=3&z=1&z=2',
    previous: 'http://h:8000/pages/?a=b+c&z=1&z=2',
    results: [3, 4]
  })
  t.strictSame(await ask('/pages/?page=last&page_size=99'), {
    count: 5,
    next: null,
    previous: 'http://h:8000/pages/?page_size=99',
    results: [4, 5]
  })
  for (const query of [
    'page_size=0',
    'page_size=-1',
    'page_size=x',
    'page_size=',
    'page=',
    'page=%201%20',
    'page=9&page=1'
  ]) {
    t.match(await ask(`/pages/?${query}`), { results: [1, 2] }, query)
  }
})

t.test('unknown and malformed pages return 404, and an empty list has a first page', async (t) => {
  const ask = appWith(5)
  for (const page of [
    '0',
    '-1',
    '4',
    'x',
    '1.0',
    '1e0',
    'Last',
    '99999999999999999999',
    '%00',
    '１',
    '__proto__',
    '[]'
  ]) {
    t.strictSame(await ask(`/pages/?page=${page}`), [404, { detail: 'Invalid page.' }], page)
  }
  t.strictSame(await appWith(0)('/pages/'), { count: 0, next: null, previous: null, results: [] })
})

t.test('with limit and offset, invalid numbers count as absent', async (t) => {
  const ask = appWith(5)
  t.strictSame(await ask('/limits/?limit=9&offset=3'), {
    count: 5,
    next: null,
    previous: 'http://h:8000/limits/?limit=3',
    results: [4, 5]
  })
  t.match(await ask('/limits/?offset=1'), {
    next: 'http://h:8000/limits/?limit=2&offset=3',
    previous: 'http://h:8000/limits/?limit=2'
  })
  for (const query of ['', 'limit=0', 'limit=x&offset=x', 'offset=-3', 'limit=1e9', 'offset=']) {
    t.match(await ask(`/limits/?${query}`), { previous: null, results: [1, 2] }, query)
  }
  t.match(await ask('/limits/?offset=50'), { count: 5, next: null, results: [] })
})

t.test('a page never requests more rows than the maximum', async (t) => {
  const asked: number[] = []
  const rows: Rows<number> = {
    count: async () => 1000,
    find: async ({ take }) => {
      asked.push(take)
      return []
    }
  }
  const request = (url: string) => ({ url, protocol: 'http', host: 'h' }) as FastifyRequest
  await paginateByNumber(request('/?page_size=1000000'), rows, SIZE)
  await paginateByOffset(request('/?limit=1000000'), rows, SIZE)
  t.strictSame(asked, [3, 3])
})

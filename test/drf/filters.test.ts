/** Query parameters of lists, parsed as DRF and django-filter do. */
import type { FastifyRequest } from 'fastify'
import t from 'tap'
import Type from 'typebox'
import { type Direction, readFilters, readOrdering, readSearchTerms } from '../../src/drf/filters.ts'
import { AuthError } from '../../src/errors.ts'

const request = (query: string) => ({ url: `/?${query}` }) as FastifyRequest

/** Returns the result, or the body of a 400. */
function outcomeOf(read: () => unknown): unknown {
  try {
    return read()
  } catch (error) {
    if (error instanceof AuthError && error.statusCode === 400) return { 400: error.body }
    throw error
  }
}

t.test('search terms are words and quoted phrases, and limited in number and length (else 400)', async (t) => {
  const searches: [query: string, terms: unknown][] = [
    ['', []],
    ['search=', []],
    ['search=%20%20', []],
    ['search=ann+bob', ['ann', 'bob']],
    ['search=ann,bob,,x', ['ann', 'bob', 'x']],
    ['search="ann bob" x', ['ann bob', 'x']],
    ["search='ann bob'", ['ann bob']],
    ['search="say \\"hi\\" \\\\"', ['say "hi" \\']],
    ['search="ann', ['"ann']],
    ['search="', ['']],
    ['search=x"ann bob"y', ['x"ann bob"y']],
    ['search=a&search=b', ['b']],
    ['search[]=x', []],
    ['search[$ne]=x', []],
    ['search=%25_\\', ['%_\\']],
    ['search=__proto__', ['__proto__']],
    ['search=%00', { 400: ['Null characters are not allowed.'] }],
    ['search=a%20b%00', { 400: ['Null characters are not allowed.'] }],
    [`search=${'x'.repeat(201)}`, { 400: ['Ensure this field has no more than 200 characters.'] }],
    [`search=${'x+'.repeat(11)}`, { 400: ['Ensure this field has no more than 10 words.'] }]
  ]
  for (const [query, terms] of searches)
    t.strictSame(
      outcomeOf(() => readSearchTerms(request(query))),
      terms,
      query
    )
  for (const odd of ['"'.repeat(200), `${'\\"'.repeat(99)}x`, `a${'"a\''.repeat(60)}`]) {
    t.ok(
      outcomeOf(() => readSearchTerms(request(`search=${encodeURIComponent(odd)}`))),
      'unbalanced quotes are parsed'
    )
  }
})

t.test('ordering uses known columns in the given order and ignores unknown ones', async (t) => {
  const column = (name: string) => (direction: Direction) => `${name} ${direction}`
  const columns = { id: column('id'), username: column('name') }
  const orders: [query: string, order: string[]][] = [
    ['', []],
    ['ordering=', []],
    ['ordering=username', ['name asc']],
    ['ordering=-username, id', ['name desc', 'id asc']],
    ['ordering=bogus,-id', ['id desc']],
    ['ordering=id,-id,id', ['id asc']],
    ['ordering=--id', []],
    ['ordering=-', []],
    ['ordering=password', []],
    ['ordering=__proto__,constructor,toString', []],
    ['ordering=id;DROP', []],
    ['ordering=id%00', []],
    ['ordering=id&ordering=-username', ['name desc']],
    ['ordering[]=id', []]
  ]
  for (const [query, order] of orders) t.strictSame(readOrdering(request(query), columns), order, query)
})

t.test('filters are converted to their types, and all invalid ones are reported (400)', async (t) => {
  const filters = {
    is_active: Type.Boolean(),
    username: Type.String({ maxLength: 5 }),
    note: Type.String(),
    groups: Type.Array(Type.Integer())
  }
  const readings: [query: string, values: unknown][] = [
    ['', {}],
    ['is_active=true&username=+bob+&groups=1&groups=2&groups=1', { is_active: true, username: 'bob', groups: [1, 2] }],
    ['is_active=FALSE', { is_active: false }],
    ['is_active=1', { is_active: true }],
    ['is_active=0', { is_active: false }],
    ['is_active=true&is_active=false', { is_active: false }],
    ['is_active=&username=', {}],
    ['username=__proto__', { 400: { username: ['Ensure this value has at most 5 characters (it has 9).'] } }],
    ['note=__proto__&__proto__=x', { note: '__proto__' }],
    ['username[contains]=x&username__contains=x', {}],
    [
      'is_active=maybe&username=a%00&groups=x',
      {
        400: {
          is_active: ['Must be a valid boolean.'],
          username: ['Null characters are not allowed.'],
          groups: ['“x” is not a valid value.']
        }
      }
    ],
    ['groups=', { 400: { groups: ['“” is not a valid value.'] } }],
    ['groups=1e0', { 400: { groups: ['“1e0” is not a valid value.'] } }],
    ['groups=%00', { 400: { groups: ['Null characters are not allowed.'] } }],
    ['groups=1&'.repeat(101), { 400: { groups: ['Ensure there are no more than 100 values.'] } }],
    [`groups=${'9'.repeat(30)}`, { 400: { groups: [`“${'9'.repeat(30)}” is not a valid value.`] } }]
  ]
  for (const [query, values] of readings) {
    t.strictSame(
      outcomeOf(() => readFilters(request(query), filters)),
      values,
      query
    )
  }
})

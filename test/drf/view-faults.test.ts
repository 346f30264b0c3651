/** A view's `validate`. */
import t from 'tap'
import Type from 'typebox'
import { CharField } from '../../src/drf/fields.ts'
import { view } from '../../src/drf/view.ts'
import { NotFound } from '../../src/errors.ts'
import { scopeWith } from './scope.ts'

t.test('errors of fields and of validate are returned together, in the order of the schema', async (t) => {
  const seen: object[] = []
  const app = await scopeWith(t, (scope) =>
    view(scope, '/things/', {
      ...{ name: 'Things', description: 'Things.', tags: ['things'] },
      methods: {
        POST: {
          summary: 'Make a thing',
          body: Type.Object({
            name: CharField(),
            colour: CharField({ maxLength: 3 }),
            size: CharField({ required: false })
          }),
          response: { 200: Type.Object({ name: Type.String() }) },
          validate: async (given: { name?: string; size?: string }) => {
            seen.push(given)
            if (given.size === 'none') throw new NotFound()
            return { ...(given.name === 'taken' && { name: ['There is one.'] }), unknown: ['Not told.'], size: [] }
          },
          handler: async ({ body }) => body
        }
      }
    })
  )
  const post = async (payload: object | string) => {
    const headers = { 'content-type': 'application/json' }
    const answer = await app.inject({ method: 'POST', url: '/api/things/', headers, payload })
    return [answer.statusCode, answer.json()]
  }

  const long = ['Ensure this field has no more than 3 characters.']
  t.strictSame(await post({ colour: 'green', name: 'taken' }), [400, { name: ['There is one.'], colour: long }])
  t.strictSame(seen, [{ name: 'taken' }], 'validate gets the valid fields only')
  t.strictSame(await post({ colour: 'red', name: 'new', other: 1 }), [200, { name: 'new' }])
  t.strictSame(await post({ size: 'none' }), [404, { detail: 'Not found.' }], 'a thrown error has priority')
  t.equal((await post('[]'))[0], 400)
  t.equal(seen.length, 3, 'validate is not called without an object')
})

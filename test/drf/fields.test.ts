import fc from 'fast-check'
import t from 'tap'
import Type, { type TObject } from 'typebox'
import { CharField, readFields } from '../../src/drf/fields.ts'
import { Form } from '../../src/drf/form.ts'
import { ValidationError } from '../../src/errors.ts'

const schema = Type.Object({ username: CharField(), password: CharField() })

function formOf(pairs: [name: string, value: unknown][]): Form {
  const form = new Form()
  for (const [name, value] of pairs) form.append(name, value)
  return form
}

/** Returns the values, or the messages if there are any. */
function read(body: unknown, fields: TObject = schema): unknown {
  try {
    const { values, faults } = readFields(fields, body)
    return Object.keys(faults).length > 0 ? faults : values
  } catch (error) {
    if (error instanceof ValidationError) return error.body
    throw error
  }
}

const readOne = (value: unknown, field: ReturnType<typeof CharField> = CharField()) => {
  const outcome = read({ it: value }, Type.Object({ it: field })) as { it: unknown }
  return outcome.it
}

t.test('fields are validated with the messages of DRF, in the order of the schema', async (t) => {
  const outcomes: [body: unknown, outcome: unknown][] = [
    [
      { password: 'p', username: 'u' },
      { username: 'u', password: 'p' }
    ],
    [undefined, { username: ['This field is required.'], password: ['This field is required.'] }],
    [{}, { username: ['This field is required.'], password: ['This field is required.'] }],
    [{ username: 'u' }, { password: ['This field is required.'] }],
    [
      { password: '', username: null },
      { username: ['This field may not be null.'], password: ['This field may not be blank.'] }
    ],
    [
      { username: [], password: { $ne: 1 } },
      { username: ['Not a valid string.'], password: ['Not a valid string.'] }
    ],
    [
      { username: true, password: false },
      { username: ['Not a valid string.'], password: ['Not a valid string.'] }
    ],
    [
      { username: 'u', password: 'p', is_staff: true },
      { username: 'u', password: 'p' }
    ]
  ]
  for (const [body, outcome] of outcomes) {
    t.strictSame(read(body), outcome)
    t.strictSame(Object.keys(read(body) as object), Object.keys(outcome as object))
  }
})

t.test('a body that is not an object is reported by the Python name of its type', async (t) => {
  const types = {
    list: [['a'], []],
    str: ['', 'a'],
    int: [0, -1, 1e20],
    float: [1.5, Number.POSITIVE_INFINITY],
    bool: [true, false]
  }
  for (const [type, bodies] of Object.entries(types)) {
    for (const body of bodies) {
      t.strictSame(read(body), { non_field_errors: [`Invalid data. Expected a dictionary, but got ${type}.`] })
    }
  }
  t.strictSame(read(null), { non_field_errors: ['No data provided'] })
})

t.test("values are trimmed of the characters that Python's strip removes", async (t) => {
  const python =
    '\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a'
  for (const character of `${python}\u2028\u2029\u202f\u205f\u3000`) {
    t.equal(
      readOne(`${character}a${character}b${character}`),
      `a${character}b`,
      `U+${character.charCodeAt(0).toString(16)}`
    )
    t.strictSame(readOne(character), ['This field may not be blank.'])
  }
  for (const character of '\ufeff\u200b\u180e') t.equal(readOne(`${character}a`), `${character}a`)
})

t.test('with trim off a value keeps its white space, and only an empty one is blank', async (t) => {
  const field = CharField({ trim: false })
  t.equal(readOne(' a\n', field), ' a\n')
  t.equal(readOne(' ', field), ' ')
  t.strictSame(readOne('', field), ['This field may not be blank.'])
})

t.test('trimming 65,000 inner spaces takes less than half a second', async (t) => {
  const start = performance.now()
  t.equal(readOne(`a${' '.repeat(65_000)}b`), `a${' '.repeat(65_000)}b`)
  t.ok(performance.now() - start < 500)
})

t.test('numbers become strings as in Python', async (t) => {
  const numbers: [number, string][] = [
    [0, '0'],
    [-0, '0'],
    [12, '12'],
    [-1.5, '-1.5'],
    [0.0001, '0.0001'],
    [0.00001, '1e-05'],
    [-1.25e-7, '-1.25e-07'],
    [5e-324, '5e-324'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991']
  ]
  for (const [number, text] of numbers) t.equal(readOne(number), text)
})

t.test('numbers beyond the safe integers are rejected, because their digits are lost', async (t) => {
  for (const number of [2 ** 53, -(2 ** 53), 1e300, Number.POSITIVE_INFINITY, Number.NaN]) {
    t.strictSame(readOne(number), ['Not a valid string.'], String(number))
  }
})

t.test('all failed validators are reported, in the order of DRF', async (t) => {
  const field = CharField({ maxLength: 3, maxBytes: 8 })
  const long = 'Ensure this field has no more than 3 characters.'
  const wide = 'Ensure this field has no more than 8 bytes.'
  const outcomes: [value: string, outcome: unknown][] = [
    [' abc ', 'abc'],
    ['😀é!', '😀é!'],
    ['😀😀', '😀😀'],
    ['abcd', [long]],
    ['😀😀é', [wide]],
    ['😀😀😀!', [long, wide]],
    ['a\0b', ['Null characters are not allowed.']],
    ['a\ud800b', ['Surrogate characters are not allowed: U+D800.']],
    ['\udfff\ud800', ['Surrogate characters are not allowed: U+DFFF.']],
    [
      '\0\ud800abcdefg',
      [long, wide, 'Null characters are not allowed.', 'Surrogate characters are not allowed: U+D800.']
    ]
  ]
  for (const [value, outcome] of outcomes) t.strictSame(readOne(value, field), outcome, JSON.stringify(value))
})

t.test('optional fields may be absent, but not blank or null', async (t) => {
  const fields = Type.Object({ email: CharField({ required: false }) })
  t.strictSame(read({}, fields), {})
  t.strictSame(read({ email: 'a@b' }, fields), { email: 'a@b' })
  t.strictSame(read({ email: '' }, fields), { email: ['This field may not be blank.'] })
  t.strictSame(read({ email: null }, fields), { email: ['This field may not be null.'] })
})

t.test('in a form, an empty optional field counts as absent, as in DRF', async (t) => {
  const fields = Type.Object({ name: CharField(), email: CharField({ required: false }) })
  t.strictSame(
    read(
      formOf([
        ['name', ''],
        ['email', '']
      ]),
      fields
    ),
    { name: ['This field may not be blank.'] }
  )
  t.strictSame(
    read(
      formOf([
        ['name', 'a'],
        ['email', '']
      ]),
      fields
    ),
    { name: 'a' }
  )
  t.strictSame(
    read(
      formOf([
        ['name', 'a'],
        ['email', ' ']
      ]),
      fields
    ),
    { email: ['This field may not be blank.'] }
  )
  t.strictSame(read(formOf([]), fields), { name: ['This field is required.'] })
})

t.test('read-only fields are ignored', async (t) => {
  const fields = Type.Object({ refresh: CharField(), access: CharField({ readOnly: true }) })
  t.strictSame(read({ refresh: 'r', access: ['x'] }, fields), { refresh: 'r' })
})

t.test('inherited properties and __proto__ are not read as fields', async (t) => {
  const fields = Type.Object({ constructor: CharField(), toString: CharField({ required: false }) })
  t.equal(JSON.stringify(read({}, fields)), '{"constructor":["This field is required."]}')
  t.strictSame(read(JSON.parse('{"__proto__":{"username":"u","password":"p"}}')), {
    username: ['This field is required.'],
    password: ['This field is required.']
  })
})

t.test('fields produce JSON Schema for OpenAPI and static types', async (t) => {
  const fields = Type.Object({
    username: CharField({ maxLength: 150, description: 'Its name', examples: ['alice'] }),
    password: CharField({ maxBytes: 1024, trim: false, writeOnly: true }),
    email: CharField({ required: false }),
    access: CharField({ readOnly: true, trim: true })
  })
  t.strictSame(JSON.parse(JSON.stringify(fields)), {
    type: 'object',
    required: ['username', 'password'],
    properties: {
      username: { type: 'string', maxLength: 150, description: 'Its name', examples: ['alice'] },
      password: { type: 'string', writeOnly: true, 'x-max-bytes': 1024, 'x-trim': false },
      email: { type: 'string' },
      access: { type: 'string', readOnly: true }
    }
  })
  const values: { username: string; password: string; email?: string } = { username: 'a', password: 'b' }
  t.strictSame(readFields(fields, values).values satisfies Partial<typeof values>, values)
})

t.test('any JSON value yields either the declared fields as strings or messages', async () => {
  const body = fc.oneof(fc.jsonValue(), fc.record({ username: fc.jsonValue(), password: fc.jsonValue() }))
  fc.assert(
    fc.property(body, (value) => {
      try {
        const { values, faults } = readFields(schema, value)
        const { username, password, ...others } = values
        const isWhole = typeof username === 'string' && typeof password === 'string'
        return (isWhole || Object.keys(faults).length > 0) && Object.keys(others).length === 0
      } catch (error) {
        return error instanceof ValidationError
      }
    }),
    { numRuns: 1000 }
  )
})

/** BooleanField, PrimaryKey and PrimaryKeys. */
import t from 'tap'
import Type from 'typebox'
import { BooleanField, CharField, PrimaryKey, PrimaryKeys, readFields } from '../../src/drf/fields.ts'
import { Form } from '../../src/drf/form.ts'

const schema = Type.Object({
  id: PrimaryKey({ readOnly: true }),
  flag: BooleanField({ required: false }),
  key: PrimaryKey({ required: false }),
  keys: PrimaryKeys({ required: false })
})

/** Returns the values, or the messages if there are any. */
function read(body: unknown): unknown {
  const { values, faults } = readFields(schema, body)
  return Object.keys(faults).length > 0 ? faults : values
}

t.test('booleans are read from the values that DRF accepts, and others rejected', async (t) => {
  for (const flag of [true, 't', 'Y', 'yes', 'TRUE', 'on', '1', 1, 1.0]) t.strictSame(read({ flag }), { flag: true })
  for (const flag of [false, 'f', 'N', 'no', 'False', 'OFF', '0', 0, -0]) t.strictSame(read({ flag }), { flag: false })
  for (const flag of ['', ' true ', 'maybe', 2, 0.5, [], [true], {}, 'x'.repeat(60_000), '__proto__']) {
    t.strictSame(read({ flag }), { flag: ['Must be a valid boolean.'] })
  }
  t.strictSame(read({ flag: null }), { flag: ['This field may not be null.'] })
})

t.test('a primary key is an integer or its decimal digits', async (t) => {
  const odd = (type: string) => [`Incorrect type. Expected pk value, received ${type}.`]
  const none = (key: unknown) => [`Invalid pk "${key}" - object does not exist.`]
  const readings: [given: unknown, outcome: unknown][] = [
    [1, 1],
    ['12', 12],
    ['007', 7],
    [2_147_483_647, 2_147_483_647],
    [2_147_483_648, none(2_147_483_648)],
    [0, none(0)],
    [-1, none(-1)],
    ['-1', none(-1)],
    ['99999999999999999999', none('99999999999999999999')],
    ['999999999999999999999', odd('str')],
    [1e300, none('1e+300')],
    ['x', odd('str')],
    ['', odd('str')],
    ['1e0', odd('str')],
    ['１', odd('str')],
    [' 1', odd('str')],
    [1.5, odd('float')],
    [true, odd('bool')],
    [{ gt: 0 }, odd('dict')],
    [[1], odd('list')],
    [null, ['This field may not be null.']]
  ]
  for (const [key, outcome] of readings) {
    t.strictSame(read({ key }), { key: outcome })
    const inList = key === null ? none('None') : outcome
    t.strictSame(read({ keys: [key] }), { keys: Array.isArray(inList) ? inList : [inList] })
  }
  t.strictSame(read({ id: 5 }), {}, 'read-only fields are ignored')
})

t.test('a list contains each key once, reports only its first error, and has at most 5000 elements', async (t) => {
  t.strictSame(read({ keys: [3, 1, '3', 1] }), { keys: [3, 1] })
  t.strictSame(read({ keys: [] }), { keys: [] })
  t.strictSame(read({ keys: [1, 'x', 0] }), { keys: ['Incorrect type. Expected pk value, received str.'] })
  for (const [keys, type] of [
    ['1', 'str'],
    [1, 'int'],
    [true, 'bool'],
    [1.5, 'float'],
    [{ 0: 1 }, 'dict']
  ] as const) {
    t.strictSame(read({ keys }), { keys: [`Expected a list of items but got type "${type}".`] })
  }
  t.strictSame(read({ keys: null }), { keys: ['This field may not be null.'] })
  const many = Array.from({ length: 5000 }, (_, n) => n + 1)
  t.strictSame(read({ keys: many }), { keys: many })
  t.strictSame(read({ keys: [...many, 0] }), { keys: ['Ensure this field has no more than 5000 elements.'] })
})

t.test('in a form, a list is a repeated field, and absent fields have no value', async (t) => {
  const form = new Form()
  t.strictSame(read(form), {})
  for (const [name, value] of [
    ['keys', '2'],
    ['keys', '1'],
    ['flag', 'false'],
    ['flag', 'on'],
    ['key', '']
  ] as const) {
    form.append(name, value)
  }
  t.strictSame(read(form), { keys: [2, 1], flag: true })
  t.strictSame(form.getAll('other'), [])
  form.append('keys', '')
  t.strictSame(read(form), { keys: ['Incorrect type. Expected pk value, received str.'] })
})

t.test('an empty string in a form is a value only if the field may be blank', async (t) => {
  const fields = Type.Object({
    email: CharField({ required: false, allowBlank: true }),
    name: CharField({ required: false })
  })
  const form = new Form()
  form.append('email', '')
  form.append('name', '')
  t.strictSame(readFields(fields, form).values, { email: '' })
})

t.test('readFields returns the values of valid fields together with the errors of the others', async (t) => {
  const { values, faults } = readFields(schema, { flag: 'x', key: 1, keys: [0] })
  t.strictSame(values, { key: 1 })
  t.strictSame(Object.keys(faults), ['flag', 'keys'])
})

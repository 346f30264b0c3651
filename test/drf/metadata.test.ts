import t from 'tap'
import Type from 'typebox'
import { BooleanField, CharField, PrimaryKey, PrimaryKeys } from '../../src/drf/fields.ts'
import { metadataOf } from '../../src/drf/metadata.ts'

t.test('the metadata of a view are those of DRF, in its order', async (t) => {
  const body = Type.Object({
    refresh: CharField({ maxLength: 9, description: 'Not shown' }),
    new_PassWord: CharField({ required: false, writeOnly: true }),
    access: CharField({ readOnly: true })
  })
  const field = { type: 'string', required: false, read_only: false }
  const fields = {
    refresh: { ...field, required: true, label: 'Refresh' },
    new_PassWord: { ...field, label: 'New password' },
    access: { ...field, read_only: true, label: 'Access' }
  }
  const metadata = metadataOf({
    name: 'Token Refresh',
    description: 'Renews.',
    methods: { POST: { body }, PUT: { body } }
  })
  const expected = {
    name: 'Token Refresh',
    description: 'Renews.',
    renders: ['application/json', 'text/html'],
    parses: ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data'],
    actions: { POST: fields, PUT: fields }
  }
  t.equal(JSON.stringify(metadata), JSON.stringify(expected))
})

t.test('each kind of field has the type name of DRF', async (t) => {
  const body = Type.Object({
    id: PrimaryKey({ readOnly: true }),
    email: CharField({ format: 'email' }),
    joined: CharField({ format: 'date-time', readOnly: true }),
    flag: BooleanField(),
    user: PrimaryKey(),
    groups: PrimaryKeys()
  })
  const { actions } = metadataOf({ name: 'Users', description: '', methods: { POST: { body } } })
  const { POST } = actions as { POST: Record<string, { type: string }> }
  t.strictSame(
    Object.values(POST).map(({ type }) => type),
    ['integer', 'email', 'datetime', 'boolean', 'field', 'field']
  )
})

t.test('only POST and PUT with a body schema have actions', async (t) => {
  for (const methods of [{}, { POST: {} }, { GET: {}, DELETE: { body: Type.Object({ password: CharField() }) } }]) {
    t.notOk('actions' in metadataOf({ name: 'Me', description: '', methods }))
  }
  t.strictSame(metadataOf({ name: 'Me', description: '', methods: { PUT: { body: Type.Object({}) } } }).actions, {
    PUT: {}
  })
})

t.test('optional fields have required false', async (t) => {
  const body = Type.Object({ email: CharField({ required: false }) })
  const { actions } = metadataOf({ name: 'Me', description: '', methods: { PUT: { body } } })
  t.strictSame(actions, { PUT: { email: { type: 'string', required: false, read_only: false, label: 'Email' } } })
})

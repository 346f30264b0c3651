/** Reading the models of a Prisma schema, with names as in Django. */
import { readdirSync, readFileSync } from 'node:fs'
import internals from '@prisma/internals'
import t from 'tap'
import { modelsOfSchema, ValidationError } from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'

/** Contains comments, strings and fields that look like models. */
const SCHEMA = `
datasource db {
  provider = "postgresql" // } model Commented { id Int @id }
}
generator client {
  provider = "prisma-client"
  output   = "../model Output { x }" /* model Blocked {
  id Int @id } */
}

/// A post. model Documented { id Int @id }
/// @permission publish_post Can publish post
/// @permission feature  Can put on the "front" page } {
model BlogPost {
  id     Int    @id // }
  title  String @default("} model Quoted { \\" } // not a comment") /// @permission inside Not a model's
  meta   Json   @default("{}")
  kind   Kind   @default(model)
  model  String
  ignored String? @ignore
  author Author @relation(fields: [author_id], references: [id])
  author_id Int
  @@map("posts")
}
//// @permission no Only a comment
model Author {
  id Int @id
  posts BlogPost[]
}
enum Kind {
  model
  view
}
model HTTPLog{
  id Int @id
  @@map( name : "log" )
}
model Secret {
  id Int @id
  @@ignore
}
model Renamed {
  id Int @id
  name String @default("@@ignore") @map("auth_user")
}
model User {
  id Int @id
  @@map("auth_user")
}
model django_session {
  session_key String @id
}
model auth_user_profile {
  id Int @id
}
`
const inBlog = (model: string, verboseName: string) => ({ appLabel: 'blog', model, verboseName })
const FOUND = [
  {
    ...inBlog('blogpost', 'blog post'),
    permissions: [
      ['publish_post', 'Can publish post'],
      ['feature', 'Can put on the "front" page } {']
    ]
  },
  inBlog('author', 'author'),
  inBlog('httplog', 'http log'),
  inBlog('renamed', 'renamed'),
  inBlog('auth_user_profile', 'auth_user_profile')
]

t.test('models of a schema are found, and model-like comments, strings and fields are ignored', async (t) => {
  t.strictSame(modelsOfSchema(SCHEMA, 'blog'), FOUND)
  t.strictSame(modelsOfSchema(SCHEMA.replaceAll('\n', '\r\n'), 'blog'), FOUND)
})

t.test('the models are those that Prisma finds, without those on tables of Django', async (t) => {
  const { datamodel } = await internals.getDMMF({ datamodel: SCHEMA })
  const names = datamodel.models.map(({ name }) => name.toLowerCase())
  const own = ['user', 'django_session']
  t.strictSame(
    FOUND.map(({ model }) => model),
    names.filter((name) => !own.includes(name))
  )
})

t.test('verbose names are derived as by camel_case_to_spaces of Django', async (t) => {
  const words = {
    Post: 'post',
    BlogPost: 'blog post',
    XMLFile: 'xml file',
    fileXML: 'file xml',
    A: 'a',
    AB: 'ab',
    ABc: 'a bc'
  }
  for (const [name, verboseName] of Object.entries({ ...words, Blog_Post: 'blog_ post', Post2Tag: 'post2 tag' })) {
    t.match(modelsOfSchema(`model ${name} { id Int @id }`, 'blog'), [{ model: name.toLowerCase(), verboseName }], name)
  }
})

t.test("Latchkey's own schema yields no models", async (t) => {
  const folder = new URL('../../prisma/models/', import.meta.url)
  const text = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), 'utf8'))
  t.ok(text.length > 2)
  t.strictSame(modelsOfSchema(text.join('\n'), 'blog'), [])
})

t.test('malformed and very long texts yield no models', async (t) => {
  for (const text of [
    '',
    'model',
    'model {',
    'model X',
    '} model',
    '{"model": {}}',
    '"model X { }"',
    '// model X {}'
  ]) {
    t.strictSame(modelsOfSchema(text, 'blog'), [], text)
  }
  for (const part of ['"', '/* ', '/', '{', '}', '\\"', 'model ', '/// @permission ']) {
    t.strictSame(modelsOfSchema(part.repeat(50_000), 'blog'), [], part)
  }
})

onEachDatabase(t, (t, { build }) => {
  t.test('the models of a schema get their content types and permissions', async (t) => {
    const app = await build(t)
    const made = await app.auth.permissions.syncPermissions(modelsOfSchema(SCHEMA, 'blog'))

    t.equal(made.length, 22)
    t.strictSame(made.slice(0, 6), [
      ...['add', 'change', 'delete', 'view'].map((action) => `blog.${action}_blogpost`),
      ...['blog.publish_post', 'blog.feature']
    ])
    const { name } = await app.auth.database.permission.findFirstOrThrow({ where: { codename: 'add_httplog' } })
    t.equal(name, 'Can add http log')
    t.strictSame(await app.auth.permissions.syncPermissions(modelsOfSchema(SCHEMA, 'blog')), [])
    await t.rejects(app.auth.permissions.syncPermissions(modelsOfSchema(SCHEMA, 'blog.web')), ValidationError)
  })
})

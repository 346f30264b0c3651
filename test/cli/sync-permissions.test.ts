/** `latchkey sync-permissions` with a Prisma schema in a file or folder. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { worldOf } from '../support/build.ts'
import { emptyFolder, latchkey, SLOWLY } from './command-line.ts'

// Each command starts a process.
t.setTimeout(SLOWLY)

t.test('permissions for the models of a schema are created once, and errors reported in one line', async (t) => {
  const folder = emptyFolder(t)
  mkdirSync(join(folder, 'prisma/models'), { recursive: true })
  writeFileSync(join(folder, 'prisma/schema.prisma'), 'model Post {\n  id Int @id\n}')
  writeFileSync(join(folder, 'prisma/models/tag.prisma'), 'model Tag {\n  id Int @id\n}')
  writeFileSync(join(folder, 'prisma/models/notes.txt'), 'model Note {\n  id Int @id\n}')
  writeFileSync(join(folder, 'empty.prisma'), 'enum Kind { a }')
  const environment = { DATABASE_URL: await worldOf('sqlite').databaseUrl(t), LOG_LEVEL: 'silent' }
  const sync = async (...args: string[]) => {
    const { code, stdout, stderr } = await latchkey(folder, ['sync-permissions', ...args], { environment })
    return [code, stdout, stderr]
  }
  const made = (model: string) =>
    ['add', 'change', 'delete', 'view'].map((action) => `Created blog.${action}_${model}.\n`).join('')

  t.strictSame(await sync('--schema', 'prisma/schema.prisma', '--app', 'blog'), [0, made('post'), ''])
  t.strictSame(await sync('--schema', 'prisma', '--app', 'blog'), [0, made('tag'), ''])
  t.strictSame(await sync('--schema', 'prisma', '--app', 'blog'), [0, 'No permissions to create.\n', ''])
  const wrong: [args: string[], code: number, line: string][] = [
    [['--schema', 'none.prisma', '--app', 'blog'], 1, 'none.prisma: does not exist'],
    [['--schema', 'empty.prisma', '--app', 'blog'], 1, 'empty.prisma: contains no models'],
    [['--schema', 'prisma', '--app', 'my.blog'], 2, '--app must be an app label such as blog: letters, digits and _'],
    [['--schema', 'prisma', '--app', ''], 2, '--app must be an app label such as blog: letters, digits and _'],
    [['--schema', 'prisma'], 2, '--schema and --app must be used together'],
    [['--app', 'blog'], 2, '--schema and --app must be used together']
  ]
  const answers = await Promise.all(wrong.map(([args]) => sync(...args)))
  for (const [at, [args, code, line]] of wrong.entries()) {
    t.strictSame(answers[at], [code, '', `latchkey: ${line}\n`], args.join(' '))
  }
})

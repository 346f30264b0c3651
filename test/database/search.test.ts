/** Substring search: wildcards of LIKE are escaped on both databases. */
import t from 'tap'
import { onEachDatabase } from '../support/build.ts'

onEachDatabase(t, (t, { build, provider }) => {
  t.test('containing finds substrings in any case, with LIKE wildcards taken literally', async (t) => {
    const { auth } = await build(t)
    const names = ['john_doe', 'JohnXdoe', '100%', 'back\\slash', "o'hara", 'ÄRGER']
    for (const name of names) await auth.groups.createGroup(name)
    const found = async (text: string) => {
      const where = { name: auth.database.containing(text) }
      return (await auth.database.group.findMany({ where, orderBy: { id: 'asc' } })).map(({ name }) => name)
    }
    t.strictSame(await found('N_D'), ['john_doe'])
    t.strictSame(await found('john'), ['john_doe', 'JohnXdoe'])
    t.strictSame(await found('%'), ['100%'])
    t.strictSame(await found('\\'), ['back\\slash'])
    t.strictSame(await found('K\\S'), ['back\\slash'])
    t.strictSame(await found("o'H"), ["o'hara"])
    t.strictSame(await found(''), names)
    t.strictSame(await found('rger'), ['ÄRGER'])
    t.strictSame(await found('ä'), provider === 'sqlite' ? [] : ['ÄRGER'])
    const where = { name: { startsWith: 'john\\_' } }
    t.equal(await auth.database.group.count({ where }), 1, 'startsWith also needs escaping')
    t.equal(await auth.database.group.count({ where: { NOT: { name: { endsWith: '\\%' } } } }), 5)
  })
})

/** Django's has_perms, has_module_perms and with_perm. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { type Caller, TokenUser } from '../../src/users/token-user.ts'
import { withoutPassword } from '../../src/users/user.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser } from '../support/journeys.ts'
import { watchStatements } from '../tokens/statements.ts'
import { grant, grantByGroup, permissionNamed } from './rights.ts'

/** Returns the caller that guards have with stateless=false: the row of the user. */
async function rowOf({ auth }: FastifyInstance, id: number): Promise<Caller> {
  const row = await auth.users.get('id', id)
  if (!row) throw new Error(`there is no user ${id}`)
  return withoutPassword(row)
}

/** Values that name no permission and no app, typed as strings like untrusted input. */
const HOSTILE = [
  ...[{ contains: '' }, { not: '' }, ['blog.add_post'], null, undefined, 0, true, Symbol.iterator],
  ...['\0', 'blog.\0', 'blog\0.add_post', '__proto__', '__proto__.__proto__', 'blog.__proto__', 'blog.\uD800'],
  ...['constructor.name', 'x'.repeat(100_000), `blog.${'x'.repeat(100_000)}`, '%.%', "blog.add_post' OR '1'='1"]
] as string[]

const tokenOf = (id: number | string, claims: Record<string, unknown> = {}) => new TokenUser(id, 'id', claims)

onEachDatabase(t, (t, { build }) => {
  t.test('hasPerms requires each permission of the list, and returns true for an empty list', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const alice = tokenOf((await addUser(app)).id)
    const root = tokenOf((await addUser(app, { username: 'root', isSuperuser: true })).id)
    const ina = tokenOf((await addUser(app, { username: 'ina', isActive: false })).id)
    await grant(app, Number(alice.id), 'blog.add_post')
    await grantByGroup(app, Number(alice.id), 'blog.view_post')
    const cases: [Caller | null, string[], boolean][] = [
      [alice, ['blog.add_post'], true],
      [alice, ['blog.add_post', 'blog.view_post', 'blog.add_post'], true],
      [alice, ['blog.add_post', 'blog.delete_post'], false],
      [alice, ['blog.delete_post', 'blog.add_post'], false],
      [alice, [], true],
      [root, ['no.such', ''], true],
      [root, [], true],
      [ina, ['blog.add_post'], false],
      [ina, [], true],
      [null, ['blog.add_post'], false],
      [null, [], true],
      [tokenOf(77), ['blog.add_post'], false],
      [tokenOf(77), [], true]
    ]

    for (const [caller, asked, answer] of cases) {
      t.equal(await permissions.hasPerms(caller, asked), answer, `${caller?.id} ${asked}`)
      t.equal(await permissions.hasPerms(caller, new Set(asked)), answer, 'given as a set')
    }
  })

  t.test('hasPerms throws TypeError for a single permission instead of a list', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const alice = tokenOf((await addUser(app)).id)
    const root = tokenOf((await addUser(app, { username: 'root', isSuperuser: true })).id)
    const fault = new TypeError('perm_list must be an iterable of permissions.')

    for (const caller of [alice, root, null]) {
      for (const odd of ['blog.add_post', '', null, undefined, 7, { contains: '' }, { length: 0 }]) {
        await t.rejects(permissions.hasPerms(caller, odd as string[]), fault)
      }
    }
  })

  t.test('hasModulePerms requires any permission of the app, and is true for superusers in every app', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    const root = await addUser(app, { username: 'root', isSuperuser: true })
    const ina = await addUser(app, { username: 'ina', isActive: false, isSuperuser: true })
    await grant(app, id, 'blog.add_post')
    await grantByGroup(app, id, 'shop.view_post')
    await grant(app, ina.id, 'blog.add_post')
    await permissionNamed(app, 'bank.add_post')

    for (const caller of [await rowOf(app, id), tokenOf(id)]) {
      for (const label of ['blog', 'shop']) t.equal(await permissions.hasModulePerms(caller, label), true, label)
      for (const label of ['bank', 'blo', 'blogs', 'Blog', '', '.', 'blog.', 'blog.add_post', '%', ...HOSTILE]) {
        t.equal(await permissions.hasModulePerms(caller, label), false)
      }
    }
    for (const label of ['blog', 'none', '']) {
      t.equal(await permissions.hasModulePerms(tokenOf(root.id), label), true)
      for (const caller of [tokenOf(ina.id), await rowOf(app, ina.id), tokenOf(77), null]) {
        t.equal(await permissions.hasModulePerms(caller, label), false)
      }
    }
  })

  t.test('withPerm finds users with a permission of their own, by group, and as superusers', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { permissions } = app.auth
    const users: [username: string, rights?: object, own?: string, byGroup?: string][] = [
      ['own', {}, 'blog.add_post'],
      ['group', {}, '', 'blog.add_post'],
      ['both', {}, 'blog.add_post', 'blog.add_post'],
      ['other', {}, 'blog.view_post', 'shop.add_post'],
      ['none'],
      ['root', { isSuperuser: true }],
      ['inactive', { isActive: false }, 'blog.add_post'],
      ['fallen', { isActive: false, isSuperuser: true }]
    ]
    for (const [username, rights, own, byGroup] of users) {
      const { id } = await addUser(app, { username, ...rights })
      if (own) await grant(app, id, own)
      if (byGroup) await grantByGroup(app, id, byGroup)
    }
    const holders = async (...asked: Parameters<typeof permissions.withPerm>) =>
      (await permissions.withPerm(...asked)).map(({ username }) => username).join(' ')

    t.equal(await holders('blog.add_post'), 'own group both root')
    t.equal(await holders('blog.add_post', { includeSuperusers: false }), 'own group both')
    t.equal(await holders('blog.add_post', { isActive: null }), 'own group both root inactive fallen')
    t.equal(await holders('blog.add_post', { isActive: false }), 'inactive fallen')
    t.equal(await holders('blog.add_post', { isActive: false, includeSuperusers: false }), 'inactive')
    t.equal(await holders('blog.view_post'), 'other root')
    for (const name of [
      'blog.none',
      '.',
      'blog.',
      '.add_post',
      'Blog.add_post',
      '%.%',
      'blog.\0',
      `${'x'.repeat(9999)}.x`
    ]) {
      t.equal(await holders(name), 'root', 'a superuser holds unknown permissions')
      t.equal(await holders(name, { includeSuperusers: false }), '')
    }
    const [own] = await permissions.withPerm('blog.add_post')
    t.strictSame(own, await rowOf(app, own?.id ?? 0), 'without password')
    t.strictSame(await statementsOf(() => permissions.withPerm('blog.add_post')), ['SELECT auth_user'])
  })

  t.test('withPerm throws TypeError for malformed permission names and options', async (t) => {
    const { permissions } = (await build(t)).auth
    const fault = new TypeError('Permission name should be in the form app_label.permission_codename.')

    for (const odd of [
      '',
      'add_post',
      'a.b.c',
      '..',
      '__proto__',
      '\0',
      null,
      undefined,
      7,
      { contains: '.' },
      ['a.b']
    ]) {
      await t.rejects(permissions.withPerm(odd as string), fault)
    }
    for (const isActive of [{ not: true }, 'true', 1] as unknown as boolean[]) {
      await t.rejects(permissions.withPerm('a.b', { isActive }), new TypeError('isActive must be a boolean or null.'))
    }
  })

  t.test('malformed permission names are never held and need no query', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { permissions } = app.auth
    const { id } = await addUser(app)
    await grant(app, id, 'blog.add_post')
    const [alice, nobody] = [tokenOf(id), tokenOf({ contains: '' } as unknown as string)]
    await permissions.hasPerm(alice, '')
    await permissions.hasPerm(nobody, '')

    const statements = await statementsOf(async () => {
      for (const caller of [alice, nobody]) {
        for (const name of HOSTILE) {
          t.equal(await permissions.hasPerm(caller, name), false)
          t.equal(await permissions.hasPerms(caller, ['blog.add_post', name]), false)
        }
      }
    })

    t.strictSame(statements, [], 'no statement')
  })
})

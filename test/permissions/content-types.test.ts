/** Content types and permissions of models: the same rows as Django's migrate command creates. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { migrate } from '../../src/database/migrate.ts'
import { ValidationError } from '../../src/errors.ts'
import { AUTH_MODELS, type ModelDefinition } from '../../src/permissions/content-types.ts'
import { makeDjango } from '../database/django.ts'
import { onEachDatabase, type TestWorld } from '../support/build.ts'
import { watchStatements } from '../tokens/statements.ts'

/** Returns `id app_label.model` and `id app_label.model codename: name` of all rows, ordered by id. */
async function rowsOf({ auth }: FastifyInstance): Promise<{ types: string[]; permissions: string[] }> {
  const orderBy = { id: 'asc' } as const
  const types = await auth.database.contentType.findMany({ orderBy })
  const permissions = await auth.database.permission.findMany({ orderBy, include: { contentType: true } })
  return {
    types: types.map(({ id, appLabel, model }) => `${id} ${appLabel}.${model}`),
    permissions: permissions.map(
      ({ id, codename, name, contentType }) => `${id} ${contentType.appLabel}.${contentType.model} ${codename}: ${name}`
    )
  }
}

const standard = (from: number, model: string, codename: string, name: string) =>
  ['add', 'change', 'delete', 'view'].map(
    (action, at) => `${from + at} ${model} ${action}_${codename}: Can ${action} ${name}`
  )

/** Builds two apps with separate connections to one database, as two servers have them. */
async function twoApps(t: Test, { build }: TestWorld): Promise<FastifyInstance[]> {
  const one = await build(t)
  return [one, await build(t, { databaseUrl: one.auth.settings.databaseUrl })]
}

const POST: ModelDefinition = {
  appLabel: 'blog',
  model: 'blogpost',
  verboseName: 'blog post',
  permissions: [
    ['publish', 'Can publish'],
    ['feature', 'Can put on the front page']
  ]
}

onEachDatabase(t, (t, world) => {
  const { build } = world

  t.test('the models of Django get the same rows as in Django, in the same order', async (t) => {
    const app = await build(t)

    const made = await app.auth.permissions.syncPermissions(AUTH_MODELS)

    const { types, permissions } = await rowsOf(app)
    t.strictSame(types, [
      '1 auth.permission',
      '2 auth.group',
      '3 auth.user',
      '4 contenttypes.contenttype',
      '5 sessions.session',
      '6 authtoken.token',
      '7 authtoken.tokenproxy',
      '8 token_blacklist.outstandingtoken',
      '9 token_blacklist.blacklistedtoken'
    ])
    t.strictSame(permissions, [
      ...standard(1, 'auth.permission', 'permission', 'permission'),
      ...standard(5, 'auth.group', 'group', 'group'),
      ...standard(9, 'auth.user', 'user', 'user'),
      ...standard(13, 'contenttypes.contenttype', 'contenttype', 'content type'),
      ...standard(17, 'sessions.session', 'session', 'session'),
      ...standard(21, 'authtoken.token', 'token', 'Token'),
      ...standard(25, 'authtoken.tokenproxy', 'tokenproxy', 'Token'),
      ...standard(29, 'token_blacklist.outstandingtoken', 'outstandingtoken', 'Outstanding Token'),
      ...standard(33, 'token_blacklist.blacklistedtoken', 'blacklistedtoken', 'Blacklisted Token')
    ])
    t.equal(permissions[0], '1 auth.permission add_permission: Can add permission')
    t.equal(permissions[11], '12 auth.user view_user: Can view user')
    t.equal(made.length, 36)
    t.strictSame(
      [made[0], made[11], made[35]],
      ['auth.add_permission', 'auth.view_user', 'token_blacklist.view_blacklistedtoken']
    )
  })

  t.test('custom permissions of a model follow its default permissions, which can be selected', async (t) => {
    const app = await build(t)
    const { permissions } = app.auth

    const made = await permissions.syncPermissions([
      { ...POST, defaultPermissions: ['view', 'add'] },
      { appLabel: 'blog', model: 'tag', defaultPermissions: [] },
      { appLabel: 'blog', model: 'comment' }
    ])

    t.strictSame(made.slice(0, 5), [
      'blog.view_blogpost',
      'blog.add_blogpost',
      'blog.publish',
      'blog.feature',
      'blog.add_comment'
    ])
    t.strictSame(await rowsOf(app), {
      types: ['1 blog.blogpost', '2 blog.tag', '3 blog.comment'],
      permissions: [
        '1 blog.blogpost view_blogpost: Can view blog post',
        '2 blog.blogpost add_blogpost: Can add blog post',
        '3 blog.blogpost publish: Can publish',
        '4 blog.blogpost feature: Can put on the front page',
        ...standard(5, 'blog.comment', 'comment', 'comment')
      ]
    })
  })

  t.test('missing rows are created, and existing ones stay unchanged', async (t) => {
    const app = await build(t)
    const { permissions, database } = app.auth
    await permissions.syncPermissions([{ appLabel: 'blog', model: 'blogpost', defaultPermissions: ['change'] }])
    await database.permission.updateMany({ data: { name: 'Darf ändern' } })
    const other = { contentTypeId: 1, codename: 'of_old', name: 'Can do what nobody remembers' }
    await database.permission.create({ data: other })

    const made = await permissions.syncPermissions([POST])

    t.strictSame(
      made,
      ['add_blogpost', 'delete_blogpost', 'view_blogpost', 'publish', 'feature'].map((n) => `blog.${n}`)
    )
    t.strictSame((await rowsOf(app)).permissions, [
      '1 blog.blogpost change_blogpost: Darf ändern',
      '2 blog.blogpost of_old: Can do what nobody remembers',
      '3 blog.blogpost add_blogpost: Can add blog post',
      '4 blog.blogpost delete_blogpost: Can delete blog post',
      '5 blog.blogpost view_blogpost: Can view blog post',
      '6 blog.blogpost publish: Can publish',
      '7 blog.blogpost feature: Can put on the front page'
    ])
    t.strictSame(await permissions.syncPermissions([POST]), [])
    t.strictSame(await permissions.syncPermissions([]), [])
  })

  t.test('missing rows are added to a database created by Django, and its rows keep their ids', async (t) => {
    const databaseUrl = await world.emptyDatabaseUrl(t)
    await makeDjango(databaseUrl)
    // Migrated here, because the app would also sync the permissions when it migrates.
    await migrate(databaseUrl)
    const app = await build(t, { databaseUrl })
    const before = await rowsOf(app)

    const made = await app.auth.permissions.syncPermissions(AUTH_MODELS)

    const after = await rowsOf(app)
    t.strictSame(after.types.slice(0, before.types.length), before.types)
    t.strictSame(after.permissions.slice(0, before.permissions.length), before.permissions)
    t.equal(made.length, 32)
    t.notOk(made.some((name) => /^auth\.\w+_user$/.test(name)))
    t.equal(after.permissions.length, 36)
  })

  t.test('several definitions of a model are merged, and the first definition of a permission is used', async (t) => {
    const app = await build(t)
    const made = await app.auth.permissions.syncPermissions([
      { appLabel: 'blog', model: 'post', defaultPermissions: ['add'], permissions: [['add_post', 'Twice']] },
      { appLabel: 'shop', model: 'post', defaultPermissions: ['add'] },
      { appLabel: 'blog', model: 'post', defaultPermissions: ['add', 'view'], verboseName: 'other' }
    ])

    t.strictSame(made, ['blog.add_post', 'blog.view_post', 'shop.add_post'])
    t.strictSame((await rowsOf(app)).permissions, [
      '1 blog.post add_post: Can add post',
      '2 blog.post view_post: Can view other',
      '3 shop.post add_post: Can add post'
    ])
  })

  t.test('too long and malformed names are rejected, and nothing is created', async (t) => {
    const app = await build(t)
    const { permissions, database } = app.auth
    const good = { appLabel: 'blog', model: 'post' }
    const long = (count: number) => `Ensure this field has no more than ${count} characters.`
    const cases: [definition: object, body: object][] = [
      [{ ...good, appLabel: 'x'.repeat(101) }, { appLabel: [long(100)] }],
      [{ ...good, model: 'x'.repeat(101) }, { model: [long(100)] }],
      [{ ...good, model: 'x'.repeat(94) }, { codename: [long(100)] }],
      [{ ...good, verboseName: 'x'.repeat(245) }, { name: [long(255)] }],
      [{ ...good, verboseName: 'x'.repeat(1_000_000) }, { verboseName: [long(255)] }],
      [{ ...good, permissions: [['x'.repeat(101), 'x']] }, { codename: [long(100)] }],
      [{ ...good, permissions: [['x', 'x'.repeat(256)]] }, { name: [long(255)] }],
      [{ ...good, model: 'Post' }, { model: ['Ensure this field is in lower case.'] }],
      [{ ...good, appLabel: 'my.blog' }, { appLabel: ['Ensure this field has no dots.'] }],
      [{ ...good, appLabel: '' }, { appLabel: ['This field may not be blank.'] }],
      [{ ...good, model: 'po\0st' }, { model: ['Null characters are not allowed.'] }],
      [{ ...good, model: 'po\uD800st' }, { model: ['Not a valid string.'] }],
      [{ ...good, appLabel: { contains: '' } }, { appLabel: ['Not a valid string.'] }],
      [{ ...good, model: ['post'] }, { model: ['Not a valid string.'] }],
      [{ model: 'post' }, { appLabel: ['Not a valid string.'] }],
      [{ ...good, verboseName: null }, { verboseName: ['Not a valid string.'] }],
      [{ ...good, permissions: [[{ contains: '' }, 'x']] }, { codename: ['Not a valid string.'] }],
      [{ ...good, permissions: [['x', null]] }, { name: ['Not a valid string.'] }],
      [{ ...good, defaultPermissions: ['add', 'drop'] }, { defaultPermissions: ['"drop" is not a valid choice.'] }]
    ]

    for (const [definition, body] of cases) {
      const models = [{ appLabel: 'fine', model: 'fine' }, definition as ModelDefinition]
      const error = await permissions.syncPermissions(models).catch((error: unknown) => error)
      t.type(error, ValidationError)
      t.strictSame((error as ValidationError).body, body)
    }
    t.equal(await database.contentType.count(), 0)
    const widest = { appLabel: 'x'.repeat(100), model: 'x'.repeat(93), verboseName: 'x'.repeat(244) }
    t.equal((await permissions.syncPermissions([widest, { appLabel: '__proto__', model: 'constructor' }])).length, 8)
    t.equal((await permissions.syncPermissions([{ ...widest, model: '𝄞'.repeat(93) }])).length, 4, 'counts characters')
  })

  t.test('20 concurrent syncs all succeed and create each row once', async (t) => {
    const apps = await twoApps(t, world)
    const [app] = apps as [FastifyInstance]

    const made = await Promise.all(
      Array.from({ length: 20 }, (_, at) => apps[at % 2]?.auth.permissions.syncPermissions([...AUTH_MODELS, POST]))
    )

    t.equal(made.filter((names) => names?.length === 42).length, 1, 'one has created all rows')
    t.equal(made.filter((names) => names?.length === 0).length, 19)
    const { types, permissions } = await rowsOf(app)
    const [expected, theirs] = [await build(t), permissions.map((row) => row.replace(/^\d+ /, ''))]
    await expected.auth.permissions.syncPermissions([...AUTH_MODELS, POST])
    const alone = await rowsOf(expected)
    t.strictSame(
      theirs,
      alone.permissions.map((row) => row.replace(/^\d+ /, '')),
      'in the same order'
    )
    t.equal(types.length, alone.types.length)
  })

  t.test('concurrent syncs of different models in different orders create each row once', async (t) => {
    const apps = await twoApps(t, world)
    for (let round = 0; round < 5; round++) {
      const models = Array.from({ length: 40 }, (_, at) => ({ appLabel: `round${round}`, model: `model${at}` }))
      const orders = [models, models.toReversed(), models.slice(10), models.slice(0, 30).reverse()]

      const made = await Promise.all(
        orders.map((order, at) => apps[at % 2]?.auth.permissions.syncPermissions(order) ?? [])
      )

      const names = made.flat()
      t.equal(names.length, 160)
      t.equal(new Set(names).size, 160, 'each permission is reported by one call')
    }
  })

  t.test('a sync that runs into a deadlock is retried', async (t) => {
    const [app, other] = (await twoApps(t, world)) as [FastifyInstance, FastifyInstance]
    const [post, tag] = [
      { appLabel: 'blog', model: 'post' },
      { appLabel: 'blog', model: 'tag' }
    ]

    const syncing = await other.auth.database.$transaction(async ({ contentType }) => {
      await contentType.create({ data: tag })
      const made = app.auth.permissions.syncPermissions([post, tag])
      // PostgreSQL aborts a deadlocked transaction after deadlock_timeout, one second by default.
      await sleep(300)
      await contentType.create({ data: post })
      return { made }
    })

    t.equal((await syncing.made).length, 8)
    t.strictSame(
      (await rowsOf(app)).types.map((row) => row.replace(/^\d+ /, '')),
      ['blog.tag', 'blog.post']
    )
  })

  t.test('a sync takes two SELECTs, and up to two INSERTs in one transaction if rows are missing', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { permissions } = app.auth
    const look = ['SELECT django_content_type', 'SELECT auth_permission']
    const sync = (models: readonly ModelDefinition[]) => statementsOf(() => permissions.syncPermissions(models))

    t.strictSame(await sync([POST]), [
      ...look,
      'BEGIN',
      'INSERT django_content_type',
      'INSERT auth_permission',
      'COMMIT'
    ])
    t.strictSame(await sync([POST]), look, 'no transaction if nothing is missing')
    const more = [...(POST.permissions ?? []), ['pin', 'Can pin'] as const]
    t.strictSame(await sync([{ ...POST, permissions: more }]), [...look, 'BEGIN', 'INSERT auth_permission', 'COMMIT'])
  })
})

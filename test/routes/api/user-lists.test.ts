/** Search, filters, order and pages of the list of users. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { onEachDatabase } from '../../support/build.ts'
import { addUser } from '../../support/journeys.ts'
import { watchStatements } from '../../tokens/statements.ts'
import { ask, signInRoot } from './staff.ts'

/** Returns the usernames of a page in order, or status and body of an error. */
async function namesOf(app: FastifyInstance, query: string, as: Record<string, string>, path = 'users/') {
  const [status, body] = await ask(app, 'GET', `${path}?${query}`, as)
  return status === 200 ? body.results.map(({ username }: { username: string }) => username).join(' ') : [status, body]
}

onEachDatabase(t, (t, { build }) => {
  t.test('users are searched, filtered, ordered and paginated, and other parameters are ignored', async (t) => {
    const app = await build(t)
    const { as } = await signInRoot(app)
    const { users, groups } = app.auth
    const editors = (await groups.createGroup('editors')).id
    const readers = (await groups.createGroup('readers')).id
    await users.createUser({
      username: 'ann_1',
      firstName: 'Ann',
      lastName: 'Bee',
      email: 'ann@x.cc',
      groups: [editors, readers]
    })
    await users.createUser({ username: 'annX1', firstName: 'Ann', isActive: false, groups: [readers] })
    await users.createUser({ username: 'bob', email: 'bob@100%.cc', isStaff: true })

    const answers: [query: string, answer: unknown][] = [
      ['', 'root ann_1 annX1 bob'],
      ['search=ANN', 'ann_1 annX1'],
      ['search=ann+bee', 'ann_1'],
      ['search="ann bee"', ''],
      ['search=n_1', 'ann_1'],
      ['search=%25', 'bob'],
      ['search=\\', ''],
      ["search='", 'root ann_1 annX1 bob'],
      ['search=a&search=bo', 'bob'],
      ['search[]=bo&search[contains]=x', 'root ann_1 annX1 bob'],
      ['search=%00', [400, ['Null characters are not allowed.']]],
      ['is_active=true', 'root ann_1 bob'],
      ['is_active=false&is_superuser=0', 'annX1'],
      ['is_staff=true&is_superuser=False', 'bob'],
      ['is_staff=maybe', [400, { is_staff: ['Must be a valid boolean.'] }]],
      ['username=bob', 'bob'],
      ['username=BOB', ''],
      ['username=bob&username[not]=x', 'bob'],
      ['username__contains=o', 'root ann_1 annX1 bob'],
      ['email=ann@x.cc', 'ann_1'],
      [`groups=${editors}`, 'ann_1'],
      [`groups=${editors}&groups=${readers}`, 'ann_1 annX1'],
      ['groups=99', [400, { groups: ['Select a valid choice. 99 is not one of the available choices.'] }]],
      ['groups=x', [400, { groups: ['“x” is not a valid value.'] }]],
      ['ordering=-is_staff,-username&is_active=true', 'root bob ann_1'],
      ['ordering=-id&page_size=2', 'bob annX1'],
      ['ordering=first_name&page_size=2&page=2', 'ann_1 annX1'],
      ['ordering=password', 'root ann_1 annX1 bob'],
      ['ordering=__proto__,-id', 'bob annX1 ann_1 root'],
      ['password=x&__proto__[is_staff]=1&constructor=1', 'root ann_1 annX1 bob'],
      ['page=last&page_size=3', 'bob'],
      ...['-1', '0', '2', 'x', '1.0', '%00', '__proto__'].map((page): [string, unknown] => [
        `page=${page}`,
        [404, { detail: 'Invalid page.' }]
      ])
    ]
    for (const [query, answer] of answers) {
      t.strictSame(await namesOf(app, query, as), answer, query)
    }
    const [, { next }] = await ask(app, 'GET', 'users/?page_size=2&is_active=true&x=1', { ...as, host: 'h' })
    t.equal(next, 'http://h/api/users/?is_active=true&page=2&page_size=2&x=1', 'links keep the parameters')
  })

  t.test('users with equal sort values are each on exactly one page', async (t) => {
    const app = await build(t)
    const { as } = await signInRoot(app)
    for (let n = 0; n < 9; n++) await addUser(app, { username: `u${n}` })
    const pages = [1, 2, 3, 4, 5].map((page) => namesOf(app, `ordering=-is_active&page_size=2&page=${page}`, as))
    t.equal((await Promise.all(pages)).join(' '), 'root u0 u1 u2 u3 u4 u5 u6 u7 u8')
  })

  t.test('a list of fifty users takes as many statements as a list of one', async (t) => {
    const statementsOf = watchStatements(t)
    const app = await build(t)
    const { as } = await signInRoot(app)
    const group = (await app.auth.groups.createGroup('editors')).id
    const statements = () => statementsOf(() => ask(app, 'GET', 'users/', as))
    const few = await statements()
    for (let n = 0; n < 50; n++) await app.auth.users.createUser({ username: `u${n}`, groups: [group] })
    t.strictSame(await statements(), few)
    t.strictSame(few, [
      'SELECT auth_user',
      ...['SELECT auth_user', 'SELECT auth_user', 'SELECT auth_user_groups', 'SELECT auth_user_user_permissions']
    ])
  })
})

/** Django's authenticate(): accepted credentials, cost, and rehashing of outdated passwords. */
import { createHash } from 'node:crypto'
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'
import t from 'tap'
import { accountRoutes } from '../../src/index.ts'
import { createHashers, type Hashers, HashingOverloaded } from '../../src/passwords/hashers.ts'
import { ensureUniqueEmails } from '../../src/users/addresses.ts'
import { Users } from '../../src/users/users.ts'
import { preferring, recordWork, withOtherHash } from '../passwords/hashing.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'
import { bodyOf, refusalOf } from '../tokens/rows.ts'

/** A hash with a salt so short that it must be rehashed. */
const OUTDATED = `md5$abc$${createHash('md5').update(`abc${PASSWORD}`).digest('hex')}`

/** Adds a user with an outdated hash and returns its id. */
async function addOutdated(app: FastifyInstance, more = {}): Promise<number> {
  const { id } = await addUser(app, more)
  await app.auth.database.user.update({ where: { id }, data: { password: OUTDATED } })
  return id
}

const storedOf = async ({ auth }: FastifyInstance, id: number) => (await auth.users.get('id', id))?.password

/** Returns the app's users with another `makePassword`. */
function usersWith({ auth }: FastifyInstance, makePassword: Hashers['makePassword']): Users {
  return new Users(auth.database, { ...createHashers(auth.settings), makePassword }, auth.settings, auth.sessions)
}

onEachDatabase(t, (t, { build }) => {
  t.test('a username is normalized at login as at registration, and an exact match comes first', async (t) => {
    const app = await build(t)
    const { users, database } = app.auth
    const { id } = await addUser(app, { username: 'ｔａｒｏ' })
    t.equal((await users.get('id', id))?.username, 'taro')
    t.equal((await users.authenticate('ｔａｒｏ', PASSWORD))?.id, id)
    t.equal((await users.authenticate('taro', PASSWORD))?.id, id)
    const other = await addUser(app, { username: 'hana' })
    await database.user.update({ where: { id: other.id }, data: { username: 'ｔａｒｏ' } })
    t.equal((await users.authenticate('ｔａｒｏ', PASSWORD))?.id, other.id, 'a row that another system has written')
  })

  t.test(
    'only the username, in any Unicode normalization form, and the exact password of an active user are accepted',
    async (t) => {
      const app = await build(t)
      const { users } = app.auth
      const { id } = await addUser(app, { username: 'élève' })
      await addUser(app, { username: 'ina', isActive: false })
      await users.createUser({ username: 'locked' })
      const refused: [string, string][] = [
        ['élève', 'wrong'],
        ['élève', ''],
        ['élève', PASSWORD.toUpperCase()],
        ['élève', `${PASSWORD} `],
        ['élève', `${PASSWORD}\0`],
        ['Élève', PASSWORD],
        ['ina', PASSWORD],
        ['locked', ''],
        ['nobody', PASSWORD],
        ['', PASSWORD],
        ['\0', PASSWORD]
      ]

      t.match(await users.authenticate('élève', PASSWORD), { id, username: 'élève', password: /^md5\$/ })
      for (const [username, password] of refused) t.equal(await users.authenticate(username, password), null, username)
    }
  )

  t.test('with loginField "email" users log in with an email address that only one user has', async (t) => {
    const app = await build(t, { loginField: 'email' })
    const { id } = await addUser(app, { email: 'Alice@example.com' })
    for (const username of ['bob', 'carol', 'none']) await addUser(app, { username, email: '' })
    // Duplicates may exist in an adopted database.
    await app.auth.database.$executeRaw`DROP INDEX latchkey_user_email_unique`
    const where = { username: { in: ['bob', 'carol'] } }
    await app.auth.database.user.updateMany({ where, data: { email: 'both@example.com' } })
    const logIn = async (payload: object) =>
      (await app.inject({ method: 'POST', url: '/api/token/', payload })).statusCode

    for (const email of ['alice@example.com', ' ALICE@EXAMPLE.COM '])
      t.equal(await logIn({ email, password: PASSWORD }), 200)
    const refused = [
      'alice',
      'both@example.com',
      'nobody@example.com',
      "x' OR 1=1 --",
      '%',
      'x'.repeat(500),
      'ａlice@example.com'
    ]
    for (const email of refused) t.equal(await logIn({ email, password: PASSWORD }), 401, email.slice(0, 20))
    t.equal(await logIn({ username: 'alice', password: PASSWORD }), 400, 'the field is called email')
    t.equal(await logIn({ email: { contains: '@' }, password: PASSWORD }), 400)
    t.match(await app.auth.users.authenticate('alice@EXAMPLE.com', PASSWORD), { id })
    for (const email of ['', '\0', '\ud800@example.com'])
      t.equal(await app.auth.users.authenticate(email, PASSWORD), null)
  })

  t.test(
    'with loginField "email" one of concurrent users gets an address, at every door and in two processes',
    async (t) => {
      const mount = (app: FastifyInstance) => app.register(accountRoutes, { prefix: '/auth' })
      const settings = { loginField: 'email', accountsEmailChangePassword: false } as const
      const app = await build(t, settings, mount)
      const other = await build(t, { ...settings, databaseUrl: app.auth.settings.databaseUrl }, mount)
      const apps = [app, other]
      const root = await addUser(app, { username: 'root', email: 'root@example.com', isStaff: true, isSuperuser: true })
      const { access } = await app.auth.tokens.issuePair((await app.auth.users.get('id', root.id)) as never)
      const headers = { authorization: `Bearer ${access}` }
      const ids: number[] = []
      for (let n = 0; n < 6; n++)
        ids.push((await addUser(app, { username: `user${n}`, email: `user${n}@example.com` })).id)
      const doors: [
        name: string,
        ask: (app: FastifyInstance, n: number, email: string) => Promise<LightMyRequestResponse>
      ][] = [
        [
          'sign-up',
          (app, n, email) =>
            app.inject({
              method: 'POST',
              url: '/auth/users/',
              payload: { username: `new${n}`, email, password: PASSWORD }
            })
        ],
        [
          'staff creates',
          (app, n, email) =>
            app.inject({ method: 'POST', url: '/api/users/', headers, payload: { username: `made${n}`, email } })
        ],
        [
          'staff changes',
          (app, n, email) => app.inject({ method: 'PATCH', url: `/api/users/${ids[n]}/`, headers, payload: { email } })
        ],
        [
          'staff changes at djoser',
          (app, n, email) => app.inject({ method: 'PATCH', url: `/auth/users/${ids[n]}/`, headers, payload: { email } })
        ]
      ]
      for (const [name, ask] of doors) {
        const address = `${name.replaceAll(' ', '.')}@example.com`
        const spellings = [address, address.toUpperCase(), address.replace('s', 'S')]
        const answers = await Promise.all(
          Array.from({ length: 6 }, (_, n) => ask(apps[n % 2] as FastifyInstance, n, spellings[n % 3] as string))
        )
        const refused = answers.filter(({ statusCode }) => statusCode >= 300)
        t.equal(refused.length, 5, name)
        for (const { statusCode, body } of refused) {
          t.strictSame([statusCode, body], [400, '{"email":["user with this email address already exists."]}'], name)
        }
        t.equal((await app.auth.users.withEmail(address)).length, 1, name)
      }
    }
  )

  t.test('addresses that several users have are named at the start, and can be changed by staff', async (t) => {
    const before = await build(t)
    const { databaseUrl } = before.auth.settings
    const ids: number[] = []
    for (const username of ['one', 'two']) ids.push((await addUser(before, { username, email: 'Both@example.com' })).id)
    const { database } = before.auth
    t.match(await ensureUniqueEmails(database), `ids: (${ids.join(', ')})`)
    const app = await build(t, { databaseUrl, loginField: 'email' })
    const [one = 0, two = 0] = ids
    const { users } = app.auth
    const changes = [
      () => users.setEmail(one, 'BOTH@example.com'),
      () => users.updateUser(one, { email: 'both@example.com' })
    ]
    for (const change of changes) {
      t.strictSame(bodyOf(await refusalOf(change())), { email: ['user with this email address already exists.'] })
    }
    await users.updateUser(two, { email: 'two@example.com' })
    t.match(await users.authenticate('both@example.com', PASSWORD), { id: one })
    t.equal(await ensureUniqueEmails(database), null)
  })

  t.test('AllowAllUsersModelBackend accepts inactive users', async (t) => {
    const app = await build(t, { authenticationBackends: 'AllowAllUsersModelBackend' })
    await addUser(app, { username: 'ina', isActive: false })

    t.match(await app.auth.users.authenticate('ina', PASSWORD), { isActive: false })
    t.equal(await app.auth.users.authenticate('ina', 'wrong'), null)
  })

  t.test('an outdated hash is renewed by a successful login only', async (t) => {
    const app = await build(t)
    const { users } = app.auth
    const id = await addOutdated(app)
    const ina = await addOutdated(app, { username: 'ina', isActive: false })

    await users.authenticate('alice', 'wrong')
    await users.authenticate('ina', PASSWORD)
    t.equal(await storedOf(app, id), OUTDATED)
    t.equal(await storedOf(app, ina), OUTDATED)
    const user = await users.authenticate('alice', PASSWORD)

    const renewed = await storedOf(app, id)
    t.match(renewed, /^md5\$[A-Za-z0-9]{22}\$/)
    t.equal(user?.password, renewed, 'the returned user has the new hash')
    t.match(await users.authenticate('alice', PASSWORD), { password: renewed }, 'renewed once')
  })

  t.test('a password changed during the rehash is not overwritten', async (t) => {
    const app = await build(t)
    const id = await addOutdated(app)
    const users = usersWith(app, async () => {
      await app.auth.users.setPassword(id, 'another-Pass-1')
      return 'md5$renewed$'
    })

    t.match(await users.authenticate('alice', PASSWORD), { id, password: OUTDATED })

    t.match(await app.auth.users.authenticate('alice', 'another-Pass-1'), { id })
  })

  t.test('a login succeeds without a rehash if hashing is overloaded', async (t) => {
    const app = await build(t)
    const id = await addOutdated(app)
    const users = usersWith(app, async () => {
      throw new HashingOverloaded()
    })

    t.match(await users.authenticate('alice', PASSWORD), { id, password: OUTDATED })

    t.equal(await storedOf(app, id), OUTDATED)
  })

  t.test('any other error of a rehash is raised', async (t) => {
    const app = await build(t)
    await addOutdated(app)
    const users = usersWith(app, async () => {
      throw new Error('out of memory')
    })

    await t.rejects(users.authenticate('alice', PASSWORD), /out of memory/)
  })
})

t.test('failed logins take the same hashing work whether or not the user exists', async (t) => {
  const app = await worldOf('sqlite').build(t)
  const { database, settings, sessions } = app.auth
  const work = recordWork(t)
  const users = new Users(database, preferring('bcrypt_sha256', 12), settings, sessions)
  const [alice, ina] = [await addUser(app), await addUser(app, { username: 'ina', isActive: false })]
  await users.createUser({ username: 'locked' })
  await users.setPassword(alice.id, PASSWORD)
  await users.setPassword(ina.id, PASSWORD)
  const stored = (await users.get('id', alice.id))?.password ?? ''
  await database.user.update({ where: { id: alice.id }, data: { password: withOtherHash(stored) } })
  const names = ['alice', 'ina', 'locked', 'nobody', '', 'a\0', '\ud800', 'x'.repeat(10_000)]

  for (const password of ['wrong', '']) {
    for (const name of names) {
      work.length = 0
      t.equal(await users.authenticate(name, password), null)
      t.strictSame(work, [{ by: 'bcrypt', cost: 12 }], name.slice(0, 20))
    }
  }
  for (const name of names) {
    work.length = 0
    t.equal(await users.authenticate(name, 'x'.repeat(1025)), null)
    t.strictSame(work, [], 'none for a password of more than 1,024 characters')
  }
})

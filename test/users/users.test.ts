/** Creating, finding, changing and deleting users. */
import t from 'tap'
import { ValidationError } from '../../src/errors.ts'
import { isUserId, primaryKeyOf, withoutPassword } from '../../src/users/user.ts'
import { normalizeEmail } from '../../src/users/usernames.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'
import { refuseInserts } from '../tokens/faults.ts'
import { outcomeOf } from '../tokens/rows.ts'
import { watchStatements } from '../tokens/statements.ts'
import vectors from './name-vectors.json' with { type: 'json' }

const MISSING = 'The given username must be set'
const LONG = 'Ensure this field has no more than 150 characters.'
const MALFORMED = 'Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ characters.'
const TAKEN = 'A user with that username already exists.'

/** A letter of two UTF-16 units, which Django and PostgreSQL count as one character. */
const WIDE = '𠮷'

onEachDatabase(t, (t, { build, buildWithBlacklist }) => {
  t.test('a new user has the given values and the defaults of Django, and is returned without password', async (t) => {
    const app = await build(t)
    const { users } = app.auth
    const before = Date.now()
    const given = { firstName: 'Al', lastName: 'Ice', email: 'Al@EXAMPLE.com', isStaff: true, isActive: false }

    const plain = await users.createUser({ username: 'alice', password: PASSWORD })
    const full = await users.createUser({ username: 'full', ...given })

    const { dateJoined, ...others } = plain
    t.ok(Number(dateJoined) >= before && Number(dateJoined) <= Date.now())
    t.strictSame(others, {
      id: 1,
      username: 'alice',
      email: '',
      firstName: '',
      lastName: '',
      isStaff: false,
      isSuperuser: false,
      isActive: true,
      lastLogin: null
    })
    t.match(full, { ...given, email: 'Al@example.com', isSuperuser: false })
    t.notOk('password' in full)
    t.match(await users.get('id', plain.id), { ...plain, password: /^md5\$[A-Za-z0-9]{22}\$[0-9a-f]{32}$/ })
  })

  t.test('a new superuser is staff and superuser whatever values were given', async (t) => {
    const app = await build(t)

    const root = await app.auth.users.createSuperuser({ username: 'root', isStaff: false, isSuperuser: false })

    t.match(root, { username: 'root', isStaff: true, isSuperuser: true, isActive: true })
  })

  t.test('a user without a password gets a unique unusable one', async (t) => {
    const app = await build(t)
    const { users } = app.auth

    const made = [await users.createUser({ username: 'a' }), await users.createUser({ username: 'b', password: null })]
    await addUser(app)
    await users.setPassword(3, null)

    const stored = await Promise.all([...made.map(({ id }) => id), 3].map((id) => users.get('id', id)))
    for (const user of stored) t.match(user?.password, /^![A-Za-z0-9]{40}$/)
    t.equal(new Set(stored.map((user) => user?.password)).size, 3)
  })

  t.test(
    'usernames are normalized to NFKC and validated as in Django; invalid ones are rejected with the messages of Django',
    async (t) => {
      const app = await build(t)
      const normal = (name: string) => name.normalize('NFKC')
      const good = [
        ...vectors.username_validators.filter(({ unicode }) => unicode).map(({ value }) => value),
        ...vectors.normalize_username.map((vector) => vector.in),
        `${WIDE.repeat(149)}1`
      ]
      const bad: [string, string[]][] = [
        ['', [MISSING]],
        ...vectors.username_validators
          .filter(({ value, unicode }) => value !== '' && !unicode && normal(value) === value)
          .map(({ value }): [string, string[]] => [value, [MALFORMED]]),
        ['x'.repeat(151), [LONG]],
        [WIDE.repeat(151), [LONG]],
        ['\ufdfa'.repeat(9), [LONG, MALFORMED]],
        [' '.repeat(1_000_000), [LONG, MALFORMED]],
        ['a\0', [MALFORMED]],
        ['a\ud800', [MALFORMED]]
      ]

      for (const name of new Set(good)) {
        await app.auth.database.user.deleteMany()
        t.equal((await app.auth.users.createUser({ username: name })).username, normal(name), name)
      }
      for (const { in: given, out } of vectors.normalize_username) t.equal(normal(given), out)
      for (const [username, messages] of bad) {
        const refusal = await outcomeOf(app.auth.users.createUser({ username }))

        t.type(refusal, ValidationError)
        t.strictSame(refusal?.body, { username: messages }, JSON.stringify(username.slice(0, 20)))
      }
    }
  )

  t.test('usernames are unique after NFKC and case-sensitive, also with concurrent creations', async (t) => {
    const app = await build(t)
    const create = (username: string) => outcomeOf(app.auth.users.createUser({ username }))

    const rivals = await Promise.all(Array.from({ length: 10 }, () => create('alice')))
    const later = [await create('alice'), await create('\uff21lice'), await create('Alice')]

    const refusals = rivals.filter((outcome) => outcome !== null)
    t.equal(refusals.length, 9)
    for (const refusal of [...refusals, later[0], later[2]])
      t.match(refusal, { body: { username: [TAKEN] }, statusCode: 400 })
    t.equal(later[1], null, 'the fullwidth A is normalized')
    t.equal(await app.auth.database.user.count(), 2)
  })

  t.test('a database error other than a taken username is raised as it is', async (t) => {
    const app = await build(t)
    await refuseInserts(app, 'auth_user')

    await t.rejects(app.auth.users.createUser({ username: 'alice' }), /refused/)
  })

  t.test('a password that cannot be hashed is rejected (400) and changes nothing', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const { users } = app.auth
    const before = await users.get('id', id)

    for (const password of ['a\0', '\ud800', 'x'.repeat(1025)]) {
      t.match(await outcomeOf(users.createUser({ username: 'bob', password })), {
        statusCode: 400,
        body: { password: [String] }
      })
      t.match(await outcomeOf(users.setPassword(id, password)), { statusCode: 400, body: { password: [String] } })
    }
    t.equal(await users.get('username', 'bob'), null)
    t.strictSame(await users.get('id', id), before)
  })

  t.test('a new password, also an empty one, replaces the password of this user only', async (t) => {
    const app = await build(t)
    const { users } = app.auth
    const { id } = await addUser(app)
    await addUser(app, { username: 'bob' })

    for (const password of ['another-Pass-1', '']) {
      await users.setPassword(id, password)

      t.match(await users.authenticate('alice', password), { id })
      t.equal(await users.authenticate('alice', PASSWORD), null)
      t.match(await users.authenticate('bob', PASSWORD), { username: 'bob' })
    }
    await t.rejects(users.setPassword(77, PASSWORD), 'unknown id')
  })

  t.test('users are found by the exact id or username of a token, and by no other value', async (t) => {
    const app = await build(t)
    const { users } = app.auth
    const { id } = await addUser(app)
    const wide = await addUser(app, { username: WIDE.repeat(150) })
    const nobody = [undefined, null, '', '0', '01', ' 1', '1.0', '77', 77, true, 1.5, [id], { id }, { not: 0 }, 'alice']

    for (const value of [id, String(id)]) t.match(await users.get('id', value), { id, username: 'alice' })
    for (const value of nobody) t.equal(await users.get('id', value), null, JSON.stringify(value))
    t.match(await users.get('username', 'alice'), { id })
    t.match(await users.get('username', WIDE.repeat(150)), { id: wide.id }, '150 characters of two UTF-16 units')
    for (const value of ['Alice', 'alice ', 'alice\0', '\ud800', 1, ['alice'], { contains: '' }, 'x'.repeat(100_000)]) {
      t.equal(await users.get('username', value), null)
    }
  })

  t.test('last_login is set to now for this user only, and an unknown id is ignored', async (t) => {
    const app = await build(t)
    const { users } = app.auth
    const [{ id }, bob] = [await addUser(app), await addUser(app, { username: 'bob' })]
    const before = Date.now()

    await users.updateLastLogin(id)
    await users.updateLastLogin(77)

    const { lastLogin } = (await users.get('id', id)) ?? {}
    t.ok(Number(lastLogin) >= before && Number(lastLogin) <= Date.now())
    t.equal((await users.get('id', bob.id))?.lastLogin, null)
  })

  t.test(
    'deleting a user deletes its related rows in the order of Django and keeps its outstanding tokens without a user',
    async (t) => {
      const statementsOf = watchStatements(t)
      const app = await buildWithBlacklist(t)
      const { database, users } = app.auth
      const [alice, bob] = [await addUser(app), await addUser(app, { username: 'bob' })]
      const group = await database.group.create({ data: { name: 'editors' } })
      const contentType = await database.contentType.create({ data: { appLabel: 'blog', model: 'post' } })
      const permission = await database.permission.create({
        data: { name: 'x', codename: 'add_post', contentTypeId: contentType.id }
      })
      for (const { id: userId, username } of [alice, bob]) {
        await database.userGroup.create({ data: { userId, groupId: group.id } })
        await database.userPermission.create({ data: { userId, permissionId: permission.id } })
        await database.authToken.create({ data: { key: username, created: new Date(), userId } })
        await app.auth.tokens.obtainPair({ username, password: PASSWORD })
      }

      // The first deletion looks up whether the table of Django's admin log exists.
      await users.deleteUser(77)
      const statements = await statementsOf(() => users.deleteUser(alice.id))

      t.strictSame(statements, [
        'BEGIN',
        'UPDATE auth_user',
        'UPDATE latchkey_session',
        'INSERT latchkey_revocation',
        'INSERT latchkey_revocation',
        'SELECT',
        'DELETE auth_user_groups',
        'DELETE auth_user_user_permissions',
        'DELETE authtoken_token',
        'DELETE latchkey_renewed_password',
        'UPDATE token_blacklist_outstandingtoken',
        'DELETE latchkey_session',
        'DELETE latchkey_credential_epoch',
        'DELETE latchkey_pending_activation',
        'DELETE latchkey_pending_email',
        'DELETE auth_user',
        'COMMIT'
      ])
      const owners = async (rows: Promise<{ userId: number | null }[]>) => (await rows).map(({ userId }) => userId)
      t.equal(await users.get('id', alice.id), null)
      t.strictSame(await owners(database.userGroup.findMany()), [bob.id])
      t.strictSame(await owners(database.userPermission.findMany()), [bob.id])
      t.strictSame(await owners(database.authToken.findMany()), [bob.id])
      t.strictSame(await owners(database.outstandingToken.findMany({ orderBy: { id: 'asc' } })), [null, bob.id])
      t.match(await users.authenticate('bob', PASSWORD), { id: bob.id })
    }
  )
})

t.test('email addresses are normalized as in Django', async (t) => {
  for (const { in: given, out } of vectors.normalize_email) t.equal(normalizeEmail(given ?? ''), out, String(given))
  t.equal(normalizeEmail(' no at sign '), ' no at sign ')
})

t.test('a primary key is a positive 32-bit integer or its canonical decimal string', async (t) => {
  const keys: [unknown, number | null][] = [
    [1, 1],
    ['1', 1],
    [2_147_483_647, 2_147_483_647],
    ['2147483647', 2_147_483_647],
    [2_147_483_648, null],
    ['2147483648', null],
    ['9'.repeat(20), null],
    [0, null],
    ['0', null],
    [-1, null],
    ['-1', null],
    [-0, null],
    [1.5, null],
    [Number.NaN, null],
    [Number.POSITIVE_INFINITY, null],
    [1n, null],
    ['', null],
    ['01', null],
    ['+1', null],
    [' 1', null],
    ['1\n', null],
    ['1e0', null],
    ['0x1', null],
    ['1.0', null],
    ['１', null],
    ['١', null],
    [true, null],
    [null, null],
    [undefined, null],
    [[1], null],
    [{ valueOf: () => 1 }, null]
  ]

  for (const [value, key] of keys) {
    t.equal(primaryKeyOf(value), key, String(value))
    t.equal(isUserId('id', value), key !== null)
  }
})

t.test('a username is a string of at most 150 characters that the database can store', async (t) => {
  for (const name of ['', 'a', 'é', WIDE.repeat(150), 'x'.repeat(150)]) t.ok(isUserId('username', name))
  for (const value of [1, null, ['a'], 'a\0', '\ud800', 'x'.repeat(151), WIDE.repeat(151)]) {
    t.notOk(isUserId('username', value), String(value))
  }
})

t.test('withoutPassword removes the password and keeps all other fields', async (t) => {
  const row = { id: 1, password: 'secret', username: 'alice' } as Parameters<typeof withoutPassword>[0]

  t.strictSame(withoutPassword(row), { id: 1, username: 'alice' })
})

/** User enumeration: failed logins have the same response and the same hashing work for every username. */
import bcrypt from 'bcrypt'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { accountRoutes } from '../../src/index.ts'
import { openBrowser } from '../support/browser.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'

const BCRYPT = { passwordHashers: ['bcrypt_sha256' as const], bcryptRounds: 5 }

/** Records the sum of bcrypt's rounds, and hashes as usual. */
function recordWork(t: Test): { done: number } {
  const work = { done: 0 }
  const hash = bcrypt.hash.bind(bcrypt) as (password: string, salt: string) => Promise<string>
  t.intercept(bcrypt, 'hash', {
    value: (password: string, salt: string) => {
      work.done += 2 ** Number(salt.slice(4, 6))
      return hash(password, salt)
    }
  })
  return work
}

/** Adds users of all kinds: active, inactive, without a password, with an outdated and with a broken hash. */
async function addUsers(app: FastifyInstance): Promise<void> {
  await addUser(app)
  await addUser(app, { username: 'ina', isActive: false })
  await app.auth.users.createUser({ username: 'locked' })
  await addUser(app, { username: 'old' })
  await addUser(app, { username: 'broken' })
  const { database } = app.auth
  const outdated = (password: string) => password.replace(/\$05\$.{53}$/, `$04$${'.'.repeat(53)}`)
  const { password } = await database.user.findUniqueOrThrow({ where: { username: 'old' } })
  await database.user.update({ where: { username: 'old' }, data: { password: outdated(password) } })
  await database.user.update({ where: { username: 'broken' }, data: { password: 'bcrypt_sha256$$2b$05$broken' } })
}

const NAMES = [
  'alice',
  'ina',
  'locked',
  'old',
  'broken',
  'nobody',
  'ALICE',
  'no body\n',
  'n'.repeat(151),
  '__proto__',
  '1'
]
const PASSWORDS = ['wrong', 'x'.repeat(73), 'x'.repeat(1024)]

const logIn = (app: FastifyInstance, username: string, password: string) =>
  app.inject({ method: 'POST', url: '/api/token/', payload: { username, password } })

onEachDatabase(t, (t, { build }) => {
  t.test('failed logins have the same response and hashing work for every username', async (t) => {
    const app = await build(t, BCRYPT)
    await addUsers(app)
    const work = recordWork(t)
    const asked = [...PASSWORDS.flatMap((password) => NAMES.map((name) => [name, password])), ['ina', PASSWORD]]
    const shown = []
    for (const [name = '', password = ''] of asked) {
      work.done = 0
      const { statusCode, headers, body } = await logIn(app, name, password)
      shown.push({ statusCode, body, headers: { ...headers, date: '' }, work: work.done })
    }
    const [first] = shown
    t.match(first, { statusCode: 401, body: NO_ACCOUNT, work: 2 ** BCRYPT.bcryptRounds })
    for (const [at, one] of shown.entries()) {
      t.strictSame(one, first, JSON.stringify(asked[at]).slice(0, 60))
    }
    t.equal((await logIn(app, 'alice', PASSWORD)).statusCode, 200)
  })

  t.test('failed logins of browsers have the same response and hashing work for every username', async (t) => {
    const app = await build(t, BCRYPT)
    await addUsers(app)
    const browser = openBrowser(app)
    const work = recordWork(t)
    for (const [name = '', password = ''] of [...NAMES.map((name) => [name, 'wrong']), ['ina', PASSWORD]]) {
      work.done = 0
      const { statusCode, body } = await browser.signIn(name, password)
      t.strictSame([statusCode, body, work.done], [400, UNABLE, 2 ** BCRYPT.bcryptRounds], name)
    }
    t.equal((await browser.signIn()).statusCode, 200)
  })

  t.test('passwords that no user can have are not hashed, for every username', async (t) => {
    const app = await build(t, BCRYPT)
    await addUsers(app)
    const work = recordWork(t)
    for (const name of NAMES) {
      for (const [password, status] of [
        ['x'.repeat(1025), 401],
        ['a\0', 400],
        ['\ud800', 400],
        ['', 400]
      ] as const) {
        t.equal((await logIn(app, name, password)).statusCode, status, name.slice(0, 20))
      }
    }
    t.equal(work.done, 0)
  })
})

t.test('every other login endpoint has one response and one hash for every username', async (t) => {
  const app = await worldOf('sqlite').build(t, BCRYPT, (app) => app.register(accountRoutes, { prefix: '/auth' }))
  await addUsers(app)
  const work = recordWork(t)
  for (const url of ['/auth/jwt/create/', '/auth/token/login/', '/api/api-token-auth/', '/api/token/sliding/']) {
    const shown = new Set<string>()
    for (const username of NAMES) {
      work.done = 0
      const answer = await app.inject({ method: 'POST', url, payload: { username, password: 'wrong' } })
      shown.add(`${answer.statusCode} ${answer.body} ${work.done}`)
    }
    t.equal(shown.size, 1, [...shown].join('\n'))
    t.match([...shown][0], / 32$/)
  }
})

const UNABLE = '{"non_field_errors":["Unable to log in with provided credentials."]}'
const NO_ACCOUNT = '{"detail":"No active account found with the given credentials"}'

t.test('a new database has no default accounts', async (t) => {
  const app = await worldOf('sqlite').build(t)
  for (const name of ['admin', 'root', 'django', 'latchkey', 'postgres']) {
    for (const password of [name, 'admin', 'password', 'latchkey', '123456']) {
      t.equal((await logIn(app, name, password)).statusCode, 401)
    }
  }
})

t.test('requests with a token do not wait for concurrent logins', async (t) => {
  const app = await worldOf('sqlite').build(t, { ...BCRYPT, bcryptRounds: 9 })
  await addUser(app)
  const { access } = (await logIn(app, 'alice', PASSWORD)).json()
  const order: string[] = []
  const logins = Array.from({ length: 24 }, () => logIn(app, 'alice', PASSWORD).then(() => order.push('login')))
  const verify = app.inject({ method: 'POST', url: '/api/token/verify/', payload: { token: access } })
  const verified = verify.then(() => order.push('verify'))
  await Promise.all([...logins, verified])
  t.equal(order.length, 25)
  t.ok(order.indexOf('verify') < 20, 'though it was sent last')
})

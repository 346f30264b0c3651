/** Rows of `django_session`: their user, their lifetime and what ends them. */
import { createHash, createHmac } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { SignedData } from '../../src/crypto/django-signing.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'
import { SIGNING_KEY } from '../support/settings.ts'

const SALT = 'django.contrib.sessions.SessionStore'
const OLD = 'an-older-secret-0123456789-abcdefghijklmnopqrstuvwxyz'
const DAY = 86_400_000
const KEY = 'r3a0o2v1p6d9x8c7z5q4w1e2t3y4u5i6'

const hashOf = (password: string, secret = SIGNING_KEY) => {
  const salt = 'django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash'
  return createHmac(
    'sha256',
    createHash('sha256')
      .update(salt + secret)
      .digest()
  )
    .update(password)
    .digest('hex')
}

interface Planted {
  key?: string
  data?: Record<string, unknown> | string
  secret?: string
  expireDate?: Date
}

/** Writes a session row as Django would, or a manipulated one. */
async function plant(app: FastifyInstance, planted: Planted = {}): Promise<string> {
  const { key = KEY, data = {}, secret = SIGNING_KEY, expireDate = new Date(Date.now() + DAY) } = planted
  const sessionData = typeof data === 'string' ? data : new SignedData([secret], SALT).dumps(data)
  const { browserSession } = app.auth.database
  await browserSession.deleteMany({ where: { sessionKey: key } })
  await browserSession.create({ data: { sessionKey: key, sessionData, expireDate } })
  return key
}

async function alice(app: FastifyInstance) {
  await addUser(app)
  const user = await app.auth.users.authenticate('alice', PASSWORD)
  if (user === null) throw new Error('alice cannot sign in')
  return user
}

const rows = (app: FastifyInstance) => app.auth.database.browserSession.findMany({ orderBy: { sessionKey: 'asc' } })

t.test('the session auth hash in these tests equals that of Django', async (t) => {
  t.equal(hashOf('md5$abc$def'), 'b644d00bc9bf470bb748a31baa748a3d64ff37ecdcb2264573f2521b675b1f64')
})

onEachDatabase(t, (t, { build }) => {
  t.test('a session of Django authenticates its user, and renewing it keeps all its data', async (t) => {
    const app = await build(t)
    const { browserSessions } = app.auth
    const user = await alice(app)
    const own = { _auth_user_id: String(user.id), _auth_user_hash: hashOf(user.password) }
    const data = { ...own, _auth_user_backend: 'axes.backends.Any', cart: [1, 2] }
    await plant(app, { data })

    const found = await browserSessions.find(KEY)
    t.match(found, { user: { id: user.id }, session: { key: KEY, data } })

    const renewed = found && (await browserSessions.renew(found.session, user))
    t.match(renewed, { data, expiresAt: found?.session.expiresAt })
    t.not(renewed?.key, KEY)
    t.equal(await browserSessions.find(KEY), null)
    t.match(await browserSessions.find(renewed?.key ?? ''), { session: { data } })
  })

  t.test('a session is rejected if it is expired, corrupt or foreign, or its user missing or changed', async (t) => {
    const app = await build(t)
    const { browserSessions, database } = app.auth
    const user = await alice(app)
    const data = { _auth_user_id: String(user.id), _auth_user_hash: hashOf(user.password) }
    const isNobodys = async (t: Test, planted: Planted, about: string) =>
      t.equal(await browserSessions.find(await plant(app, planted)), null, about)

    t.ok(await browserSessions.find(await plant(app, { data })))
    t.ok(
      await browserSessions.find(await plant(app, { data: { ...data, _auth_user_id: user.id } })),
      'an id as a number'
    )
    await isNobodys(t, { data, expireDate: new Date(Date.now() - 1) }, 'expired')
    await isNobodys(t, { data, secret: OLD }, 'another secret')
    await isNobodys(t, { data: {} }, 'empty')
    for (const text of ['', 'e30', 'e30:1rabcd:signature', ':'.repeat(99)]) await isNobodys(t, { data: text }, text)
    for (const id of ['', '0', '1e0', ' 1', '999', null, true, [user.id], { gt: 0 }, '9'.repeat(5000)]) {
      await isNobodys(t, { data: { ...data, _auth_user_id: id } }, JSON.stringify(id).slice(0, 20))
    }
    for (const hash of [undefined, null, '', '0', hashOf('x'), hashOf(user.password).toUpperCase()]) {
      await isNobodys(t, { data: { ...data, _auth_user_hash: hash } }, `hash ${hash}`)
    }
    await plant(app, { data })
    for (const key of ['', 'short', `${KEY} `, `${KEY}\0`, 'k'.repeat(41), '../../etc', 'é'.repeat(8)]) {
      t.equal(await browserSessions.find(key), null, key)
      await browserSessions.logOut(key)
    }
    await database.user.update({ where: { id: user.id }, data: { isActive: false } })
    t.equal(await browserSessions.find(KEY), null, 'inactive')
    await database.user.update({ where: { id: user.id }, data: { isActive: true } })
    t.ok(await browserSessions.find(KEY))
    await app.auth.users.setPassword(user.id, 'another-Pass-1')
    t.equal(await browserSessions.find(KEY), null, 'another password')
    await app.auth.users.deleteUser(user.id)
    t.equal(await browserSessions.find(KEY), null, 'deleted')
  })

  t.test('a login replaces the session key, and keeps the data unless they are of another user', async (t) => {
    const app = await build(t, { sessionCookieAge: '1h' })
    const { browserSessions } = app.auth
    const user = await alice(app)
    const own = { _auth_user_id: String(user.id), _auth_user_hash: hashOf(user.password) }
    const dataAfter = async (data: Record<string, unknown> | string) => {
      await plant(app, { data })
      const { key, data: after } = await browserSessions.logIn(user, KEY)
      t.match(key, /^[a-z0-9]{32}$/)
      t.equal(await browserSessions.find(KEY), null)
      const { _latchkey_since: since, ...stored } = (await browserSessions.find(key))?.session.data ?? {}
      t.type(since, 'number')
      t.strictSame(stored, after)
      return after
    }

    const fresh = { ...own, _auth_user_backend: 'django.contrib.auth.backends.ModelBackend' }
    t.strictSame(await dataAfter({ cart: 1 }), { cart: 1, ...fresh }, 'of an anonymous session')
    t.strictSame(await dataAfter({ cart: 1, ...own }), { cart: 1, ...fresh }, 'of the same user')
    t.strictSame(await dataAfter({ cart: 1, ...own, _auth_user_id: '999' }), fresh, 'of another user')
    t.strictSame(await dataAfter({ cart: 1, ...own, _auth_user_hash: hashOf('x') }), fresh, 'of an earlier password')
    t.strictSame(await dataAfter('nonsense'), fresh)
    const { key, expiresAt } = await browserSessions.logIn(user, 'k'.repeat(32))
    t.not(key, 'k'.repeat(32), 'session fixation: a planted key is not used')
    t.ok(Math.abs(expiresAt.getTime() - Date.now() - DAY / 24) < 60_000)
    const keys = await Promise.all(Array.from({ length: 20 }, () => browserSessions.logIn(user, null)))
    t.equal(new Set(keys.map((session) => session.key)).size, 20)
  })

  t.test('a session of a fallback secret is valid, and is signed again with the first under its key', async (t) => {
    const app = await build(t, { secretKeyFallbacks: [OLD] })
    const { browserSessions } = app.auth
    const user = await alice(app)
    const data = { _auth_user_id: String(user.id), _auth_user_hash: hashOf(user.password, OLD), cart: 1 }
    await plant(app, { data, secret: OLD })

    const found = await Promise.all([1, 2, 3].map(() => browserSessions.find(KEY)))

    for (const one of found) t.equal(one?.user.id, user.id, 'concurrent requests all find the user')
    const [row] = await rows(app)
    t.strictSame(new SignedData([SIGNING_KEY], SALT).loads(row?.sessionData ?? ''), {
      ...data,
      _auth_user_hash: hashOf(user.password)
    })
    t.ok(await browserSessions.find(KEY))
  })

  t.test('SECRET_KEY, if set, signs sessions instead of the signing key of the tokens', async (t) => {
    const app = await build(t, {
      secretKey: OLD,
      authenticationBackends: ['AllowAllUsersModelBackend', 'ModelBackend']
    })
    const user = await alice(app)
    await app.auth.browserSessions.logIn(user, null)
    const [row] = await rows(app)
    t.match(new SignedData([OLD], SALT).loads(row?.sessionData ?? ''), {
      _auth_user_hash: hashOf(user.password, OLD),
      _auth_user_backend: 'django.contrib.auth.backends.AllowAllUsersModelBackend'
    })
  })

  t.test('clearExpired deletes all expired sessions and no others', async (t) => {
    const app = await build(t)
    const { browserSession } = app.auth.database
    const expireDate = new Date(Date.now() - 1000)
    const data = Array.from({ length: 1001 }, (_, index) => ({
      sessionKey: `expired${index}`,
      ...{ sessionData: '', expireDate }
    }))
    await browserSession.createMany({ data })
    await plant(app)

    t.equal(await app.auth.browserSessions.clearExpired(), 1001)
    t.strictSame(
      (await rows(app)).map(({ sessionKey }) => sessionKey),
      [KEY]
    )
    t.equal(await app.auth.browserSessions.clearExpired(), 0)
  })
})

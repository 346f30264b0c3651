/** The calls beside the login: accounts, passwords and login sessions. */
import t, { type Test } from 'tap'
import { ApiError, createClient, NetworkError, SignedOutError } from '../../src/client/client.ts'
import type { SettingsInput } from '../../src/settings/schema.ts'
import { linkIn, type Received, startSmtp } from '../accounts/smtp.ts'
import { bearer, PASSWORD } from '../support/journeys.ts'
import { browser } from './cookie-server.ts'
import { cut, hold, lose, refuse } from './proxy.ts'
import { clock, LOGOUT, REFRESH, shelf, spoil, stage } from './stage.ts'

const STRONG = 'Zx9-long-pass'
const SET_PASSWORD = 'POST /auth/users/set_password/'
const CHANGE = { current_password: PASSWORD, new_password: STRONG }

async function stageMail(t: Test, settings: SettingsInput = {}) {
  const smtp = await startSmtp(t)
  const scene = await stage(t, { mailUrl: smtp.url, accountsSiteUrl: 'https://app.example.com', ...settings })
  return { ...scene, smtp }
}

t.test('a user signs up, logs in, and reads and changes the account', async (t) => {
  const { client: clientOf, proxy } = await stageMail(t)
  const client = await clientOf({}, 'not yet')
  const bob = { username: 'bob', password: STRONG, email: 'bob@example.com' }

  t.strictSame(await client.signUp(bob), { id: 2, username: 'bob', email: 'bob@example.com' })
  t.equal(await client.isSignedIn(), false)
  await t.rejects(client.me.get(), SignedOutError)
  const { userId, claims } = await client.signIn({ username: 'bob', password: STRONG })
  t.equal(userId, '2')
  t.match(claims, { token_type: 'access', user_id: '2', sid: String })
  t.strictSame(await client.me.get(), { id: 2, username: 'bob', email: 'bob@example.com' })
  const changes = { email: 'b@example.com', current_password: STRONG }
  t.strictSame(await client.me.update(changes), { id: 2, username: 'bob', email: 'b@example.com' })
  await t.rejects(client.me.update({ email: 'c@example.com', current_password: 'wrong' }), {
    ...{ name: 'ApiError', status: 400, fields: { current_password: ['Invalid password.'] } }
  })
  for (const { headers } of proxy.seen('POST /auth/')) t.notOk('authorization' in headers, 'public')
})

t.test('refusals throw ApiError, and everything else NetworkError', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const client = await clientOf()
  const answers: [status: number, body: string, expected: object][] = [
    [400, '{"username":["Taken."]}', { name: 'ApiError', fields: { username: ['Taken.'] }, message: 'Taken.' }],
    [403, '{"detail":"No."}', { name: 'ApiError', status: 403, detail: 'No.', fields: {}, retryable: false }],
    [404, '{"detail":"Not found."}', { name: 'ApiError', status: 404 }],
    [429, '{"detail":"Wait."}', { name: 'ApiError', retryAfter: 7, retryable: true }],
    [403, '{"message":"Forbidden"}', { name: 'NetworkError', status: 403, retryable: false }],
    [400, '', { name: 'NetworkError', status: 400 }],
    [503, '{"detail":"Down."}', { name: 'NetworkError', retryAfter: 7, retryable: true }],
    [200, '<html>', { name: 'NetworkError', status: 200, retryable: true }]
  ]
  const calls: [line: string, call: () => Promise<unknown>][] = [
    ['POST /auth/users/', () => client.signUp({ username: 'bob', password: 'x' })],
    ['GET /auth/users/me/', () => client.me.get()],
    [SET_PASSWORD, () => client.changePassword(CHANGE)],
    ['DELETE /api/sessions/', () => client.sessions.endOthers()]
  ]
  for (const [line, call] of calls) {
    for (const [status, body, expected] of answers) {
      proxy.upon(line, refuse(status, body, { 'retry-after': '7' }))
      t.match(await call().catch((error: unknown) => error), expected, `${line} ${status} ${body}`)
    }
    proxy.upon(line, cut)
    await t.rejects(call(), { name: 'NetworkError', status: null, cause: TypeError })
    proxy.upon(line, refuse(401, '{"detail":"No."}'))
    proxy.upon(line, refuse(401, '{"detail":"Again."}'))
    const { length } = proxy.seen(REFRESH)
    if (!line.startsWith('POST /auth/users/')) {
      await t.rejects(call(), { name: 'ApiError', status: 401, detail: 'Again.' })
      t.equal(proxy.seen(REFRESH).length, length + 1, 'a 401 causes one refresh')
    }
    proxy.mend()
  }
  t.equal(await client.isSignedIn(), true)
  t.ok(new ApiError(400, { detail: '', fields: {} }, null) instanceof Error && new NetworkError(null) instanceof Error)
})

t.test('errors of the storage are passed on', async (t) => {
  const { client: clientOf } = await stage(t)
  const locked = new Error('locked')
  const client = await clientOf(
    { storage: { get: () => Promise.reject(locked), set: () => {}, remove: () => {} } },
    'not yet'
  )
  await t.rejects(client.me.get(), locked)
  await t.rejects(client.changePassword(CHANGE), locked)
})

t.test('a password is reset by the link in the email', async (t) => {
  const { client: clientOf, app, smtp } = await stageMail(t)
  await app.auth.users.updateUser(1, { email: 'alice@example.com' })
  const client = await clientOf({}, 'not yet')

  t.equal(await client.requestPasswordReset('alice@example.com'), undefined)
  const link = linkIn((await smtp.received(1))[0] as Received)
  await t.rejects(client.confirmPasswordReset({ ...link, new_password: '1' }), { message: /short/ })
  t.equal(await client.confirmPasswordReset({ ...link, new_password: STRONG }), undefined)
  await t.rejects(client.confirmPasswordReset({ ...link, new_password: STRONG }), {
    message: 'Invalid token for given user.'
  })
  t.equal((await client.signIn({ username: 'alice', password: STRONG })).userId, '1')
})

t.test('after a change of the password this client stays logged in, and all others do not', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const storage = shelf()
  const client = await clientOf({ storage })
  const changes: boolean[] = []
  client.onChange((signedIn) => changes.push(signedIn))
  const [other, tab] = [await clientOf(), await clientOf({ storage: storage.tab() }, 'not yet')]
  await t.rejects(client.changePassword({ ...CHANGE, current_password: 'x' }), { message: 'Invalid password.' })
  spoil(storage)

  t.equal(await client.changePassword(CHANGE), undefined)
  t.equal((await client.fetch('/api/protected/')).status, 200)
  t.equal((await tab.fetch('/api/protected/')).status, 200, 'tabs share the new tokens')
  await t.rejects(other.fetch('/api/protected/'), SignedOutError)
  t.strictSame(changes, [])
  t.equal((await client.sessions.list()).length, 1)
  t.equal(proxy.seen(SET_PASSWORD).length, 3, 'repeated after a 401')
})

t.test('a refresh during a change of the password waits for the new tokens', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const reasons: string[] = []
  const client = await clientOf({ onSignOut: (reason) => reasons.push(reason) })
  const { handler, arrived, release } = hold()
  // The server has changed the password, and its response is on the way.
  proxy.upon(SET_PASSWORD, async (pass, response) => {
    const send = await pass()
    await handler(async () => send, response)
  })
  const changing = client.changePassword(CHANGE)
  await arrived
  const call = client.fetch('/api/protected/')
  while (proxy.seen('GET').length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(proxy.seen(REFRESH).length, 0)
  release()

  await changing
  t.equal((await call).status, 200)
  t.equal(await client.isSignedIn(), true)
  t.strictSame(reasons, [])
})

t.test('a logout during a change of the password is final', async (t) => {
  const { client: clientOf, proxy, app } = await stage(t)
  const storage = shelf()
  const client = await clientOf({ storage })
  const { handler, arrived, release } = hold()
  proxy.upon(SET_PASSWORD, handler)
  const changing = client.changePassword(CHANGE).catch((error: unknown) => error)
  await arrived
  const leaving = client.signOut()
  release()

  t.ok((await changing) instanceof SignedOutError)
  await leaving
  t.equal(storage.values.size, 0)
  t.strictSame(await app.auth.sessions.list(1), [])
  t.ok(proxy.seen(LOGOUT).length > 0)
})

t.test('if the server logs users out after a change of the password, the session ends', async (t) => {
  const { client: clientOf } = await stage(t, { accountsLogoutOnPasswordChange: true })
  const reasons: string[] = []
  const client = await clientOf({ onSignOut: (reason) => reasons.push(reason) })
  await client.changePassword(CHANGE)
  await t.rejects(client.me.get(), SignedOutError)
  t.strictSame(reasons, ['ended'])
})

t.test('in cookie mode a change of the password replaces the cookies', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const { fetch, cookies } = browser()
  const storage = shelf()
  const client = await clientOf({ mode: 'cookie', storage, fetch })
  const [before] = cookies.values()

  await client.changePassword(CHANGE)
  t.not([...cookies.values()][0], before)
  t.equal((await client.me.get()).username, 'alice')
  t.equal((await clientOf({ mode: 'cookie', storage, fetch }, 'not yet').then((page) => page.me.get())).id, 1)
  for (const { headers } of proxy.seen('GET')) t.notOk('cookie' in headers)
  t.equal(proxy.seen(SET_PASSWORD)[0]?.headers['x-latchkey-mode'], 'cookie')
})

t.test('sessions are listed, renamed and ended', async (t) => {
  const { client: clientOf } = await stage(t)
  const reasons: string[] = []
  const client = await clientOf({ onSignOut: (reason) => reasons.push(reason) })
  const others = [await clientOf(), await clientOf(), await clientOf()]
  const list = await client.sessions.list()

  t.equal(list.length, 4)
  const own = list.find(({ is_current }) => is_current)
  t.match(own, { label: '', address: '127.0.0.1', user_agent: String, created_at: /^\d{4}-.*Z$/, expires_at: String })
  t.match(await client.sessions.rename(`${own?.id}`, 'my phone'), { id: own?.id, label: 'my phone', is_current: true })
  const [other] = list.filter(({ is_current }) => !is_current)
  t.equal(await client.sessions.end(`${other?.id}`), undefined)
  t.equal((await client.sessions.list()).length, 3)
  await t.rejects(client.sessions.end(`${other?.id}`), { name: 'ApiError', status: 404, detail: 'Not found.' })
  await t.rejects(client.sessions.end('../users/1'), { name: 'ApiError', status: 404 })
  t.equal(await client.sessions.endOthers(), undefined)
  t.strictSame(
    (await client.sessions.list()).map(({ label }) => label),
    ['my phone']
  )
  const outcomes = await Promise.allSettled(others.map((one) => one.me.get()))
  t.ok(outcomes.every((outcome) => outcome.status === 'rejected' && outcome.reason instanceof SignedOutError))
  await client.sessions.end(`${own?.id}`)
  await t.rejects(client.me.get(), SignedOutError)
  t.strictSame(reasons, ['ended'])
})

t.test('signIn returns the claims, also in UTF-8, and no user id for an opaque token', async (t) => {
  const { client: clientOf, proxy, alice } = await stage(t)
  const client = await clientOf({}, 'not yet')
  const tokenOf = (claims: object) => `a.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c`
  for (const [access, identity] of [
    ['opaque', { userId: null, claims: {} }],
    ['a.b.c', { userId: null, claims: {} }],
    [tokenOf({ sub: 'x', name: 'Åsa 🔑?>' }), { userId: 'x', claims: { sub: 'x', name: 'Åsa 🔑?>' } }],
    [tokenOf({ user_id: 7 }), { userId: '7', claims: { user_id: 7 } }],
    [tokenOf({ user_id: 0, sub: 'x' }), { userId: '0', claims: { user_id: 0, sub: 'x' } }]
  ] as const) {
    proxy.upon('POST /api/token/', refuse(200, JSON.stringify({ access, refresh: 'x' })))
    t.strictSame(await client.signIn(alice), identity)
  }
})

t.test('accountsUrl is a path on the origin of baseUrl, or a URL', async (t) => {
  const seen: [url: string, authorization: string | null][] = []
  const fetch = async (input: unknown, init?: RequestInit) => {
    seen.push([String(input), new Headers(init?.headers).get('Authorization')])
    return Response.json({ access: 'opaque', refresh: 'opaque' })
  }
  for (const [accountsUrl, url] of [
    [undefined, 'https://api.example.com/auth/users/me/'],
    ['/v1/auth', 'https://api.example.com/v1/auth/users/me/'],
    ['accounts/', 'https://api.example.com/v1/accounts/users/me/'],
    ['https://accounts.example.com/auth', 'https://accounts.example.com/auth/users/me/']
  ] as const) {
    const baseUrl = 'https://api.example.com/v1'
    const client = createClient({ baseUrl, fetch, ...(accountsUrl && { accountsUrl }) })
    await client.signIn({ username: 'alice', password: 'x' })
    await client.me.get()
    t.strictSame(seen.at(-1), [url, bearer('opaque').authorization])
  }
  t.throws(() => createClient({ baseUrl: 'https://x', accountsUrl: 'ftp://x/auth' }), TypeError)
})

t.test('a lost response to a change of the password is a NetworkError', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const { now } = clock()
  const client = await clientOf({ now })
  proxy.upon(SET_PASSWORD, lose)
  await t.rejects(client.changePassword(CHANGE), NetworkError)
  await t.rejects(client.me.get(), SignedOutError)
  t.equal((await client.signIn({ username: 'alice', password: STRONG })).userId, '1')
})

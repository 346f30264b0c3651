/** Cookie mode: the refresh token is in an HttpOnly cookie, and a reloaded page gets its access token by a refresh. */
import t, { type Test } from 'tap'
import { type Client, type ClientOptions, createClient, SignedOutError } from '../../src/client/client.ts'
import { type Browser, browser, cookieServer } from './cookie-server.ts'
import { cut, hold, layProxy, refuse } from './proxy.ts'
import { clock, LOGOUT, locks, nextChange, REFRESH, type Shelf, shelf } from './stage.ts'

const ALICE = { username: 'alice', password: 'x' }

/** A server, a proxy in front of it, and one browser. */
async function stage(t: Test) {
  const { origin, forget } = await cookieServer(t)
  const proxy = await layProxy(t, origin)
  const [one, storage] = [browser(), shelf()]
  /** Creates the client of a newly loaded page. */
  const load = (options: Partial<ClientOptions> = {}): Client =>
    createClient({ baseUrl: `${proxy.origin}/api/`, mode: 'cookie', storage, fetch: one.fetch, ...options })
  return { proxy, forget, load, storage, cookies: one.cookies }
}

const isEmpty = ({ values }: Shelf, { cookies }: Pick<Browser, 'cookies'>) => values.size === 0 && cookies.size === 0

t.test('the access token is in memory, the refresh token in a cookie, and nothing in storage', async (t) => {
  const { proxy, load, storage, cookies } = await stage(t)
  const client = load()

  await client.signIn(ALICE)
  t.equal((await client.fetch('/posts/')).status, 200)
  t.equal(storage.values.size, 0)
  t.equal(cookies.size, 1)
  const reloaded = load()
  const [answer] = await Promise.all([1, 2, 3].map(() => reloaded.fetch('/posts/')))
  t.equal(answer?.status, 200)
  t.equal(proxy.seen(REFRESH).length, 1, 'a loaded page refreshes once')
  t.equal(await load().isSignedIn(), true)
  t.equal(await client.signOut(), true)

  t.ok(isEmpty(storage, { cookies }))
  for (const { headers, body } of proxy.seen('POST')) {
    t.equal(headers['x-latchkey-mode'], 'cookie')
    t.notMatch(body, /refresh/)
  }
  for (const { headers } of proxy.seen('GET')) t.notOk('cookie' in headers || 'x-latchkey-mode' in headers)
  await t.rejects(client.fetch('/posts/'), SignedOutError)
  t.equal(proxy.seen(REFRESH).length, 2, 'no refresh after a logout')
})

t.test('without a session one refresh determines the state, and onSignOut is not called', async (t) => {
  const { proxy, load } = await stage(t)
  const reasons: string[] = []
  const client = load({ onSignOut: (reason) => reasons.push(reason) })

  proxy.upon(REFRESH, refuse(503))
  await t.rejects(client.isSignedIn(), { name: 'NetworkError', retryable: true })
  t.equal(await client.isSignedIn(), false)
  await t.rejects(client.getAccessToken(), SignedOutError)
  t.equal(proxy.seen(REFRESH).length, 2)
  t.strictSame(reasons, [])
  await t.rejects(client.signIn({ username: 'bob', password: 'x' }), { name: 'ApiError', detail: 'Who?' })
})

t.test('the access token is refreshed before it expires and after a 401, until the session ends', async (t) => {
  const { proxy, load, forget } = await stage(t)
  const { now, forward } = clock()
  const reasons: string[] = []
  const client = load({ now, onSignOut: (reason) => reasons.push(reason) })
  await client.signIn(ALICE)

  forward(280)
  t.equal((await client.fetch('/posts/')).status, 200)
  proxy.upon('GET /posts/', refuse(401))
  t.equal((await client.fetch('/posts/')).status, 200)
  t.equal(proxy.seen(REFRESH).length, 2)
  forget()
  forward(280)
  await t.rejects(client.fetch('/posts/'), SignedOutError)
  t.strictSame(reasons, ['ended'])
})

t.test('a logout without network persists over reloads and is repeated later', async (t) => {
  const { proxy, load, storage, cookies } = await stage(t)
  const client = load()
  await client.signIn(ALICE)
  proxy.upon(LOGOUT, cut, 'always')

  t.equal(await client.signOut(), false)
  t.equal(cookies.size, 1, 'the cookie cannot be deleted')
  t.strictSame([...storage.values.values()], ['signed out'])
  t.equal(await load().isSignedIn(), false)
  proxy.mend()
  t.equal(await load().isSignedIn(), false)

  t.ok(isEmpty(storage, { cookies }), 'the logout has reached the server')
  t.equal(proxy.seen(REFRESH).length, 0)
  proxy.upon(LOGOUT, cut)
  await client.signIn(ALICE)
  t.equal(await client.signOut(), false)
  await client.signIn(ALICE)
  t.equal(await load().isSignedIn(), true, 'until the next login')
})

t.test('by default a pending logout is stored in localStorage if it is available', async (t) => {
  const values = new Map<string, string>()
  const area = {
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => void values.set(key, value),
    removeItem: (key: string) => void values.delete(key)
  }
  const areas: PropertyDescriptor[] = [
    { value: area },
    { value: undefined },
    {
      get: () => {
        throw new Error('SecurityError')
      }
    }
  ]
  for (const descriptor of areas) {
    const { proxy, load } = await stage(t)
    const restored = t.intercept(globalThis, 'localStorage' as never, descriptor as never)
    const client = load({ storage: undefined as never })
    await client.signIn(ALICE)
    proxy.upon(LOGOUT, cut)
    t.equal(await client.signOut(), false)
    t.equal(values.size, descriptor.value ? 1 : 0)
    values.clear()
    restored.restore()
  }
})

t.test('tabs refresh one after another and share login and logout', async (t) => {
  t.intercept(globalThis, 'navigator' as never, { value: { locks: locks() } as never })
  const { proxy, load } = await stage(t)
  const reasons: string[] = []
  const [one, other] = [load(), load({ onSignOut: (reason) => reasons.push(reason) })]
  await one.signIn(ALICE)

  let heard = nextChange(other)
  await one.signIn(ALICE)
  t.equal(await heard, true)
  t.equal((await other.fetch('/posts/')).status, 200)
  heard = nextChange(other)
  await one.signOut()
  t.equal(await heard, false)
  await t.rejects(other.fetch('/posts/'), SignedOutError)
  t.strictSame(reasons, ['elsewhere'])
  heard = nextChange(other)
  await one.signIn(ALICE)
  await heard

  const tabs = [other, load(), load()]
  const { length } = proxy.seen(REFRESH)
  t.ok((await Promise.all(tabs.map((tab) => tab.fetch('/posts/')))).every(({ ok }) => ok))
  t.equal(proxy.seen(REFRESH).length, length + 3, 'one after another, as the server has no grace period')
})

t.test('login and logout wait for a pending refresh, so that its cookie does not arrive last', async (t) => {
  const { proxy, load, cookies } = await stage(t)
  await load().signIn(ALICE)
  const acts: [line: string, act: (client: Client) => Promise<unknown>][] = [
    ['POST /api/token/', (client) => client.signIn(ALICE)],
    [LOGOUT, (client) => client.signOut()]
  ]
  for (const [line, act] of acts) {
    const client = load()
    const { length } = proxy.seen()
    const { handler, arrived, release } = hold()
    proxy.upon(REFRESH, handler)
    const asked = client.isSignedIn()
    await arrived
    const acting = act(client)
    release()
    await Promise.all([asked, acting])
    const lines = proxy.seen().map((one) => one.line)
    t.strictSame(lines.slice(length), [REFRESH, line])
    t.equal(await client.isSignedIn(), line !== LOGOUT)
  }
  t.equal(cookies.size, 0)
})

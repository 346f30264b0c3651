/** Clients that share a storage, as in tabs: refreshes, login, logout and storage events. */
import t from 'tap'
import { type ClientStorage, memoryStorage, SignedOutError, webStorage } from '../../src/client/client.ts'
import { jtiOf } from '../support/tokens.ts'
import { hold } from './proxy.ts'
import { clock, locks, nextChange, REFRESH, shelf, stage } from './stage.ts'

t.test('with Web Locks one tab refreshes, and the others use its tokens', async (t) => {
  t.intercept(globalThis, 'navigator' as never, { value: { locks: locks() } as never })
  const { client: clientOf, proxy } = await stage(t)
  const storage = shelf()
  const { now, forward } = clock()
  const tabs = [await clientOf({ storage, now }), await clientOf({ storage: storage.tab(), now }, 'not yet')]
  tabs.push(await clientOf({ storage: storage.tab(), now }, 'not yet'))

  for (let rounds = 1; rounds < 4; rounds++) {
    forward(600)
    const calls = await Promise.all(tabs.flatMap((tab) => [1, 2, 3].map(() => tab.fetch('/api/protected/'))))
    t.ok(calls.every(({ ok }) => ok))
    t.equal(proxy.seen(REFRESH).length, rounds)
  }
  const access = await Promise.all(tabs.map((tab) => tab.getAccessToken()))
  t.equal(new Set(access).size, 1)
})

t.test('without Web Locks two tabs may refresh the same token, and both stay signed in', async (t) => {
  t.intercept(globalThis, 'navigator' as never, { value: {} as never })
  const { client: clientOf, proxy } = await stage(t)
  const storage = shelf()
  const { now, forward } = clock()
  const [one, other] = [await clientOf({ storage, now }), await clientOf({ storage: storage.tab(), now }, 'not yet')]

  for (let rounds = 0; rounds < 3; rounds++) {
    forward(600)
    const { handler, arrived, release } = hold()
    proxy.upon(REFRESH, handler)
    const late = one.fetch('/api/protected/')
    await arrived
    t.equal((await other.fetch('/api/protected/')).status, 200)
    release()
    t.equal((await late).status, 200)
    t.equal(await one.getAccessToken(), await other.getAccessToken())
  }
  const sent = proxy.seen(REFRESH).map(({ body }) => jtiOf(JSON.parse(body).refresh))
  t.strictSame([sent.length, new Set(sent).size], [6, 3], 'each token was used twice')
})

t.test('login and logout in one tab apply to all tabs', async (t) => {
  const { client: clientOf, alice } = await stage(t)
  const storage = shelf()
  const reasons: string[] = []
  const one = await clientOf({ storage }, 'not yet')
  const other = await clientOf({ storage: storage.tab(), onSignOut: (reason) => reasons.push(reason) }, 'not yet')

  let heard = nextChange(other)
  await one.signIn(alice)
  t.equal(await heard, true)
  t.equal(await other.isSignedIn(), true)
  heard = nextChange(other)
  await one.signOut()
  t.equal(await heard, false)
  t.strictSame(reasons, ['elsewhere'])
  await t.rejects(other.fetch('/api/protected/'), SignedOutError)
  heard = nextChange(one)
  await other.signIn(alice)
  t.equal(await heard, true)
  t.equal((await one.fetch('/api/protected/')).status, 200)
})

t.test('without storage events a tab notices login and logout at its next call', async (t) => {
  const { client: clientOf, alice } = await stage(t)
  const { get, set, remove } = shelf()
  const storage: ClientStorage = { get, set, remove }
  const reasons: string[] = []
  const one = await clientOf({ storage })
  const other = await clientOf({ storage, onSignOut: (reason) => reasons.push(reason) }, 'not yet')
  t.equal((await other.fetch('/api/protected/')).status, 200)
  await one.signOut()

  await t.rejects(other.fetch('/api/protected/'), SignedOutError)
  await t.rejects(other.fetch('/api/protected/'), SignedOutError)
  t.strictSame(reasons, ['elsewhere'])
  await one.signIn(alice)
  t.equal((await other.fetch('/api/protected/')).status, 200)
})

t.test('clients with separate storages are independent', async (t) => {
  const { client: clientOf } = await stage(t)
  const [one, other] = [await clientOf(), await clientOf({ storage: memoryStorage() })]
  await one.signOut()
  t.equal(await one.isSignedIn(), false)
  t.equal((await other.fetch('/api/protected/')).status, 200)
})

/** A substitute for `localStorage`. */
function area(): {
  getItem(key: string): string | null
  setItem(k: string, v: string): void
  removeItem(k: string): void
} & {
  values: Map<string, string>
} {
  const values = new Map<string, string>()
  return {
    values,
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => void values.set(key, value),
    removeItem: (key) => void values.delete(key)
  }
}

t.test('webStorage persists tokens under a key that SecureStore also accepts', async (t) => {
  const { client: clientOf } = await stage(t)
  const local = area()
  const client = await clientOf({ storage: webStorage(local) })

  t.match([...local.values.keys()], [/^latchkey\.http_127\.0\.0\.1_\d+_api_$/])
  const reloaded = await clientOf({ storage: webStorage(local) }, 'not yet')
  t.equal((await reloaded.fetch('/api/protected/')).status, 200, 'after a reload')
  await client.signOut()
  t.equal(local.values.size, 0)
})

t.test('webStorage reacts to storage events of its own key and area only', async (t) => {
  const { client: clientOf } = await stage(t)
  const listeners: ((event: { key: string | null; storageArea: unknown }) => void)[] = []
  const addEventListener = (type: string, listener: (typeof listeners)[number]) => {
    t.equal(type, 'storage')
    listeners.push(listener)
  }
  t.intercept(globalThis, 'addEventListener' as never, { value: addEventListener as never })
  const [local, session] = [area(), area()]
  const changes: boolean[] = []
  const client = await clientOf({ storage: webStorage(local) })
  client.onChange((signedIn) => changes.push(signedIn))
  const [hear] = listeners as [(typeof listeners)[number]]
  const [[key, text]] = [...local.values] as [[string, string]]
  const tell = async (of: string | null, storageArea: unknown) => {
    hear({ key: of, storageArea })
    await new Promise((resolve) => setImmediate(resolve))
  }

  await tell(key, local)
  local.values.clear()
  await tell('other', local)
  await tell(key, session)
  await tell(null, session)
  t.strictSame(changes, [])
  await tell(null, local)
  t.strictSame(changes, [false])
  local.values.set(key, text)
  await tell(key, local)
  t.strictSame(changes, [false, true])
  t.equal((await client.fetch('/api/protected/')).status, 200)
})

t.test('errors of the storage are thrown to the caller', async (t) => {
  const { client: clientOf, alice } = await stage(t)
  let isFull = false
  const full = () => {
    if (isFull) throw new Error('QuotaExceeded')
  }
  const { get, set, remove } = memoryStorage()
  const storage: ClientStorage = {
    ...{ get, remove },
    set: (key, value) => {
      full()
      set(key, value)
    }
  }
  const client = await clientOf({ storage })
  isFull = true
  await t.rejects(client.signIn(alice), { message: 'QuotaExceeded' })
  isFull = false
  t.equal((await client.fetch('/api/protected/')).status, 200)
  await client.signIn(alice)
})

t.test('a slow write to the storage does not restore tokens after a logout', async (t) => {
  const { client: clientOf } = await stage(t)
  const { get, set, remove } = memoryStorage()
  let keep = () => {}
  let ask = () => {}
  const kept = new Promise<void>((resolve) => {
    keep = resolve
  })
  const asked = new Promise<void>((resolve) => {
    ask = resolve
  })
  let isSlow = false
  const storage: ClientStorage = {
    ...{ get, remove },
    set: async (key, value) => {
      if (isSlow) {
        ask()
        await kept
      }
      set(key, value)
    }
  }
  const { now, forward } = clock()
  const client = await clientOf({ storage, now })
  isSlow = true
  forward(600)
  const late = client.getAccessToken()
  await asked
  const signingOut = client.signOut()
  await new Promise((resolve) => setImmediate(resolve))
  keep()
  await Promise.allSettled([signingOut, late])

  t.equal(await client.isSignedIn(), false)
})

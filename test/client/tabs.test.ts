/** Clients that share a storage, as tabs do: one refreshes for all, and one signs out for all. */
import t from 'tap'
import { type ClientStorage, memoryStorage, SignedOutError, webStorage } from '../../src/client.ts'
import { jtiOf } from '../support/tokens.ts'
import { hold } from './proxy.ts'
import { clock, locks, nextChange, REFRESH, shelf, stage } from './stage.ts'

t.test('with locks, one tab refreshes and the others use what it got', async (t) => {
  t.intercept(globalThis, 'navigator' as never, { value: { locks: locks() } as never })
  const { client: clientOf, proxy } = await stage(t)
  const storage = shelf()
  const { now, forward } = clock()
  const tabs = [await clientOf({ storage, now }), await clientOf({ storage, now }, 'not yet')]
  tabs.push(await clientOf({ storage, now }, 'not yet'))

  for (let rounds = 1; rounds < 4; rounds++) {
    forward(600)
    const calls = await Promise.all(tabs.flatMap((tab) => [1, 2, 3].map(() => tab.fetch('/api/protected/'))))
    t.ok(calls.every(({ ok }) => ok))
    t.equal(proxy.seen(REFRESH).length, rounds)
  }
  const access = await Promise.all(tabs.map((tab) => tab.getAccessToken()))
  t.equal(new Set(access).size, 1)
})

t.test('without locks two tabs may refresh with the same token, and both stay signed in', async (t) => {
  t.intercept(globalThis, 'navigator' as never, { value: {} as never })
  const { client: clientOf, proxy } = await stage(t)
  const storage = shelf()
  const { now, forward } = clock()
  const [one, other] = [await clientOf({ storage, now }), await clientOf({ storage, now }, 'not yet')]

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
  t.strictSame([sent.length, new Set(sent).size], [6, 3], 'each of three was used twice')
})

t.test('who signs in or out in one tab does so in all', async (t) => {
  const { client: clientOf, alice } = await stage(t)
  const storage = shelf()
  const reasons: string[] = []
  const one = await clientOf({ storage }, 'not yet')
  const other = await clientOf({ storage, onSignOut: (reason) => reasons.push(reason) }, 'not yet')

  let heard = nextChange(other)
  await one.signIn(alice)
  t.equal(await heard, true)
  t.equal(await other.isSignedIn(), true)
  heard = nextChange(other)
  await one.signOut()
  t.equal(await heard, false)
  t.strictSame(reasons, ['elsewhere'])
  await t.rejects(other.fetch('/api/protected/'), SignedOutError)
  await other.signIn(alice)
  t.equal(await one.isSignedIn(), true)
})

t.test('a tab that hears nothing sees it when it calls', async (t) => {
  t.intercept(globalThis, 'BroadcastChannel' as never, { value: undefined as never })
  const { client: clientOf, alice } = await stage(t)
  const storage = shelf()
  const reasons: string[] = []
  const [one, other] = [
    await clientOf({ storage }),
    await clientOf({ storage, onSignOut: (reason) => reasons.push(reason) }, 'not yet')
  ]
  t.equal((await other.fetch('/api/protected/')).status, 200)
  await one.signOut()

  await t.rejects(other.fetch('/api/protected/'), SignedOutError)
  await t.rejects(other.fetch('/api/protected/'), SignedOutError)
  t.strictSame(reasons, ['elsewhere'])
  await one.signIn(alice)
  t.equal((await other.fetch('/api/protected/')).status, 200)
})

t.test('clients that keep their tokens apart have nothing to do with each other', async (t) => {
  const { client: clientOf, alice } = await stage(t)
  /** One for each tab, though it is said to be shared. */
  const ofTab = (): ClientStorage => ({ ...memoryStorage(), shared: true })
  for (const storageOf of [memoryStorage, ofTab]) {
    const tabs = await Promise.all([1, 2, 3].map(() => clientOf({ storage: storageOf() })))
    const [one, other, third] = tabs as [(typeof tabs)[0], (typeof tabs)[0], (typeof tabs)[0]]
    await one.signOut()
    t.equal(await one.isSignedIn(), false)
    // What was told has come by the time that what is told afterwards has.
    if (storageOf === ofTab) {
      const heard = nextChange(other)
      await third.signIn(alice)
      await heard
    }
    t.equal((await other.fetch('/api/protected/')).status, 200)
    t.equal(await one.isSignedIn(), false)
  }
})

t.test('web storage is a storage, under a key that even SecureStore takes', async (t) => {
  const { client: clientOf } = await stage(t)
  const values = new Map<string, string>()
  const area = {
    getItem: (key: string) => values.get(key) ?? null,
    setItem: (key: string, value: string) => void values.set(key, value),
    removeItem: (key: string) => void values.delete(key)
  }
  const client = await clientOf({ storage: webStorage(area) })

  t.match([...values.keys()], [/^latchkey\.http_127\.0\.0\.1_\d+_api_$/])
  const reloaded = await clientOf({ storage: webStorage(area) }, 'not yet')
  t.equal((await reloaded.fetch('/api/protected/')).status, 200, 'it outlives the page')
  await client.signOut()
  t.equal(values.size, 0)
})

t.test('a storage that fails is heard of by who calls', async (t) => {
  const { client: clientOf, alice } = await stage(t)
  let isFull = false
  const full = () => {
    if (isFull) throw new Error('QuotaExceeded')
  }
  const { get, set, remove } = memoryStorage()
  const storage: ClientStorage = {
    ...{ get, remove, shared: true },
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

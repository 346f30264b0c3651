/** `client.fetch` with an abort signal. */
import t, { type Test } from 'tap'
import type { Client } from '../../src/client/client.ts'
import { hold } from './proxy.ts'
import { clock, REFRESH, shelf, spoil, stage } from './stage.ts'

const REASON = new Error('the user has left the page')
const LATE = Symbol('late')

/** The calls with a signal, by `init` and by a `Request`. */
const CALLS: [name: string, call: (client: Client, origin: string, signal: AbortSignal) => Promise<unknown>][] = [
  ['init', (client, _origin, signal) => client.fetch('/api/protected/', { signal })],
  ['Request', (client, origin, signal) => client.fetch(new Request(`${origin}/api/protected/`, { signal }))]
]

/** Aborts, and returns what the call has rejected with; LATE if it still waits. */
async function abort(call: Promise<unknown>, controller: AbortController): Promise<unknown> {
  const outcome = call.then(
    () => 'resolved',
    (error: unknown) => error
  )
  controller.abort(REASON)
  return Promise.race([outcome, new Promise((resolve) => setTimeout(resolve, 200, LATE))])
}

async function stageExpired(t: Test) {
  const scene = await stage(t)
  const { now, forward } = clock()
  const client = await scene.client({ now })
  const refresh = hold()
  scene.proxy.upon(REFRESH, refresh.handler)
  forward(600)
  return { ...scene, client, refresh }
}

t.test('an abort during a refresh rejects at once with the reason, and the shared refresh goes on', async (t) => {
  for (const [name, call] of CALLS) {
    const { client, proxy, refresh } = await stageExpired(t)
    const controller = new AbortController()
    const aborted = call(client, proxy.origin, controller.signal)
    const other = client.fetch('/api/protected/')
    await refresh.arrived

    t.equal(await abort(aborted, controller), REASON, name)
    refresh.release()
    t.equal((await other).status, 200)
    t.equal(proxy.seen(REFRESH).length, 1)
    t.equal(proxy.seen('GET').length, 1, 'the aborted request is not sent')
  }
})

t.test('an abort during the refresh after a 401 rejects at once', async (t) => {
  for (const [name, call] of CALLS) {
    const { client: clientOf, proxy } = await stage(t)
    const storage = shelf()
    const client = await clientOf({ storage })
    const refresh = hold()
    proxy.upon(REFRESH, refresh.handler)
    spoil(storage)
    const controller = new AbortController()
    const aborted = call(client, proxy.origin, controller.signal)
    await refresh.arrived

    t.equal(await abort(aborted, controller), REASON, name)
    refresh.release()
    t.equal((await client.fetch('/api/protected/')).status, 200)
    t.equal(proxy.seen(REFRESH).length, 1)
  }
})

t.test('an abort while the storage does not respond rejects at once', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const { get, set, remove } = shelf()
  let read: typeof get = get
  const client = await clientOf({ storage: { get: (key) => read(key), set, remove } })
  read = () => new Promise(() => {})

  for (const [name, call] of CALLS) {
    const controller = new AbortController()
    t.equal(await abort(call(client, proxy.origin, controller.signal), controller), REASON, name)
  }
  read = () => Promise.reject(new Error('locked'))
  const late = new AbortController()
  const rejected = client.fetch('/api/protected/', { signal: late.signal })
  await t.rejects(rejected, { message: 'locked' })
  t.equal(proxy.seen('GET').length, 0)
})

t.test('an aborted signal rejects before any work, as fetch does', async (t) => {
  const { client, proxy } = await stageExpired(t)
  for (const [name, call] of CALLS) {
    await t.rejects(call(client, proxy.origin, AbortSignal.abort()), { name: 'AbortError' }, name)
    const timeout = AbortSignal.timeout(0)
    await new Promise((resolve) => timeout.addEventListener('abort', resolve))
    await t.rejects(call(client, proxy.origin, timeout), { name: 'TimeoutError' }, name)
  }
  // Some versions of React Native do not implement `reason`.
  const bare = Object.assign(new EventTarget(), { aborted: true }) as unknown as AbortSignal
  await t.rejects(client.fetch('/api/protected/', { signal: bare }), { name: 'AbortError' })
  t.equal(proxy.seen(REFRESH).length, 0)
})

t.test('a signal in init replaces that of the Request, and null removes it', async (t) => {
  const { client: clientOf, proxy } = await stage(t)
  const client = await clientOf()
  const aborted = new Request(`${proxy.origin}/api/protected/`, { signal: AbortSignal.abort() })
  t.equal((await client.fetch(aborted, { signal: null })).status, 200)
  const request = new Request(`${proxy.origin}/api/protected/`)
  await t.rejects(client.fetch(request, { signal: AbortSignal.abort(REASON) }), REASON)
})

t.test('a signal keeps no listeners after the call', async (t) => {
  const { client: clientOf } = await stage(t)
  const counts = { add: 0, remove: 0 }
  const target = {
    aborted: false,
    addEventListener: () => void counts.add++,
    removeEventListener: () => void counts.remove++
  }
  const client = await clientOf({ fetch: (input, init) => fetch(input, { ...init, signal: null }) })
  await client.fetch('/api/protected/', { signal: target as unknown as AbortSignal })
  t.ok(counts.add > 0)
  t.equal(counts.remove, counts.add)
})

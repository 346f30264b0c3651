/** A server on a real port with a user, a proxy that can fail, clients, and a fake storage, clock and locks. */
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { type Client, type ClientOptions, type ClientStorage, createClient } from '../../src/client/client.ts'
import type { SettingsInput } from '../../src/settings/schema.ts'
import { addUser, type Credentials } from '../support/journeys.ts'
import { listening } from '../support/listening.ts'
import { claimsOf } from '../support/tokens.ts'
import { layProxy, type TestProxy } from './proxy.ts'

export interface Stage {
  app: FastifyInstance
  proxy: TestProxy
  alice: Credentials
  /** Creates a client, logged in unless `signIn` is 'not yet'. */
  client(options?: Partial<ClientOptions>, signIn?: 'not yet'): Promise<Client>
}

export const REFRESH = 'POST /api/token/refresh/'
export const LOGOUT = 'POST /api/token/blacklist/'

export async function stage(
  t: Test,
  settings: SettingsInput = {},
  setUp?: (app: FastifyInstance) => unknown
): Promise<Stage> {
  const { app, origin } = await listening(t, settings, setUp)
  const { username, password } = await addUser(app)
  const proxy = await layProxy(t, origin)
  return {
    ...{ app, proxy, alice: { username, password } },
    client: async (options = {}, signIn) => {
      const client = createClient({ baseUrl: `${proxy.origin}/api`, ...options })
      if (signIn === undefined) await client.signIn({ username, password })
      return client
    }
  }
}

/** A running clock that can be advanced. @param ahead offset in seconds */
export function clock(ahead = 0): { now: () => number; forward(seconds: number): void } {
  let offset = ahead
  return {
    now: () => Date.now() + offset * 1000,
    forward: (seconds) => {
      offset += seconds
    }
  }
}

export interface Shelf extends ClientStorage {
  readonly values: Map<string, string>
  /** The same storage in another tab, which gets changes asynchronously, as in browsers. */
  tab(): Shelf
}

/** A storage that tabs share, with readable values. */
export function shelf(tabs = new Set<(key: string, value?: string) => void>()): Shelf {
  const values = new Map<string, string>()
  let onChange = () => {}
  const put = (key: string, value?: string) => (value === undefined ? values.delete(key) : values.set(key, value))
  const hear = (key: string, value?: string) => {
    put(key, value)
    onChange()
  }
  tabs.add(hear)
  const change = (key: string, value?: string) => {
    put(key, value)
    for (const tell of tabs) if (tell !== hear) setImmediate(tell, key, value)
  }
  const tab = () => {
    const other = shelf(tabs)
    for (const [key, value] of values) other.values.set(key, value)
    return other
  }
  return {
    ...{ values, tab, set: change, remove: change },
    get: (key) => values.get(key) ?? null,
    watch: (_key, listener) => {
      onChange = listener
    }
  }
}

/** An asynchronous storage that is not shared. */
export function slowShelf(): Shelf {
  const { values, tab, get, set, remove } = shelf()
  const later = <T>(work: () => T | Promise<T>): Promise<T> =>
    new Promise((resolve) => setImmediate(resolve)).then(work)
  return {
    ...{ values, tab },
    get: (key) => later(() => get(key)),
    set: (key, value) => later(() => set(key, value)),
    remove: (key) => later(() => remove(key))
  }
}

/** Invalidates the signature of the stored access token, as after a change of the signing key. */
export function spoil({ values }: Shelf): void {
  for (const [key, text] of values) values.set(key, text.replace(/("access":"[^"]+)"/, '$1x"'))
}

/** The id of the session of the stored refresh token. */
export const sidIn = ({ values }: Shelf): string =>
  String(claimsOf(JSON.parse([...values.values()][0] as string).refresh).sid)

/** Resolves to the state of the next `onChange` event. */
export const nextChange = (client: Client): Promise<boolean> =>
  new Promise((resolve) => {
    const stop = client.onChange((signedIn) => {
      stop()
      resolve(signedIn)
    })
  })

/** The part of `navigator.locks` that the client uses; Node.js 20 does not have it. */
export function locks() {
  const held = new Map<string, Promise<unknown>>()
  return {
    request: async <T>(
      name: string,
      { ifAvailable = false }: { ifAvailable?: boolean },
      work: (lock: object | null) => Promise<T>
    ): Promise<T> => {
      if (ifAvailable && held.has(name)) return work(null)
      const done = (held.get(name) ?? Promise.resolve()).then(() => work({}))
      const settled = done.then(
        () => undefined,
        () => undefined
      )
      held.set(name, settled)
      void settled.then(() => held.get(name) === settled && held.delete(name))
      return done
    }
  }
}

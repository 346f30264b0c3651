/** A server on a real port, a way to it that can fail, and alice's clients. */
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import { type Client, type ClientOptions, type ClientStorage, createClient } from '../../src/client.ts'
import type { SettingsInput } from '../../src/settings.ts'
import { listening } from '../listening.ts'
import { addUser, type Credentials } from '../support/journeys.ts'
import { claimsOf } from '../support/tokens.ts'
import { layProxy, type TestProxy } from './proxy.ts'

export interface Stage {
  app: FastifyInstance
  proxy: TestProxy
  alice: Credentials
  /** A client that has signed in, unless it is told not to. */
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

/** A clock that goes by itself and can be put forward, in seconds. */
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
}

/** As what tabs share, or with `slowly` as what takes its time; both can be looked at. */
export function shelf(slowly?: 'slowly'): Shelf {
  const values = new Map<string, string>()
  const later = <T>(work: () => T) => (slowly ? new Promise((resolve) => setImmediate(resolve)).then(work) : work())
  return {
    ...{ values, shared: slowly === undefined },
    get: (key) => later(() => values.get(key) ?? null),
    set: (key, value) => later(() => void values.set(key, value)),
    remove: (key) => later(() => void values.delete(key))
  }
}

/** Makes the server refuse the access token that is kept, as after a change of its key. */
export function spoil({ values }: Shelf): void {
  for (const [key, text] of values) values.set(key, text.replace(/("access":"[^"]+)"/, '$1x"'))
}

/** The session of what is kept. */
export const sidIn = ({ values }: Shelf): string =>
  String(claimsOf(JSON.parse([...values.values()][0] as string).refresh).sid)

/** Resolves with the next change that a client tells of. */
export const nextChange = (client: Client): Promise<boolean> =>
  new Promise((resolve) => {
    const stop = client.onChange((signedIn) => {
      stop()
      resolve(signedIn)
    })
  })

/** `navigator.locks`, which Node.js 20 does not have, as far as a client uses it. */
export function locks() {
  const last = new Map<string, Promise<unknown>>()
  return {
    request: <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const done = (last.get(name) ?? Promise.resolve()).then(work)
      last.set(
        name,
        done.catch(() => undefined)
      )
      return done
    }
  }
}

/**
 * Property-based test of concurrent actions of clients, users and staff on two processes: a session has one current refresh
 * token, an honest client is never logged out, and no token is valid after the end of its session.
 */
import fc from 'fast-check'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { AuthError } from '../../src/errors.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'
import { claimsOf } from '../support/tokens.ts'

const RUNS = 8

/** The actions of one array run concurrently. */
type Action =
  | { kind: 'refresh' | 'retry' | 'lost'; client: number; at: number }
  | { kind: 'logout' | 'others'; client: number; at: number }
  | { kind: 'password' | 'deactivate'; client?: undefined; at: number }

const client = fc.nat(2)
const at = fc.nat(1)
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('refresh' as const), client, at }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('retry' as const), client, at }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('lost' as const), client, at }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('logout' as const, 'others' as const), client, at }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('password' as const, 'deactivate' as const), at }) }
)
const rounds = fc.array(fc.array(action, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 6 })

/** A device with the tokens of the last response that it received. */
interface Client {
  sid: string
  refresh: string
  access: string
  /** Whether an action has ended the session. */
  isOver: boolean
}

class World {
  readonly #apps: FastifyInstance[]
  readonly #userId: number
  readonly #password: { current: string }
  clients: Client[] = []

  constructor(apps: FastifyInstance[], userId: number, password: { current: string }) {
    this.#apps = apps
    this.#userId = userId
    this.#password = password
  }

  authOf(at: number) {
    return (this.#apps[at] as FastifyInstance).auth
  }

  async signIn(at: number): Promise<Client> {
    const credentials = { username: 'alice', password: this.#password.current }
    const pair = await this.authOf(at).tokens.obtainPair(credentials)
    return { ...pair, sid: String(claimsOf(pair.refresh).sid), isOver: false }
  }

  async act(action: Action): Promise<unknown> {
    const { tokens, sessions, users } = this.authOf(action.at)
    if (action.kind === 'password') {
      this.overAll()
      return users.setPassword(this.#userId, this.#password.current)
    }
    if (action.kind === 'deactivate') {
      this.overAll()
      await users.deactivate(this.#userId)
      return users.activate(this.#userId)
    }
    const client = this.clients[Number(action.client)] as Client
    if (action.kind === 'logout') {
      client.isOver = true
      return tokens.blacklist(client.refresh).catch(refused)
    }
    if (action.kind === 'others') {
      for (const other of this.clients) if (other !== client) other.isOver = true
      return sessions.endAll(this.#userId, 'logout', { sid: client.sid })
    }
    // Concurrent uses of a token come from one device: two tabs, a retry, a lost response.
    const uses = action.kind === 'refresh' ? 1 : 2
    const answers = await Promise.all(Array.from({ length: uses }, () => this.#use(action.at, client)))
    const last = answers.at(-1)
    return action.kind !== 'lost' && last && Object.assign(client, last)
  }

  async #use(at: number, { refresh }: Client): Promise<{ refresh: string; access: string } | undefined> {
    try {
      return (await this.authOf(at).tokens.refresh(refresh)) as { refresh: string; access: string }
    } catch (error) {
      refused(error)
      return undefined
    }
  }

  overAll(): void {
    for (const client of this.clients) client.isOver = true
  }
}

/** Rethrows every error but a 401. */
function refused(error: unknown): void {
  if (!(error instanceof AuthError && error.statusCode === 401)) throw error
}

async function check(t: Test, world: World): Promise<void> {
  for (const client of world.clients) {
    for (const at of [0, 1]) {
      const { verifier, revocations } = world.authOf(at)
      await revocations.sync()
      const isIn = await verifier.authenticate(client.access).then(
        () => true,
        () => false
      )
      if (isIn === client.isOver) throw new Error(`access token ${isIn ? 'valid after the end' : 'rejected'}`)
      const isLive = await verifier.verify(client.refresh).then(
        () => true,
        () => false
      )
      if (isLive === client.isOver) throw new Error(`refresh token ${isLive ? 'valid after the end' : 'invalid'}`)
    }
  }
  const [client] = world.clients
  if (client === undefined) t.fail('no client')
}

onEachDatabase(t, (t, { build }) => {
  t.test('no interleaving logs an honest client out or leaves a token of an ended session valid', async (t) => {
    const one = await build(t, { revocationPoll: 60 })
    const apps = [one, await build(t, { revocationPoll: 60, databaseUrl: one.auth.settings.databaseUrl })]
    const { id } = await addUser(one)
    const password = { current: PASSWORD }

    await fc.assert(
      fc.asyncProperty(rounds, async (plan) => {
        const world = new World(apps, id, password)
        world.clients = await Promise.all([0, 1, 0].map((at) => world.signIn(at)))
        for (const round of plan) {
          await Promise.all(round.map((action) => world.act(action)))
          await check(t, world)
        }
        const live = world.clients.filter(({ isOver }) => !isOver)
        for (const { sid } of live) {
          const used = await one.auth.database.session.findUniqueOrThrow({ where: { id: sid } })
          if (used.endedAt !== null) throw new Error(`${sid} has ended: ${used.endReason}`)
        }
        await one.auth.sessions.endAll(id, 'logout')
      }),
      { numRuns: RUNS }
    )
    t.pass()
  })
})

/** Measures guarded requests, compared with an open route, and refreshes on each database. */
import { rmSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'
import { type Contestants, compare } from './measure.ts'
import { build, databases, dropDatabases, folder, pairOf } from './world.ts'

export async function requests(): Promise<void> {
  const apps: FastifyInstance[] = []
  const guarded: Contestants = {}
  const refreshes: Contestants = {}
  for (const [database, [databaseUrl = '']] of Object.entries(await databases(['requests']))) {
    const stateless = await build({ databaseUrl })
    const stateful = await build({ databaseUrl, stateless: false })
    apps.push(stateless, stateful)
    const { access } = await pairOf(stateless)
    const headers = { authorization: `Bearer ${access}` }
    guarded['no guard'] ??= () => stateless.inject({ url: '/open', headers })
    guarded['isAuthenticated, stateless (no query)'] ??= () => stateless.inject({ url: '/guarded', headers })
    guarded[`isAuthenticated, reading the user on ${database}`] = () => stateful.inject({ url: '/guarded', headers })
    let { refresh } = await pairOf(stateless)
    refreshes[`on ${database}`] = async () => {
      const answer = await stateless.inject({ method: 'POST', url: '/api/token/refresh/', payload: { refresh } })
      refresh = answer.json().refresh
    }
  }
  await compare('Request to a route, injected', guarded, { calls: 200 })
  await compare('Refresh with rotation, injected', refreshes, { calls: 50 })
  for (const app of apps) await app.close()
  await dropDatabases()
  rmSync(folder, { recursive: true })
}

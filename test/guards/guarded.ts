/** An app whose routes are guarded, each by a guard of its own, and how to ask for them. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { errorHandler, type Guard, type LatchkeyOptions } from '../../src/index.ts'
import type { Scope, TestWorld } from '../support/build.ts'
import { bearer } from '../support/journeys.ts'
import { mint } from '../support/tokens.ts'

export const NOBODY = { detail: 'Authentication credentials were not provided.' }
export const DENIED = { detail: 'You do not have permission to perform this action.' }

export type Guards = Record<string, Guard>

const METHODS = ['GET', 'HEAD', 'OPTIONS', 'POST', 'DELETE'] as const
type Method = (typeof METHODS)[number]

/** With DRF's answers; each route has the name of its guard, and answers with who is calling. */
export function guarded(
  { build }: Pick<TestWorld, 'build'>,
  scope: Scope,
  guards: Guards,
  settings: LatchkeyOptions = {}
): Promise<FastifyInstance> {
  return build(scope, settings, (app) =>
    app.register(async (routes) => {
      routes.setErrorHandler(errorHandler)
      for (const [name, preHandler] of Object.entries(guards)) {
        routes.route({ method: [...METHODS], url: `/${name}`, preHandler, handler: whoAmI })
      }
    })
  )
}

export const whoAmI = async ({ user }: FastifyRequest) => ({ username: user?.username ?? null, id: user?.id ?? null })

/** An access token of this user, by hand. */
export const accessOf = (user_id: unknown, claims: object = {}) =>
  mint({ claims: { token_type: 'access', user_id, ...claims } })

export const ask = (app: FastifyInstance, url: string, token?: string, method: Method = 'GET') =>
  app.inject({ method, url, headers: token === undefined ? {} : bearer(token) })

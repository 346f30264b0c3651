/** Builds apps with one route per guard, and sends requests to them. */
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

/** Builds an app with DRF's error responses and a route for each guard, named after it, that returns the caller. */
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

/** Returns an access token for a user id, without a login. */
export const accessOf = (user_id: unknown, claims: object = {}) =>
  mint({ claims: { token_type: 'access', user_id, ...claims } })

export const ask = (app: FastifyInstance, url: string, token?: string, method: Method = 'GET') =>
  app.inject({ method, url, headers: token === undefined ? {} : bearer(token) })

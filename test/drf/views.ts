/** Small views for tests of `view`. */
import type { FastifyInstance, InjectOptions } from 'fastify'
import Type from 'typebox'
import { CharField } from '../../src/drf/fields.ts'
import { type View, view } from '../../src/drf/view.ts'
import { AuthenticationFailed, NotAuthenticated, PermissionDenied, Throttled } from '../../src/errors.ts'

export const Credentials = Type.Object({ username: CharField(), password: CharField() })
export const Greeting = Type.Object({ hello: Type.String() })

/** Adds a view with one method, like those for tokens. */
export function tokenView(scope: FastifyInstance, more: Partial<View> = {}) {
  view(scope, '/token/', {
    name: 'Token Obtain Pair',
    description: 'Signs in.',
    tags: ['token'],
    challenge: 'Bearer realm="api"',
    methods: {
      POST: {
        summary: 'Sign in',
        body: Credentials,
        response: { 200: Greeting },
        handler: async ({ body }) => {
          if (body.password !== 'right') throw new AuthenticationFailed('No.')
          return { hello: body.username, password: body.password }
        }
      }
    },
    ...(more as object)
  })
}

/** Adds a view with several methods and a parameter, like those for users. */
export function userView(scope: FastifyInstance, more: Partial<View> = {}) {
  view(scope, '/users/:id/', {
    name: 'User',
    description: 'A user.',
    tags: ['users'],
    methods: {
      GET: { summary: 'See', response: { 200: Greeting }, handler: async ({ params }) => ({ hello: params.id }) },
      DELETE: {
        summary: 'Delete',
        response: { 204: Type.Null() },
        handler: async (_request, reply) => {
          reply.code(204)
        }
      },
      PATCH: {
        summary: 'Change',
        body: Type.Object({ email: CharField({ required: false }) }),
        response: { 201: Type.Object({ email: Type.Optional(Type.String()) }) },
        handler: async ({ body }, reply) => {
          reply.code(201)
          return { email: body.email }
        }
      }
    },
    ...(more as object)
  })
}

export const post = (
  app: FastifyInstance,
  payload: InjectOptions['payload'],
  headers: Record<string, string> = {},
  url = '/api/token/'
) => app.inject({ method: 'POST', url, headers, ...(payload === undefined ? {} : { payload }) })

export const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'QUERY'] as const

/** Authenticates by the header `user`, and denies permission to mallory. */
export async function guard({ headers }: { headers: Record<string, unknown> }): Promise<void> {
  if (headers.user === undefined) throw new NotAuthenticated()
  if (headers.user === 'mallory') throw new PermissionDenied()
}

export async function throttle({ headers }: { headers: Record<string, unknown> }): Promise<void> {
  if (headers.user === 'busy') throw new Throttled(60)
}

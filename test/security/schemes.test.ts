/** Scheme restrictions fail closed, and a host's own `request.user` is never believed. */
import type { FastifyRequest, preHandlerAsyncHookHandler } from 'fastify'
import t from 'tap'
import {
  type Authenticator,
  allowAny,
  and,
  authenticateWith,
  errorHandler,
  type Guard,
  guard,
  isAdminUser,
  isAuthenticated,
  not,
  or,
  userRateThrottle
} from '../../src/index.ts'
import { onEachDatabase } from '../support/build.ts'
import { addUser, bearer, obtainPair } from '../support/journeys.ts'

const handler = async ({ user }: FastifyRequest) => ({ user })

onEachDatabase(t, (t, { build }) => {
  t.test('authenticateWith rejects the tokens of other schemes wherever it stands (401 or 403)', async (t) => {
    const basicOnly = () => authenticateWith(['basic'], isAuthenticated)
    const hooks: [name: string, onRequest: Guard[], preHandler: Guard[], status: number][] = [
      ['alone', [], [basicOnly()], 401],
      ['after-another-guard', [], [allowAny, basicOnly()], 401],
      ['after-a-guard-in-onRequest', [isAuthenticated], [basicOnly()], 401],
      ['before-another-guard', [], [basicOnly(), isAuthenticated], 401],
      ['around-a-combination', [], [authenticateWith(['basic'], and(isAuthenticated, isAdminUser))], 401],
      ['without-schemes', [], [isAuthenticated, authenticateWith([], isAuthenticated)], 403]
    ]
    const app = await build(t, {}, (app) =>
      app.register(async (routes) => {
        routes.setErrorHandler(errorHandler)
        const throttle = userRateThrottle('100/day')
        for (const [url, onRequest, preHandler] of hooks) routes.get(`/${url}`, { onRequest, preHandler }, handler)
        routes.get('/after-a-throttle', { onRequest: throttle, preHandler: basicOnly() }, handler)
      })
    )
    const { access } = await obtainPair(app, await addUser(app, { isStaff: true }))

    for (const [name, , , status] of [...hooks, ['after-a-throttle', [], [], 401] as const]) {
      const answer = await app.inject({ url: `/${name}`, headers: bearer(access) })
      t.equal(answer.statusCode, status, name)
    }
  })

  t.test(
    'request.user as a plugin of the host sets it is not believed, whatever the order of the hooks (401)',
    async (t) => {
      // What the host's own @fastify/jwt does with a token of its own key.
      const verifyHost = async (request: FastifyRequest) => {
        request.user = { id: 1, isActive: true, isStaff: true, isSuperuser: true } as never
      }
      const routes: [url: string, onRequest: preHandlerAsyncHookHandler[], preHandler: preHandlerAsyncHookHandler[]][] =
        [
          ['between-guards', [], [allowAny, verifyHost, isAdminUser]],
          ['after-a-guard', [allowAny], [verifyHost, isAuthenticated]],
          ['after-a-throttle', [userRateThrottle('100/day')], [verifyHost, isAuthenticated]],
          ['before-guards', [], [verifyHost, isAuthenticated]],
          ['own-predicate', [allowAny], [verifyHost, guard(({ user }) => user !== null)]]
        ]
      const app = await build(t, {}, (app) =>
        app.register(async (scope) => {
          scope.setErrorHandler(errorHandler)
          for (const [url, onRequest, preHandler] of routes) scope.get(`/${url}`, { onRequest, preHandler }, handler)
        })
      )

      for (const [url] of routes) t.equal((await app.inject({ url: `/${url}` })).statusCode, 401, url)
    }
  )

  t.test('a custom authenticator that returns a row does not put the password hash into request.user', async (t) => {
    const careless: Authenticator = {
      authenticate: async ({ server }) => ({ user: (await server.auth.users.get('id', 1)) as never, auth: null })
    }
    const app = await build(t, {}, (app) => {
      app.get('/me', { preHandler: authenticateWith([careless], isAuthenticated) }, async ({ user }) => ({
        keys: Object.keys(user as object)
      }))
    })
    await addUser(app)

    const { keys } = (await app.inject({ url: '/me' })).json()
    t.ok(keys.includes('username'))
    t.notOk(keys.includes('password'))
  })

  t.test('only true allows a request: other truthy values of a predicate are rejected (401)', async (t) => {
    const values = ['false', 'true', 1, {}, [], undefined, null]
    const predicates = values.flatMap((value) => [() => value as never, async () => value as never])
    const guards = predicates.flatMap((permits) => {
      const odd = guard(permits)
      return [odd, and(odd), and(allowAny, odd), or(odd), or(odd, odd), not(odd), authenticateWith(['jwt'], odd)]
    })
    const app = await build(t, {}, (app) =>
      app.register(async (routes) => {
        routes.setErrorHandler(errorHandler)
        for (const [index, preHandler] of guards.entries()) routes.get(`/${index}`, { preHandler }, handler)
      })
    )

    for (const index of guards.keys()) t.equal((await app.inject({ url: `/${index}` })).statusCode, 401)
  })
})

t.test('a combinator that would ignore a scheme restriction is an error at definition', async (t) => {
  const restricted = authenticateWith(['basic'], isAuthenticated)
  const combinations = [
    () => and(restricted, isAdminUser),
    () => and(isAdminUser, restricted),
    () => or(isAdminUser, restricted),
    () => not(restricted),
    () => authenticateWith(['jwt'], restricted)
  ]
  for (const combine of combinations) t.throws(combine, { name: 'TypeError', message: /authenticateWith\(\)/ })
  t.throws(
    () => restricted.permits({} as FastifyRequest),
    TypeError,
    'nor does its predicate answer without the schemes'
  )
})

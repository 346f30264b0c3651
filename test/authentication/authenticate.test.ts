import type { FastifyInstance, FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import {
  AuthenticationFailed,
  type Authenticator,
  allowAny,
  and,
  authenticateWith,
  errorHandler,
  type Guard,
  guard,
  isAuthenticated,
  type Scheme,
  ServiceUnavailable
} from '../../src/index.ts'
import { TokenUser } from '../../src/users/token-user.ts'
import { worldOf } from '../support/build.ts'
import { bearer } from '../support/journeys.ts'
import { mint } from '../support/tokens.ts'

const { build } = worldOf('sqlite')

const NOBODY = { detail: 'Authentication credentials were not provided.' }
const DENIED = { detail: 'You do not have permission to perform this action.' }

const access = mint({ claims: { token_type: 'access', username: 'alice' } })

const whoAmI = async ({ user, auth }: FastifyRequest) => ({ username: user?.username ?? null, auth })

/** Builds an app with DRF's error responses and a route for each guard, named after it. */
function appWith(t: Test, guards: Record<string, Guard | Guard[]>, handler = whoAmI): Promise<FastifyInstance> {
  return build(t, {}, (app) =>
    app.register(async (routes) => {
      routes.setErrorHandler(errorHandler)
      for (const [name, preHandler] of Object.entries(guards)) routes.get(`/${name}`, { preHandler }, handler)
    })
  )
}

/** Authenticates by the header `x-key` and records its calls. */
function keyScheme(tried: string[] = [], name = 'key', challenge?: string): Authenticator {
  return {
    ...(challenge === undefined ? {} : { challenge }),
    authenticate: async ({ headers }) => {
      tried.push(name)
      const key = headers['x-key']
      if (key === undefined) return null
      if (key === 'down') throw new ServiceUnavailable()
      if (key === 'broken') throw new Error('broken')
      if (key !== name) throw new AuthenticationFailed(`Not a ${name}.`)
      return { user: new TokenUser('1', 'id', { username: `by ${name}` }), auth: key }
    }
  }
}

t.test('authentication runs once per request, and only if a guard or handler asks for it', async (t) => {
  const tried: string[] = []
  const keyed = authenticateWith([keyScheme(tried)], isAuthenticated)
  const app = await appWith(
    t,
    { guarded: [keyed, keyed, and(isAuthenticated, allowAny)], open: [] },
    async (request) => {
      if (request.routeOptions.url === '/guarded') await Promise.all([request.authenticate(), request.authenticate()])
      return whoAmI(request)
    }
  )

  const answer = await app.inject({ url: '/guarded', headers: { 'x-key': 'key' } })
  t.strictSame(answer.json(), { username: 'by key', auth: 'key' })
  t.strictSame(tried, ['key'])
  const open = await app.inject({ url: '/open', headers: { 'x-key': 'key', ...bearer('x') } })
  t.strictSame(open.json(), { username: null, auth: null }, 'an invalid token is ignored without a guard')
  t.strictSame(tried, ['key'])
})

t.test('a failed authentication is not repeated and raises the same error again', async (t) => {
  const tried: string[] = []
  const app = await build(t, {}, (app) =>
    app.get('/twice', async (request) => {
      request.authenticators = [keyScheme(tried, 'a')]
      const refusals = await Promise.all([1, 2].map(() => request.authenticate().catch((error) => error)))
      return { same: refusals[0] === refusals[1], code: refusals[0].code, user: request.user }
    })
  )

  const answer = await app.inject({ url: '/twice', headers: { 'x-key': 'b' } })

  t.strictSame(answer.json(), { same: true, code: 'authentication_failed', user: null })
  t.strictSame(tried, ['a'])
})

t.test('concurrent requests have separate callers', async (t) => {
  const app = await appWith(t, { me: isAuthenticated })
  const names = Array.from({ length: 20 }, (_, index) => `user${index}`)

  const answers = await Promise.all(
    names.map((username) =>
      app.inject({ url: '/me', headers: bearer(mint({ claims: { token_type: 'access', username } })) })
    )
  )

  t.strictSame(
    answers.map((answer) => answer.json().username),
    names
  )
  t.strictSame((await app.inject('/me')).json(), NOBODY)
})

t.test('an invalid token is rejected (401) even if anonymous requests are allowed', async (t) => {
  const app = await appWith(t, { any: allowAny })

  t.strictSame((await app.inject('/any')).json(), { username: null, auth: null })
  t.match((await app.inject({ url: '/any', headers: bearer(access) })).json(), { username: 'alice' })
  const answer = await app.inject({ url: '/any', headers: bearer('x') })
  t.equal(answer.statusCode, 401)
  t.match(answer.json(), { code: 'token_not_valid' })
  t.equal(answer.headers['www-authenticate'], 'Bearer realm="api"')
})

/** The schemes of a route, the request, the response, and the authenticators called. */
type Attempt = [
  schemes: string[],
  key: string | undefined,
  token: string | undefined,
  statusCode: number,
  body: object,
  tried: string[]
]

const notA = (name: string) => ({ detail: `Not a ${name}.` })
const ATTEMPTS: Attempt[] = [
  [[], undefined, undefined, 403, DENIED, []],
  [[], 'a', access, 403, DENIED, []],
  [['a'], undefined, undefined, 401, NOBODY, ['a']],
  [['a'], 'a', undefined, 200, { username: 'by a' }, ['a']],
  [['a'], 'b', undefined, 401, notA('a'), ['a']],
  [['a'], undefined, access, 401, NOBODY, ['a']],
  [['a'], 'down', undefined, 503, { detail: /unavailable/ }, ['a']],
  [['a'], 'broken', undefined, 500, { detail: 'A server error occurred.' }, ['a']],
  [['quiet'], undefined, undefined, 403, NOBODY, ['quiet']],
  [['quiet'], 'b', undefined, 403, notA('quiet'), ['quiet']],
  [['a', 'jwt'], undefined, access, 200, { username: 'alice' }, ['a']],
  [['a', 'jwt'], undefined, 'x', 401, { code: 'token_not_valid' }, ['a']],
  [['a', 'jwt'], 'b', access, 401, notA('a'), ['a']],
  [['jwt', 'a'], 'a', access, 200, { username: 'alice' }, []],
  [['jwt', 'a'], 'a', undefined, 200, { username: 'by a' }, ['a']],
  [['jwt', 'a'], 'a', 'x', 401, { code: 'token_not_valid' }, []],
  [['quiet', 'jwt'], undefined, 'x', 403, { code: 'token_not_valid' }, ['quiet']],
  [['quiet', 'jwt'], undefined, undefined, 403, NOBODY, ['quiet']],
  [['jwt', 'quiet'], 'b', undefined, 401, notA('quiet'), ['quiet']],
  [['quiet', 'a'], 'a', undefined, 403, notA('quiet'), ['quiet']]
]

t.test('schemes are tried in order until one succeeds or fails; the first decides between 401 and 403', async (t) => {
  const tried: string[] = []
  const own: Record<string, Authenticator> = { a: keyScheme(tried, 'a', 'Key a'), quiet: keyScheme(tried, 'quiet') }
  const challenges: Record<string, string> = { a: 'Key a', jwt: 'Bearer realm="api"' }
  const names = new Map(ATTEMPTS.map(([schemes]) => [schemes.join('-') || 'none', schemes]))
  const guards = [...names].map(([name, schemes]): [string, Guard] => [
    name,
    authenticateWith(
      schemes.map((scheme) => own[scheme] ?? (scheme as Scheme)),
      isAuthenticated
    )
  ])
  const app = await appWith(t, Object.fromEntries(guards))

  for (const [schemes, key, token, statusCode, body, expected] of ATTEMPTS) {
    tried.length = 0
    const headers = { ...(key === undefined ? {} : { 'x-key': key }), ...(token === undefined ? {} : bearer(token)) }
    const answer = await app.inject({ url: `/${schemes.join('-') || 'none'}`, headers })

    const name = `${schemes} with ${key ?? 'no key'} and ${token ? 'a token' : 'no token'}`
    t.equal(answer.statusCode, statusCode, name)
    t.match(answer.json(), body, name)
    t.strictSame(tried, expected, name)
    t.equal(answer.headers['www-authenticate'], statusCode === 401 ? challenges[schemes[0] ?? ''] : undefined, name)
  }
})

t.test('without schemes a custom message is also returned to anonymous callers, as in DRF', async (t) => {
  const deny = guard(() => false, { message: 'Closed.' })
  const app = await appWith(t, { none: authenticateWith([], deny), jwt: authenticateWith(['jwt'], deny) })

  t.strictSame((await app.inject('/none')).json(), { detail: 'Closed.' })
  t.strictSame((await app.inject('/jwt')).json(), NOBODY)
})

/** SimpleJWT's six views. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { TokenCookies } from '../../authentication/token-cookies.ts'
import { CharField } from '../../drf/fields.ts'
import type { Throttle } from '../../drf/throttle.ts'
import { view } from '../../drf/view.ts'
import { AuthenticationFailed, NotAuthenticated } from '../../errors.ts'
import { JWKS_MAX_AGE_MS } from '../../keys/key-set.ts'

const Token = (description: string) => Type.String({ description })
const Detail = Type.Object({ detail: Type.String(), code: Type.Optional(Type.String()) })
const FieldErrors = Type.Record(Type.String(), Type.Array(Type.String()))
const refusals = { 400: FieldErrors, 401: Detail }
const loginRefusals = { ...refusals, 429: Detail, 503: Detail }

/** @param throttle of logins */
export function tokenRoutes(app: FastifyInstance, throttle: Throttle): void {
  obtainView(app, throttle)
  refreshView(app)
  verifyView(app)
  blacklistView(app)
  obtainSlidingView(app, throttle)
  refreshSlidingView(app)
}

/** djoser's names for three of them. @param throttle of logins */
export function jwtRoutes(app: FastifyInstance, throttle: Throttle): void {
  obtainView(app, throttle, '/jwt/create/')
  refreshView(app, '/jwt/refresh/')
  verifyView(app, '/jwt/verify/')
}

const common = ({ auth }: FastifyInstance) => ({
  tags: ['token'],
  challenge: `${auth.settings.authHeaderTypes[0]} realm="api"`
})

/** What is asked for is called as Django calls it: after the field that users sign in with. */
const credentials = ({ auth }: FastifyInstance) => {
  const password = CharField({ trim: auth.settings.passwordTrim, writeOnly: true })
  return Type.Object({ [auth.settings.loginField as 'username']: CharField({}), password })
}

const credentialsOf = ({ settings }: Auth, body: { username: string; password: string }) => {
  const given = body as unknown as Record<string, string>
  return { username: given[settings.loginField] as string, password: body.password }
}

type Auth = FastifyInstance['auth']

function obtainView(app: FastifyInstance, throttle: Throttle, url: `/${string}/` = '/token/'): void {
  const cookies = new TokenCookies(app.auth.settings)
  view(app, url, {
    ...common(app),
    name: 'Token Obtain Pair',
    description: 'A name and a password become a pair of tokens: one to show, one to renew it with.',
    before: [throttle],
    methods: {
      POST: {
        summary: 'Exchange a name and a password for a pair of tokens',
        body: credentials(app),
        response: {
          200: Type.Object({
            refresh: Type.Optional(Token('Lives for a day by default; in cookie mode it is in a cookie')),
            // Left out by nobody; but what may be left out comes after what may not, and this order is the original's.
            access: Type.Optional(Token('Lives for five minutes by default'))
          }),
          ...loginRefusals
        },
        handler: async (request, reply) => {
          const isInCookies = cookies.isAsked(request)
          if (isInCookies) cookies.check(request)
          const pair = await app.auth.tokens.obtainPair(credentialsOf(app.auth, request.body), request)
          return isInCookies ? cookies.give(request, reply, pair) : pair
        }
      }
    }
  })
}

function refreshView(app: FastifyInstance, url: `/${string}/` = '/token/refresh/'): void {
  const cookies = new TokenCookies(app.auth.settings)
  view(app, url, {
    ...common(app),
    name: 'Token Refresh',
    description: 'A refresh token that is still good becomes a new access token.',
    methods: {
      POST: {
        summary: 'Exchange a refresh token for an access token and, with rotation, its successor',
        body: Type.Object({ refresh: CharField({}), access: CharField({ readOnly: true }) }),
        response: {
          200: Type.Object({ access: Token('A new one'), refresh: Type.Optional(Token('In place of the one sent')) }),
          ...refusals
        },
        bodyOf: (request) => bodyOf(cookies, request),
        handler: async (request, reply) => {
          if (!cookies.isAsked(request)) return app.auth.tokens.refresh(request.body.refresh, request)
          try {
            return cookies.give(request, reply, await app.auth.tokens.refresh(request.body.refresh, request))
          } catch (error) {
            if (error instanceof AuthenticationFailed) cookies.clear(request, reply)
            throw error
          }
        }
      }
    }
  })
}

/**
 * In cookie mode the refresh token is in a cookie, unless a page that is changing over to it still shows its own.
 *
 * @throws {NotAuthenticated} if there is none, which is no fault in the body
 */
function bodyOf(cookies: TokenCookies, request: FastifyRequest, otherwise?: string): unknown {
  const { body } = request
  if (!cookies.isAsked(request)) return body
  const cookie = cookies.refreshOf(request)
  const isGiven = body instanceof Map ? body.has('refresh') : Object.hasOwn(Object(body), 'refresh')
  if (isGiven) return body
  const refresh = cookie ?? otherwise
  if (refresh === undefined) throw new NotAuthenticated()
  return { refresh }
}

function verifyView(app: FastifyInstance, url: `/${string}/` = '/token/verify/'): void {
  view(app, url, {
    ...common(app),
    name: 'Token Verify',
    description: 'Says whether a token is good, of whatever kind it is and whoever it is of.',
    methods: {
      POST: {
        summary: 'Say whether a token, of whatever kind, is good',
        body: Type.Object({ token: CharField({ writeOnly: true }) }),
        response: { 200: Type.Object({}), ...refusals },
        handler: async ({ body }) => {
          await app.auth.tokens.verify(body.token)
          return {}
        }
      }
    }
  })
}

function blacklistView(app: FastifyInstance): void {
  const cookies = new TokenCookies(app.auth.settings)
  view(app, '/token/blacklist/', {
    ...common(app),
    name: 'Token Blacklist',
    description: 'Makes a refresh token unusable from now on.',
    methods: {
      POST: {
        summary: 'Make a refresh token unusable: a logout',
        body: Type.Object({ refresh: CharField({ writeOnly: true }) }),
        response: { 200: Type.Object({}), ...refusals },
        // Who has no cookie is signed out, too.
        bodyOf: (request) => bodyOf(cookies, request, '-'),
        handler: async (request, reply) => {
          const ended = app.auth.tokens.blacklist(request.body.refresh)
          if (!cookies.isAsked(request)) return ended.then(() => ({}))
          // Whatever has become of it: the page is signed out.
          cookies.clear(request, reply)
          await ended.catch((error) => {
            if (!(error instanceof AuthenticationFailed)) throw error
          })
          return {}
        }
      }
    }
  })
}

function obtainSlidingView(app: FastifyInstance, throttle: Throttle): void {
  view(app, '/token/sliding/', {
    ...common(app),
    name: 'Token Obtain Sliding',
    description: 'A name and a password become one token, which is shown and renewed.',
    before: [throttle],
    methods: {
      POST: {
        summary: 'Exchange a name and a password for a sliding token',
        body: credentials(app),
        response: { 200: Type.Object({ token: Token('Lives for five minutes by default') }), ...loginRefusals },
        handler: (request) => app.auth.tokens.obtainSliding(credentialsOf(app.auth, request.body), request)
      }
    }
  })
}

function refreshSlidingView(app: FastifyInstance): void {
  view(app, '/token/sliding/refresh/', {
    ...common(app),
    name: 'Token Refresh Sliding',
    description: 'A sliding token that is still good is good for a while longer.',
    methods: {
      POST: {
        summary: 'Renew a sliding token before it expires',
        body: Type.Object({ token: CharField({}) }),
        response: { 200: Type.Object({ token: Token('With a later end') }), ...refusals },
        handler: (request) => app.auth.tokens.refreshSliding(request.body.token, request)
      }
    }
  })
}

/**
 * `GET /jwks.json`: the public keys, by which others verify tokens. Register it where they look for it:
 * `app.register(wellKnownRoutes, { prefix: '/.well-known' })`.
 */
export async function wellKnownRoutes(app: FastifyInstance): Promise<void> {
  const answer = Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.Unknown())) })
  const schema = {
    summary: 'See the public keys',
    description: 'By these, others verify tokens. Secrets are not among them.',
    ...{ tags: ['token'], response: { 200: answer } }
  }
  app.get('/jwks.json', { schema }, async (_request, reply) => {
    reply.header('cache-control', `public, max-age=${JWKS_MAX_AGE_MS / 1000}`).type('application/jwk-set+json')
    return { keys: app.auth.keys.published() }
  })
}

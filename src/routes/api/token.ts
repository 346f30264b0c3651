/** `/token/…`: SimpleJWT's six views. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { requestInfoOf } from '../../authentication/caller.ts'
import type { TokenCookies } from '../../authentication/token-cookies.ts'
import { CharField } from '../../drf/fields.ts'
import { errorResponses } from '../../drf/responses.ts'
import { view } from '../../drf/view.ts'
import { AuthenticationFailed, NotAuthenticated } from '../../errors.ts'

const Token = (description: string) => Type.String({ description })
const ERRORS = errorResponses(400, 401)
const LOGIN_ERRORS = errorResponses(400, 401, 429, 503)

export function tokenRoutes(app: FastifyInstance): void {
  obtainView(app)
  refreshView(app)
  verifyView(app)
  blacklistView(app)
  obtainSlidingView(app)
  refreshSlidingView(app)
}

const common = ({ auth }: FastifyInstance) => ({
  tags: ['token'],
  challenge: auth.authenticators.jwt.challenge
})

/** The field of the name is called after `loginField`, as in Django. */
const credentials = ({ auth }: FastifyInstance) => {
  const password = CharField({ trim: auth.settings.passwordTrim, writeOnly: true })
  return Type.Object({ [auth.settings.loginField as 'username']: CharField({}), password })
}

const credentialsOf = ({ settings }: Auth, body: { username: string; password: string }) => {
  const given = body as unknown as Record<string, string>
  return { username: given[settings.loginField] as string, password: body.password }
}

type Auth = FastifyInstance['auth']

export function obtainView(app: FastifyInstance, url: `/${string}/` = '/token/'): void {
  const { tokenCookies: cookies } = app.auth
  view(app, url, {
    ...common(app),
    name: 'Token Obtain Pair',
    description: 'Takes a username and a password and returns an access and a refresh token.',
    countFailures: app.auth.loginThrottle,
    methods: {
      POST: {
        summary: 'Obtain an access and a refresh token',
        body: credentials(app),
        response: {
          200: Type.Object({
            refresh: Type.Optional(Token('Valid for one day by default; in cookie mode it is set as a cookie instead')),
            // Always present. Declared optional because the serializer writes required properties first, and the original's
            // order has `refresh` first.
            access: Type.Optional(Token('Valid for five minutes by default'))
          }),
          ...LOGIN_ERRORS
        },
        handler: async (request, reply) => {
          const isInCookies = cookies.isRequested(request)
          if (isInCookies) cookies.check(request)
          const pair = await app.auth.tokens.obtainPair(credentialsOf(app.auth, request.body), requestInfoOf(request))
          return isInCookies ? cookies.setTokens(request, reply, pair) : pair
        }
      }
    }
  })
}

export function refreshView(app: FastifyInstance, url: `/${string}/` = '/token/refresh/'): void {
  const { tokenCookies: cookies } = app.auth
  view(app, url, {
    ...common(app),
    name: 'Token Refresh',
    description: 'Takes a valid refresh token and returns a new access token.',
    methods: {
      POST: {
        summary: 'Exchange a refresh token for an access token and, with rotation, a new refresh token',
        body: Type.Object({ refresh: CharField({}), access: CharField({ readOnly: true }) }),
        response: {
          200: Type.Object({
            access: Token('The new access token'),
            refresh: Type.Optional(Token('Replaces the token in the request'))
          }),
          ...ERRORS
        },
        getBody: (request) => getBody(cookies, request),
        handler: async (request, reply) => {
          if (!cookies.isRequested(request))
            return app.auth.tokens.refresh(request.body.refresh, requestInfoOf(request))
          try {
            return cookies.setTokens(
              request,
              reply,
              await app.auth.tokens.refresh(request.body.refresh, requestInfoOf(request))
            )
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
 * In cookie mode the refresh token is in a cookie, unless the body has one: a page may be switching to cookies.
 *
 * @throws {NotAuthenticated} if neither has one
 */
function getBody(cookies: TokenCookies, request: FastifyRequest, otherwise?: string): unknown {
  const { body } = request
  if (!cookies.isRequested(request)) return body
  const cookie = cookies.refreshOf(request)
  const isGiven = body instanceof Map ? body.has('refresh') : Object.hasOwn(Object(body), 'refresh')
  if (isGiven) return body
  const refresh = cookie ?? otherwise
  if (refresh === undefined) throw new NotAuthenticated()
  return { refresh }
}

export function verifyView(app: FastifyInstance, url: `/${string}/` = '/token/verify/'): void {
  view(app, url, {
    ...common(app),
    name: 'Token Verify',
    description: 'Checks whether a token of any type is valid.',
    methods: {
      POST: {
        summary: 'Check whether a token is valid',
        body: Type.Object({ token: CharField({ writeOnly: true }) }),
        response: { 200: Type.Object({}), ...ERRORS },
        handler: async ({ body }) => {
          await app.auth.verifier.verify(body.token)
          return {}
        }
      }
    }
  })
}

function blacklistView(app: FastifyInstance): void {
  const { tokenCookies: cookies } = app.auth
  view(app, '/token/blacklist/', {
    ...common(app),
    name: 'Token Blacklist',
    description: 'Blacklists a refresh token.',
    methods: {
      POST: {
        summary: 'Blacklist a refresh token: log out',
        body: Type.Object({ refresh: CharField({ writeOnly: true }) }),
        response: { 200: Type.Object({}), ...ERRORS },
        // A page without the cookie is already logged out, which is not an error.
        getBody: (request) => getBody(cookies, request, '-'),
        handler: async (request, reply) => {
          const ended = app.auth.tokens.blacklist(request.body.refresh)
          if (!cookies.isRequested(request)) return ended.then(() => ({}))
          // The cookies are cleared whether or not the token was still valid.
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

function obtainSlidingView(app: FastifyInstance): void {
  view(app, '/token/sliding/', {
    ...common(app),
    name: 'Token Obtain Sliding',
    description: 'Takes a username and a password and returns a sliding token.',
    countFailures: app.auth.loginThrottle,
    methods: {
      POST: {
        summary: 'Obtain a sliding token',
        body: credentials(app),
        response: { 200: Type.Object({ token: Token('Valid for five minutes by default') }), ...LOGIN_ERRORS },
        handler: (request) =>
          app.auth.tokens.obtainSliding(credentialsOf(app.auth, request.body), requestInfoOf(request))
      }
    }
  })
}

function refreshSlidingView(app: FastifyInstance): void {
  view(app, '/token/sliding/refresh/', {
    ...common(app),
    name: 'Token Refresh Sliding',
    description: 'Takes a valid sliding token and returns it with a later expiry.',
    methods: {
      POST: {
        summary: 'Refresh a sliding token',
        body: Type.Object({ token: CharField({}) }),
        response: { 200: Type.Object({ token: Token('The same token with a later expiry') }), ...ERRORS },
        handler: (request) => app.auth.tokens.refreshSliding(request.body.token, requestInfoOf(request))
      }
    }
  })
}

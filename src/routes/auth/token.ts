/** `/token/login/` and `/token/logout/`: djoser's login and logout with DRF's keys. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { requestInfoOf } from '../../authentication/caller.ts'
import { JWT_SECURITY } from '../../authentication/jwt.ts'
import { CharField } from '../../drf/fields.ts'
import { errorResponses, NoContent } from '../../drf/responses.ts'
import { view } from '../../drf/view.ts'
import { ValidationError } from '../../errors.ts'
import { authenticatedUser } from '../../guards/auth-core.ts'
import { isAuthenticated } from '../../guards/guards.ts'
import { UNABLE_TO_LOG_IN } from '../api/api-token-auth.ts'

export function tokenLoginRoutes(app: FastifyInstance): void {
  loginView(app)
  logoutView(app)
}

function loginView(app: FastifyInstance): void {
  const { users, authTokens, settings, loginThrottle } = app.auth
  view(app, '/token/login/', {
    tags: ['account'],
    name: 'Token Create',
    description: "Takes a username and a password and returns the user's key, which does not expire.",
    countFailures: loginThrottle,
    methods: {
      POST: {
        summary: 'Obtain a key that does not expire',
        body: Type.Object({
          password: CharField({ required: false, writeOnly: true, trim: settings.passwordTrim }),
          [settings.loginField as 'username']: CharField({ required: false })
        }),
        response: { 200: Type.Object({ auth_token: Type.String() }), ...errorResponses(400, 429, 503) },
        handler: async (request) => {
          const { body } = request
          const { [settings.loginField]: username, password } = body as { [field: string]: string }
          const isGiven = username !== undefined && password !== undefined
          const user = isGiven ? await users.authenticate(username, password, requestInfoOf(request)) : null
          if (!user?.isActive) throw new ValidationError({ non_field_errors: [UNABLE_TO_LOG_IN] })
          const key = await authTokens.issue(user)
          if (key === null) throw new ValidationError({ non_field_errors: [UNABLE_TO_LOG_IN] })
          await users.updateLastLogin(user.id)
          return { auth_token: key }
        }
      }
    }
  })
}

function logoutView(app: FastifyInstance): void {
  const { users, authTokens, authenticators } = app.auth
  view(app, '/token/logout/', {
    tags: ['account'],
    name: 'Token Destroy',
    description: "Deletes the caller's key.",
    challenge: authenticators.jwt.challenge,
    before: [isAuthenticated],
    methods: {
      POST: {
        summary: 'Delete your key',
        security: JWT_SECURITY,
        response: { 204: NoContent, ...errorResponses(401) },
        handler: async (request, reply) => {
          const user = authenticatedUser(request)
          const row = user && (await users.get('idField' in user ? user.idField : 'id', user.id))
          if (row) await authTokens.delete(row.id)
          return reply.code(204).send()
        }
      }
    }
  })
}

/** `/api-token-auth/`: DRF's obtain_auth_token. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { requestInfoOf } from '../../authentication/caller.ts'
import { CharField } from '../../drf/fields.ts'
import { errorResponses } from '../../drf/responses.ts'
import { view } from '../../drf/view.ts'
import { ValidationError } from '../../errors.ts'

export const UNABLE_TO_LOG_IN = 'Unable to log in with provided credentials.'

export function apiTokenAuthRoute(app: FastifyInstance): void {
  const { users, authTokens, loginThrottle } = app.auth
  view(app, '/api-token-auth/', {
    name: 'Obtain Auth Token',
    description: "Takes a username and a password and returns the user's key, which does not expire.",
    tags: ['token'],
    vary: false,
    countFailures: loginThrottle,
    methods: {
      POST: {
        summary: 'Obtain a key that does not expire',
        body: Type.Object({
          username: CharField({ writeOnly: true }),
          password: CharField({ trim: false, writeOnly: true }),
          token: CharField({ readOnly: true })
        }),
        response: { 200: Type.Object({ token: Type.String() }), ...errorResponses(400, 429, 503) },
        handler: async (request) => {
          const { body } = request
          const user = await users.authenticate(body.username, body.password, requestInfoOf(request))
          const token = user && (await authTokens.issue(user))
          if (token === null) throw new ValidationError({ non_field_errors: [UNABLE_TO_LOG_IN] })
          return { token }
        }
      }
    }
  })
}

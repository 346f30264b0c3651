/** DRF's obtain_auth_token. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { ValidationError } from '../errors.ts'
import { CharField } from '../http/fields.ts'
import type { Throttle } from '../http/throttle.ts'
import { view } from '../http/view.ts'

const Refusal = Type.Record(Type.String(), Type.Array(Type.String()))
const Detail = Type.Object({ detail: Type.String() })

/** @param throttle of logins */
export function authTokenRoute(app: FastifyInstance, throttle: Throttle): void {
  const { users, authTokens } = app.auth
  view(app, '/api-token-auth/', {
    name: 'Obtain Auth Token',
    description: 'A name and a password become a key that never expires; the same one each time.',
    tags: ['token'],
    vary: false,
    before: [throttle],
    methods: {
      POST: {
        summary: 'Exchange a name and a password for a key',
        body: Type.Object({
          username: CharField({ writeOnly: true }),
          password: CharField({ trim: false, writeOnly: true }),
          token: CharField({ readOnly: true })
        }),
        response: { 200: Type.Object({ token: Type.String() }), 400: Refusal, 429: Detail, 503: Detail },
        handler: async ({ body }) => {
          const user = await users.authenticate(body.username, body.password)
          if (user === null) {
            throw new ValidationError({ non_field_errors: ['Unable to log in with provided credentials.'] })
          }
          return { token: await authTokens.obtain(user.id) }
        }
      }
    }
  })
}

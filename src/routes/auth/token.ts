/** DRF's obtain_auth_token. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { CharField } from '../../drf/fields.ts'
import type { Throttle } from '../../drf/throttle.ts'
import { view } from '../../drf/view.ts'
import { ValidationError } from '../../errors.ts'
import { isAuthenticated } from '../../guards/guards.ts'

const Refusal = Type.Record(Type.String(), Type.Array(Type.String()))
const UNABLE = 'Unable to log in with provided credentials.'
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
            throw new ValidationError({ non_field_errors: [UNABLE] })
          }
          return { token: await authTokens.obtain(user.id) }
        }
      }
    }
  })
}

/** djoser's login and logout by key. @param throttle of logins */
export function tokenLoginRoutes(app: FastifyInstance, throttle: Throttle): void {
  const { users, authTokens, settings } = app.auth
  const tags = ['account']
  view(app, '/token/login/', {
    ...{ tags, name: 'Token Create', description: 'A name and a password become a key that never expires.' },
    before: [throttle],
    methods: {
      POST: {
        summary: 'Exchange a name and a password for a key',
        body: Type.Object({
          password: CharField({ required: false, writeOnly: true }),
          [settings.loginField as 'username']: CharField({ required: false })
        }),
        response: { 200: Type.Object({ auth_token: Type.String() }), 400: Refusal, 429: Detail, 503: Detail },
        handler: async ({ body }) => {
          const { [settings.loginField]: username, password } = body as { [field: string]: string }
          const given = username !== undefined && password !== undefined
          const user = given ? await users.authenticate(username, password) : null
          if (!user?.isActive) throw new ValidationError({ non_field_errors: [UNABLE] })
          await users.updateLastLogin(user.id)
          return { auth_token: await authTokens.obtain(user.id) }
        }
      }
    }
  })
  view(app, '/token/logout/', {
    ...{ tags, name: 'Token Destroy', description: "The end of the caller's key." },
    challenge: `${settings.authHeaderTypes[0]} realm="api"`,
    before: [isAuthenticated],
    methods: {
      POST: {
        ...{ summary: 'Delete your key', security: [{ jwt: [] }], response: { 204: Type.Null(), 401: Detail } },
        handler: async ({ user }, reply) => {
          const row = user && (await users.get('idField' in user ? user.idField : 'id', user.id))
          if (row) await authTokens.delete(row.id)
          return reply.code(204).send()
        }
      }
    }
  })
}

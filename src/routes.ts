/** Every endpoint, in one encapsulated scope with its own parsers and error handler. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { authTokenRoute } from './authentication/routes.ts'
import { createThrottle } from './http/throttle.ts'
import { drfScope, view } from './http/view.ts'
import { isAuthenticated } from './permissions/guards.ts'
import { tokenRoutes } from './tokens/routes.ts'

/**
 * The endpoints below `/token/`, `/api-token-auth/`, and `/protected/`, which shows a guard at work.
 *
 * Register it after the plugin, with the prefix where Django projects have them:
 * `app.register(authRoutes, { prefix: '/api' })`.
 */
export async function authRoutes(app: FastifyInstance): Promise<void> {
  drfScope(app)
  const throttle = await createThrottle(app.auth.settings.loginRate)
  tokenRoutes(app, throttle)
  authTokenRoute(app, throttle)
  view(app, '/protected/', {
    name: 'Protected',
    description: 'A view for those who are signed in.',
    tags: ['example'],
    before: [isAuthenticated],
    methods: {
      GET: {
        summary: 'See whether you are signed in',
        security: [{ jwt: [] }],
        response: { 200: Type.Object({ message: Type.String() }), 401: Type.Object({ detail: Type.String() }) },
        handler: async () => ({ message: 'This is a protected view.' })
      }
    }
  })
}

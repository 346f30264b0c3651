/** The plugins that add the endpoints, each in an encapsulated scope with its own parsers and error handler. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { JWT_SECURITY } from '../authentication/jwt.ts'
import { paginateByNumber } from '../drf/pagination.ts'
import { errorResponses } from '../drf/responses.ts'
import { drfScope, view } from '../drf/view.ts'
import { and, isAdminUser, isAuthenticated } from '../guards/guards.ts'
import { modelPermissions, type PermissionMap } from '../guards/model-permissions.ts'
import { apiTokenAuthRoute } from './api/api-token-auth.ts'
import { groupUserRoutes } from './api/group-users.ts'
import { groupRoutes } from './api/groups.ts'
import { permissionRoutes } from './api/permissions.ts'
import { browserSessionRoutes } from './api/session.ts'
import { sessionRoutes } from './api/sessions.ts'
import { tokenRoutes } from './api/token.ts'
import { type Paginate, userRoutes } from './api/users.ts'
import { assertPlugin } from './assert-plugin.ts'
import { emailRoutes } from './auth/emails.ts'
import { jwtRoutes } from './auth/jwt.ts'
import { tokenLoginRoutes } from './auth/token.ts'
import { accountUserRoutes } from './auth/users.ts'

/**
 * The API: `/token/`, `/api-token-auth/`, `/sessions/`, `/session/` for browsers; `/users/`, `/groups/` and `/permissions/`
 * for staff; and `/protected/`, which demonstrates a guard.
 *
 * Register it after the plugin, with the prefix where Django projects have it:
 * `app.register(authRoutes, { prefix: '/api' })`.
 */
export async function authRoutes(app: FastifyInstance): Promise<void> {
  assertPlugin(app, 'authRoutes')
  drfScope(app)
  tokenRoutes(app)
  apiTokenAuthRoute(app)
  if (app.auth.refreshStore.hasLoginSessions) sessionRoutes(app)
  browserSessionRoutes(app)
  staffRoutes(app)
  protectedRoute(app)
}

/**
 * djoser's endpoints: `/users/`, `/jwt/` and `/token/`. Anyone can create an account, unless `accountsRegistration` is off.
 *
 * Register it after the plugin, with another prefix than `authRoutes`, whose `/users/` is for staff:
 * `app.register(accountRoutes, { prefix: '/auth' })`.
 */
export async function accountRoutes(app: FastifyInstance): Promise<void> {
  assertPlugin(app, 'accountRoutes')
  drfScope(app)
  accountUserRoutes(app)
  emailRoutes(app)
  jwtRoutes(app)
  tokenLoginRoutes(app)
}

const VIEW_GROUP = 'auth.view_group'

function staffRoutes(app: FastifyInstance): void {
  const paginate: Paginate = (request, rows) => paginateByNumber(request, rows, { size: 50, max: 500 })
  const forStaff = (model: 'auth.user' | 'auth.group' | 'auth.permission', map: PermissionMap) => ({
    before: [and(isAdminUser, modelPermissions(model, { map }))],
    paginate
  })
  userRoutes(app, forStaff('auth.user', { GET: ['view'] }))
  groupRoutes(app, '/groups/', { ...forStaff('auth.group', { GET: ['view'] }), withPermissions: true })
  // Membership changes the user as well as the group.
  const membership = { GET: ['view', VIEW_GROUP], POST: ['change', VIEW_GROUP], DELETE: ['change', VIEW_GROUP] }
  groupUserRoutes(app, forStaff('auth.user', membership))
  permissionRoutes(app, forStaff('auth.permission', { GET: ['view'] }))
}

function protectedRoute(app: FastifyInstance): void {
  view(app, '/protected/', {
    name: 'Protected',
    description: 'An example of a view that requires authentication.',
    tags: ['example'],
    before: [isAuthenticated],
    methods: {
      GET: {
        summary: 'Check that you are authenticated',
        security: JWT_SECURITY,
        response: { 200: Type.Object({ message: Type.String() }), ...errorResponses(401) },
        handler: async () => ({ message: 'This is a protected view.' })
      }
    }
  })
}

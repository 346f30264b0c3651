/** The routes of the recorded project that are not part of Latchkey. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { paginateByNumber, paginateByOffset } from '../../src/drf/pagination.ts'
import { drfScope } from '../../src/drf/view.ts'
import {
  accountRoutes,
  allowAny,
  and,
  anonRateThrottle,
  authenticateWith,
  authRoutes,
  errorHandler,
  type Guard,
  guard,
  isAdminUser,
  isAuthenticated,
  isAuthenticatedOrReadOnly,
  type LatchkeyOptions,
  modelPermissions,
  not,
  objectPermissions,
  or,
  type Scheme,
  userRateThrottle
} from '../../src/index.ts'
import { groupRoutes } from '../../src/routes/api/groups.ts'

const GUARDED: Record<string, Guard> = {
  any: allowAny,
  auth: isAuthenticated,
  admin: isAdminUser,
  ro: isAuthenticatedOrReadOnly,
  'admin-or-ro': or(isAdminUser, isAuthenticatedOrReadOnly),
  'auth-and-not-admin': and(isAuthenticated, not(isAdminUser)),
  deny: guard(() => false, { message: 'Custom denied.' })
}

/** The authentication schemes of routes with `isAuthenticated`, in the order in which they are tried. */
const SCHEMES: Record<string, Scheme[]> = {
  'no-authenticators': [],
  basic: ['basic'],
  token: ['token'],
  session: ['session'],
  'session-jwt': ['session', 'jwt'],
  'jwt-session': ['jwt', 'session']
}

/** Paths that are sent to another app on the same database with other settings. */
export const ELSEWHERE: Record<string, { settings: LatchkeyOptions; path: string }> = {
  '/probe/stateless/': { settings: { stateless: true }, path: '/probe/auth/' },
  '/api/throttled-token/': { settings: {}, path: '/throttled/token/' }
}

/** Adds guarded routes under `/probe/` that return the user for GET and POST. */
export async function addProbes(app: FastifyInstance): Promise<void> {
  await addGroups(app)
  await app.register(accountRoutes, { prefix: '/auth' })
  // The recorded view has a throttle class, which counts every request; LOGIN_RATE counts failed logins only.
  await app.register(async (scope) => {
    scope.addHook('onRequest', anonRateThrottle('2/minute'))
    await scope.register(authRoutes, { prefix: '/throttled' })
  })
  await app.register(async (scope) => {
    scope.setErrorHandler(errorHandler)
    const throttled = {
      'throttle-user': [isAuthenticated, userRateThrottle('2/minute')],
      'throttle-anon': [allowAny, anonRateThrottle('2/minute')]
    }
    for (const [name, preHandler] of Object.entries({ ...GUARDED, ...guardedBySchemes(), ...throttled })) {
      scope.route({ method: ['GET', 'POST'], url: `/probe/${name}/`, preHandler, handler: whoAmI })
    }
  })
}

/** Adds routes of groups under `/r/` with different permissions and pagination. */
async function addGroups(app: FastifyInstance): Promise<void> {
  await app.register(async (scope) => {
    drfScope(scope)
    const group = 'auth.group'
    const size = { size: 2, max: 3 }
    groupRoutes(scope, '/r/groups/', { before: [modelPermissions(group)] })
    groupRoutes(scope, '/r/groups-anon/', { before: [modelPermissions(group, { anonymousReads: true })] })
    groupRoutes(scope, '/r/groups-obj/', { before: [objectPermissions(group, { hasPerm: () => false })] })
    groupRoutes(scope, '/r/groups-view/', { before: [modelPermissions(group, { map: { GET: ['view'] } })] })
    groupRoutes(scope, '/r/groups-page/', {
      before: [],
      paginate: (request, rows) => paginateByNumber(request, rows, size)
    })
    groupRoutes(scope, '/r/groups-limit/', {
      before: [],
      paginate: (request, rows) => paginateByOffset(request, rows, size)
    })
  })
}

function guardedBySchemes(): Record<string, Guard> {
  const probes = Object.entries(SCHEMES)
  return Object.fromEntries(probes.map(([name, schemes]) => [name, authenticateWith(schemes, isAuthenticated)]))
}

async function whoAmI({ user }: FastifyRequest) {
  return { id: user?.id ?? null, username: user?.username ?? '', is_authenticated: user !== null }
}

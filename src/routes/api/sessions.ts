/** `/sessions/`, `/token/logout/`, and `/users/:id/sessions/` for staff: lists, labels and ends login sessions. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { callerOf, keptCredentialsOf, sidOf } from '../../authentication/caller.ts'
import { JWT_SECURITY } from '../../authentication/jwt.ts'
import { updateSessionAuthHash } from '../../authentication/session.ts'
import { formatDateTime } from '../../drf/date-time.ts'
import { CharField } from '../../drf/fields.ts'
import { queryOf } from '../../drf/pagination.ts'
import { errorResponses, NoContent } from '../../drf/responses.ts'
import { view } from '../../drf/view.ts'
import { NotFound, ValidationError } from '../../errors.ts'
import { type AUTHENTICATION, authenticatedUser } from '../../guards/auth-core.ts'
import { and, isAdminUser, isAuthenticated } from '../../guards/guards.ts'
import { modelPermissions } from '../../guards/model-permissions.ts'
import type { SessionSummary } from '../../sessions/sessions.ts'
import { primaryKeyOf } from '../../users/user.ts'

const SessionSchema = Type.Object({
  id: Type.String(),
  label: Type.String(),
  user_agent: Type.String(),
  address: Type.String(),
  last_user_agent: Type.String(),
  last_address: Type.String(),
  created_at: Type.String({ format: 'date-time' }),
  last_refresh: Type.String({ format: 'date-time' }),
  expires_at: Type.String({ format: 'date-time' }),
  is_current: Type.Boolean()
})
const ERRORS = errorResponses(400, 401, 403, 404)
const ENDED = { security: JWT_SECURITY, response: { 204: NoContent, ...ERRORS } }
const SESSION_LIST = { security: JWT_SECURITY, response: { 200: Type.Array(SessionSchema), ...ERRORS } }
const ONE_SESSION = { security: JWT_SECURITY, response: { 200: SessionSchema, ...ERRORS } }

export function sessionRoutes(app: FastifyInstance): void {
  const common = { tags: ['sessions'], challenge: app.auth.authenticators.jwt.challenge }
  listView(app, common)
  instanceView(app, common)
  logoutView(app, common)
  staffViews(app, common)
}

interface Common {
  tags: string[]
  challenge: string
}

function listView(app: FastifyInstance, common: Common): void {
  const { sessions } = app.auth
  view(app, '/sessions/', {
    ...common,
    name: 'Session List',
    description: "The caller's login sessions, the one used last first.",
    before: [isAuthenticated],
    methods: {
      GET: {
        ...SESSION_LIST,
        summary: 'List your login sessions',
        handler: async (request) => toJsonList(request, await sessions.list((await callerOf(request)).id))
      },
      DELETE: {
        ...ENDED,
        summary: 'End everything: all login sessions, browser sessions and keys, or with ?others=true all others',
        handler: async (request, reply) => {
          const isOthers = queryOf(request).get('others') === 'true'
          const { id } = await callerOf(request)
          await sessions.endAll(id, 'logout', isOthers ? keptCredentialsOf(request) : {})
          const user = isOthers ? await app.auth.users.get('id', id) : null
          if (user !== null) await updateSessionAuthHash(request, reply, user)
          return reply.code(204).send()
        }
      }
    }
  })
}

function instanceView(app: FastifyInstance, common: Common): void {
  const { sessions } = app.auth
  view(app, '/sessions/:id/', {
    ...common,
    name: 'Session Instance',
    description: "One of the caller's login sessions.",
    before: [isAuthenticated],
    methods: {
      GET: {
        ...ONE_SESSION,
        summary: 'Read a login session',
        handler: async (request) => toJson(request, (await getOwnSessionOr404(request)).session)
      },
      PATCH: {
        ...ONE_SESSION,
        summary: 'Label a login session',
        body: Type.Object({ label: CharField({ required: false, allowBlank: true, maxLength: 100 }) }),
        handler: async (request) => {
          const { userId, session } = await getOwnSessionOr404(request)
          const { label } = request.body
          if (label !== undefined) await sessions.rename(userId, session.id, label)
          return toJson(request, { ...session, label: label ?? session.label })
        }
      },
      DELETE: {
        ...ENDED,
        summary: 'End a login session',
        handler: async (request, reply) => {
          const { userId, session } = await getOwnSessionOr404(request)
          await sessions.end(session.id, 'logout', { id: userId })
          return reply.code(204).send()
        }
      }
    }
  })
}

function logoutView(app: FastifyInstance, common: Common): void {
  const { sessions, tokenCookies } = app.auth
  // Before authentication: a page whose tokens are invalid gets rid of its cookies, too.
  const clearCookies = async (request: FastifyRequest, reply: FastifyReply) => {
    if (request.method === 'POST' && tokenCookies.isRequested(request)) tokenCookies.clear(request, reply)
  }
  view(app, '/token/logout/', {
    ...common,
    tags: ['token'],
    name: 'Token Logout',
    description: 'Ends the login session of the access token.',
    before: [clearCookies, isAuthenticated],
    methods: {
      POST: {
        ...ENDED,
        summary: 'End the current login session',
        handler: async (request, reply) => {
          const sid = sidOf(request)
          if (sid === null) {
            throw new ValidationError({ non_field_errors: ['The credentials do not belong to a login session.'] })
          }
          await sessions.end(sid, 'logout')
          return reply.code(204).send()
        }
      }
    }
  })
}

function staffViews(app: FastifyInstance, common: Common): void {
  const { sessions } = app.auth
  const before = [and(isAdminUser, modelPermissions('auth.user', { map: { GET: ['view'], DELETE: ['change'] } }))]
  view(app, '/users/:id/sessions/', {
    ...common,
    before,
    name: 'User Session List',
    description: 'The login sessions of a user, for staff.',
    methods: {
      GET: {
        ...SESSION_LIST,
        summary: "List a user's login sessions",
        handler: async (request) => toJsonList(request, await sessions.list(await getUserIdOr404(request)))
      },
      DELETE: {
        ...ENDED,
        summary: "End a user's login sessions",
        handler: async (request, reply) => {
          await sessions.endAll(await getUserIdOr404(request), 'staff')
          return reply.code(204).send()
        }
      }
    }
  })
  view(app, '/users/:id/sessions/:sid/', {
    ...common,
    before,
    name: 'User Session Instance',
    description: 'One login session of a user, for staff.',
    methods: {
      DELETE: {
        ...ENDED,
        summary: "End one of a user's login sessions",
        handler: async (request, reply) => {
          const session = await sessions.get(await getUserIdOr404(request), request.params.sid ?? '')
          if (session === null || !(await sessions.end(session.id, 'staff'))) throw new NotFound()
          return reply.code(204).send()
        }
      }
    }
  })
}

type SessionRequest = Pick<FastifyRequest, 'params' | 'server' | typeof AUTHENTICATION>

/** @throws {NotFound} also for another user's session */
async function getOwnSessionOr404(request: SessionRequest): Promise<{ userId: number; session: SessionSummary }> {
  const { id: userId } = await callerOf(request)
  const session = await request.server.auth.sessions.get(userId, (request.params as { id?: string }).id ?? '')
  if (session === null) throw new NotFound()
  return { userId, session }
}

/** @throws {NotFound} @throws {PermissionDenied} for a user who outranks the caller */
async function getUserIdOr404(request: SessionRequest): Promise<number> {
  const { users, admin } = request.server.auth
  const id = primaryKeyOf((request.params as { id?: string }).id)
  const user = id === null ? null : await users.getWithKeys(id)
  if (user === null) throw new NotFound()
  await admin.assertOutranks(authenticatedUser(request), user)
  return user.id
}

const toJsonList = (request: SessionRequest, sessions: SessionSummary[]) =>
  sessions.map((session) => toJson(request, session))

const toJson = (request: SessionRequest, session: SessionSummary) => ({
  id: session.id,
  label: session.label,
  user_agent: session.userAgent,
  address: session.address,
  last_user_agent: session.lastUserAgent,
  last_address: session.lastAddress,
  created_at: formatDateTime(session.createdAt),
  last_refresh: formatDateTime(session.refreshedAt),
  expires_at: formatDateTime(session.expiresAt),
  is_current: session.id === sidOf(request)
})

/** A user's logins, for the user and for staff: see them, name them, end them. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { callerOf, sidOf } from '../../authentication/caller.ts'
import { TokenCookies } from '../../authentication/token-cookies.ts'
import { CharField } from '../../drf/fields.ts'
import { queryOf } from '../../drf/pagination.ts'
import { view } from '../../drf/view.ts'
import { NotFound, ValidationError } from '../../errors.ts'
import { and, isAdminUser, isAuthenticated } from '../../guards/guards.ts'
import { modelPermissions } from '../../guards/model-permissions.ts'
import type { SessionSummary } from '../../sessions/sessions.ts'
import { primaryKeyOf } from '../../users/user.ts'

const Detail = Type.Object({ detail: Type.String() })
const Refusals = { 400: Type.Record(Type.String(), Type.Array(Type.String())), 401: Detail, 403: Detail, 404: Detail }
const Shape = Type.Object({
  id: Type.String(),
  label: Type.String(),
  user_agent: Type.String(),
  address: Type.String(),
  created_at: Type.String({ format: 'date-time' }),
  last_refresh: Type.String({ format: 'date-time' }),
  expires_at: Type.String({ format: 'date-time' }),
  is_current: Type.Boolean()
})
const SIGNED_IN = { security: [{ jwt: [] }] }
const Gone = { ...SIGNED_IN, response: { 204: Type.Null(), ...Refusals } }
const Many = { ...SIGNED_IN, response: { 200: Type.Array(Shape), ...Refusals } }
const One = { ...SIGNED_IN, response: { 200: Shape, ...Refusals } }

const common = ({ auth }: FastifyInstance) => ({
  tags: ['sessions'],
  challenge: `${auth.settings.authHeaderTypes[0]} realm="api"`
})

/** `/sessions/`, `/token/logout/`, and for staff `/users/1/sessions/`. */
export function loginSessionRoutes(app: FastifyInstance): void {
  listView(app)
  oneView(app)
  logoutView(app)
  staffViews(app)
}

function listView(app: FastifyInstance): void {
  const { sessions } = app.auth
  view(app, '/sessions/', {
    ...{ ...common(app), name: 'Session List', description: 'Your logins, the one used last first.' },
    before: [isAuthenticated],
    methods: {
      GET: {
        ...{ summary: 'List your logins', ...Many },
        handler: async (request) => shownTo(request, await sessions.list((await callerOf(request)).id))
      },
      DELETE: {
        ...{ summary: 'End all your logins, or with ?others=true all but this one', ...Gone },
        handler: async (request, reply) => {
          const isForOthers = queryOf(request).get('others') === 'true'
          const except = isForOthers ? sidOf(request) : null
          await sessions.endAll((await callerOf(request)).id, 'logout', except)
          return reply.code(204).send()
        }
      }
    }
  })
}

function oneView(app: FastifyInstance): void {
  const { sessions } = app.auth
  view(app, '/sessions/:id/', {
    ...{ ...common(app), name: 'Session Instance', description: 'One of your logins.' },
    before: [isAuthenticated],
    methods: {
      GET: {
        summary: 'Read a login',
        ...One,
        handler: async (request) => shown(request, (await ownOf(request)).session)
      },
      PATCH: {
        ...{ summary: 'Name a login', ...One },
        body: Type.Object({ label: CharField({ required: false, allowBlank: true, maxLength: 100 }) }),
        handler: async (request) => {
          const { userId, session } = await ownOf(request)
          const { label } = request.body
          if (label !== undefined) await sessions.rename(userId, session.id, label)
          return shown(request, { ...session, label: label ?? session.label })
        }
      },
      DELETE: {
        ...{ summary: 'End a login', ...Gone },
        handler: async (request, reply) => {
          const { userId, session } = await ownOf(request)
          await sessions.end(session.id, 'logout', userId)
          return reply.code(204).send()
        }
      }
    }
  })
}

function logoutView(app: FastifyInstance): void {
  const cookies = new TokenCookies(app.auth.settings)
  // Also of who is not signed in any more.
  const dropCookies = async (request: FastifyRequest, reply: FastifyReply) => {
    if (request.method === 'POST' && cookies.isAsked(request)) cookies.clear(request, reply)
  }
  view(app, '/token/logout/', {
    ...{ ...common(app), tags: ['token'], name: 'Token Logout', description: 'The end of the login that you call by.' },
    before: [dropCookies, isAuthenticated],
    methods: {
      POST: {
        ...{ summary: 'End your own login', ...Gone },
        handler: async (request, reply) => {
          const sid = sidOf(request)
          if (sid === null)
            throw new ValidationError({ non_field_errors: ['You do not call by a login that could end.'] })
          await app.auth.sessions.end(sid, 'logout')
          return reply.code(204).send()
        }
      }
    }
  })
}

function staffViews(app: FastifyInstance): void {
  const { sessions } = app.auth
  const before = [and(isAdminUser, modelPermissions('auth.user', { map: { GET: ['view'], DELETE: ['change'] } }))]
  view(app, '/users/:id/sessions/', {
    ...{ ...common(app), before, name: 'User Session List', description: "A user's logins, for staff." },
    methods: {
      GET: {
        ...{ summary: "List a user's logins", ...Many },
        handler: async (request) => shownTo(request, await sessions.list(await userNamed(request)))
      },
      DELETE: {
        ...{ summary: "End a user's logins", ...Gone },
        handler: async (request, reply) => {
          await sessions.endAll(await userNamed(request), 'staff')
          return reply.code(204).send()
        }
      }
    }
  })
  view(app, '/users/:id/sessions/:sid/', {
    ...{ ...common(app), before, name: 'User Session Instance', description: "One of a user's logins, for staff." },
    methods: {
      DELETE: {
        ...{ summary: "End one of a user's logins", ...Gone },
        handler: async (request, reply) => {
          const session = await sessions.get(await userNamed(request), request.params.sid ?? '')
          if (session === null || !(await sessions.end(session.id, 'staff'))) throw new NotFound()
          return reply.code(204).send()
        }
      }
    }
  })
}

type Asked = Pick<FastifyRequest, 'user' | 'server' | 'auth' | 'params'>

/** @throws {NotFound} for another's as for none */
async function ownOf(request: Asked): Promise<{ userId: number; session: SessionSummary }> {
  const { id: userId } = await callerOf(request)
  const session = await request.server.auth.sessions.get(userId, (request.params as { id?: string }).id ?? '')
  if (session === null) throw new NotFound()
  return { userId, session }
}

async function userNamed({ params, server }: Asked): Promise<number> {
  const user = await server.auth.users.get('id', primaryKeyOf((params as { id?: string }).id))
  if (user === null) throw new NotFound()
  return user.id
}

const shownTo = (request: Asked, sessions: SessionSummary[]) => sessions.map((session) => shown(request, session))

const shown = (request: Asked, session: SessionSummary) => ({
  ...{ id: session.id, label: session.label, user_agent: session.userAgent, address: session.address },
  ...{ created_at: timeOf(session.createdAt), last_refresh: timeOf(session.refreshedAt) },
  ...{ expires_at: timeOf(session.expiresAt), is_current: session.id === sidOf(request) }
})

/** As DRF writes it; these are whole seconds. */
const timeOf = (time: Date) => time.toISOString().replace('.000Z', 'Z')

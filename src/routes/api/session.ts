/** `/session/`: login, logout and the current user for browsers, with Django's session cookie (HttpOnly) and CSRF checks. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { requestInfoOf } from '../../authentication/caller.ts'
import { csrfProtect, csrfToken } from '../../authentication/csrf.ts'
import { login, logout } from '../../authentication/session.ts'
import { CharField } from '../../drf/fields.ts'
import { errorResponses, NoContent } from '../../drf/responses.ts'
import { varyBy } from '../../drf/vary.ts'
import { view } from '../../drf/view.ts'
import { ValidationError } from '../../errors.ts'
import type { User } from '../../users/user.ts'
import { UNABLE_TO_LOG_IN } from './api-token-auth.ts'

const SignedIn = Type.Object({
  user: Type.Union([
    Type.Object({ id: Type.Integer(), username: Type.String(), email: Type.String(), is_staff: Type.Boolean() }),
    Type.Null()
  ])
})
const ERRORS = errorResponses(403, 503)

export function browserSessionRoutes(app: FastifyInstance): void {
  const { users, settings, authenticators, loginThrottle } = app.auth
  const { loginField } = settings
  view(app, '/session/', {
    name: 'Session',
    description:
      'Browser login. Unsafe methods need the `csrftoken` cookie and the same token in the `X-CSRFToken` header.',
    tags: ['session'],
    before: [varyByCookie, checkSource],
    countFailures: loginThrottle,
    methods: {
      GET: {
        summary: 'Read the current user and get a CSRF token',
        response: { 200: SignedIn, ...errorResponses(503) },
        handler: async (request, reply) => {
          csrfToken(request, reply)
          const found = await authenticators.session.authenticate(request)
          return { user: found && toJson(found.user as User) }
        }
      },
      POST: {
        summary: 'Log in',
        body: Type.Object({
          [loginField as 'username']: CharField({}),
          password: CharField({ trim: false, writeOnly: true })
        }),
        response: { 200: SignedIn, ...errorResponses(400, 403, 429, 503) },
        handler: async (request, reply) => {
          const body = request.body as Record<string, string>
          const user = await users.authenticate(
            body[loginField] as string,
            body.password as string,
            requestInfoOf(request)
          )
          if (!user?.isActive) throw new ValidationError({ non_field_errors: [UNABLE_TO_LOG_IN] })
          await login(request, reply, user)
          return { user: toJson(user) }
        }
      },
      DELETE: {
        summary: 'Log out',
        response: { 204: NoContent, ...ERRORS },
        handler: async (request, reply) => {
          await logout(request, reply)
          return reply.code(204).send()
        }
      }
    }
  })
}

async function varyByCookie(_request: FastifyRequest, reply: FastifyReply): Promise<void> {
  varyBy(reply, 'Cookie')
}

/** Also for anonymous requests: prevents login CSRF, by which another site logs a browser in as its own user. */
async function checkSource(request: FastifyRequest): Promise<void> {
  if (request.method === 'POST' || request.method === 'DELETE') await csrfProtect(request)
}

const toJson = ({ id, username, email, isStaff }: User) => ({ id, username, email, is_staff: isStaff })

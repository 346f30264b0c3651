/** Sign-in for browsers: who is signed in, login and logout, by a cookie that no script can read. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import Type from 'typebox'
import { csrfProtect, csrfToken } from '../../authentication/csrf.ts'
import { login, logout } from '../../authentication/session.ts'
import { CharField } from '../../drf/fields.ts'
import type { Throttle } from '../../drf/throttle.ts'
import { varyBy } from '../../drf/vary.ts'
import { view } from '../../drf/view.ts'
import { ValidationError } from '../../errors.ts'
import type { User } from '../../users/user.ts'

const Detail = Type.Object({ detail: Type.String() })
const SignedIn = Type.Object({
  user: Type.Union([
    Type.Object({ id: Type.Integer(), username: Type.String(), email: Type.String(), is_staff: Type.Boolean() }),
    Type.Null()
  ])
})
const refusals = { 403: Detail, 503: Detail }

/** @param throttle of logins */
export function sessionRoutes(app: FastifyInstance, throttle: Throttle): void {
  const { users, settings, authenticators } = app.auth
  const { loginField } = settings
  view(app, '/session/', {
    name: 'Session',
    description:
      'Sign-in for browsers. What changes something needs the `csrftoken` cookie, and its text in `X-CSRFToken`.',
    tags: ['session'],
    before: [varyByCookie, checkSource, limited(throttle)],
    methods: {
      GET: {
        summary: 'See who is signed in, and get a CSRF token',
        response: { 200: SignedIn, 503: Detail },
        handler: async (request, reply) => {
          csrfToken(request, reply)
          const found = await authenticators.session.authenticate(request)
          return { user: found && shown(found.user as User) }
        }
      },
      POST: {
        summary: 'Sign in with a name and a password',
        body: Type.Object({
          [loginField as 'username']: CharField({}),
          password: CharField({ trim: false, writeOnly: true })
        }),
        response: {
          ...{ 200: SignedIn, 400: Type.Record(Type.String(), Type.Array(Type.String())), 429: Detail },
          ...refusals
        },
        handler: async (request, reply) => {
          const body = request.body as Record<string, string>
          const user = await users.authenticate(body[loginField] as string, body.password as string)
          if (!user?.isActive) throw new ValidationError({ non_field_errors: [UNABLE] })
          await login(request, reply, user)
          return { user: shown(user) }
        }
      },
      DELETE: {
        summary: 'Sign out',
        response: { 204: Type.Null(), ...refusals },
        handler: async (request, reply) => {
          await logout(request, reply)
          return reply.code(204).send()
        }
      }
    }
  })
}

const UNABLE = 'Unable to log in with provided credentials.'

async function varyByCookie(_request: FastifyRequest, reply: FastifyReply): Promise<void> {
  varyBy(reply, 'Cookie')
}

/** Also of who is not signed in yet: else another's page could sign a browser in as somebody else. */
async function checkSource(request: FastifyRequest): Promise<void> {
  if (request.method === 'POST' || request.method === 'DELETE') await csrfProtect(request)
}

const limited = (throttle: Throttle) => async (request: FastifyRequest) => {
  if (request.method === 'POST') await throttle(request)
}

const shown = ({ id, username, email, isStaff }: User) => ({ id, username, email, is_staff: isStaff })

/** `/users/…`: djoser's endpoints that send an email, and those that its links lead to. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { CharField } from '../../drf/fields.ts'
import type { Throttle } from '../../drf/throttle.ts'
import { view } from '../../drf/view.ts'
import { CHANGED, passwordField, retypeField, withRetype } from './users.ts'

const EmailAddress = Type.Object({ email: CharField({ maxLength: 320, format: 'email' }) })
const LINK = { uid: CharField({ maxLength: 100 }), token: CharField({ maxLength: 100 }) }

interface Common {
  tags: string[]
  before: Throttle[]
}

export function emailRoutes(app: FastifyInstance): void {
  // The rate limit of logins: these endpoints send emails to other people.
  const common = { tags: ['account'], before: [app.auth.loginThrottle] }
  activationViews(app, common)
  passwordViews(app, common)
  usernameViews(app, common)
}

function activationViews(app: FastifyInstance, common: Common): void {
  const { accounts } = app.auth
  view(app, '/users/activation/', {
    ...common,
    name: 'User Activation',
    description: 'Activates a new account with the values of its link.',
    methods: {
      POST: {
        ...CHANGED,
        summary: 'Activate an account',
        body: Type.Object(LINK),
        handler: async ({ body }, reply) => {
          await accounts.activate(body)
          return reply.code(204).send()
        }
      }
    }
  })
  view(app, '/users/resend_activation/', {
    ...common,
    name: 'User Resend Activation',
    description: 'Sends the activation link of an inactive account again.',
    methods: {
      POST: {
        ...CHANGED,
        summary: 'Send the activation link again',
        body: EmailAddress,
        handler: async ({ body }, reply) => reply.code((await accounts.resendActivation(body.email)) ? 204 : 400).send()
      }
    }
  })
}

interface ResetRequest {
  url: `/${string}/`
  purpose: 'passwordReset' | 'usernameReset'
  name: string
  description: string
  summary: string
}

function requestView(app: FastifyInstance, common: Common, { url, purpose, summary, ...rest }: ResetRequest): void {
  view(app, url, {
    ...common,
    ...rest,
    methods: {
      POST: {
        ...CHANGED,
        summary,
        body: EmailAddress,
        handler: async ({ body }, reply) => {
          await app.auth.accounts.requestReset(purpose, body.email)
          return reply.code(204).send()
        }
      }
    }
  })
}

function passwordViews(app: FastifyInstance, common: Common): void {
  const { accounts, settings } = app.auth
  requestView(app, common, {
    url: '/users/reset_password/',
    purpose: 'passwordReset',
    name: 'User Reset Password',
    description: 'Sends a link to set a new password.',
    summary: 'Request a password reset'
  })
  view(app, '/users/reset_password_confirm/', {
    ...common,
    name: 'User Reset Password Confirm',
    description: 'Sets a new password with the values of the link.',
    methods: {
      POST: {
        ...CHANGED,
        summary: 'Set a new password',
        body: Type.Object({
          ...LINK,
          new_password: passwordField(app),
          ...retypeField(app, settings.accountsPasswordRetype, 're_new_password')
        }),
        handler: async ({ body }, reply) => {
          await accounts.confirmPasswordReset(body, withRetype(body, 'new_password'))
          return reply.code(204).send()
        }
      }
    }
  })
}

function usernameViews(app: FastifyInstance, common: Common): void {
  const { accounts, settings } = app.auth
  requestView(app, common, {
    url: '/users/reset_username/',
    purpose: 'usernameReset',
    name: 'User Reset Username',
    description: 'Sends a link to set a new username.',
    summary: 'Request a username reset'
  })
  view(app, '/users/reset_username_confirm/', {
    ...common,
    name: 'User Reset Username Confirm',
    description: 'Sets a new username with the values of the link.',
    methods: {
      POST: {
        ...CHANGED,
        summary: 'Set a new username',
        // djoser requires only the username: without the other two there is no such user.
        body: Type.Object({
          uid: Type.Optional(LINK.uid),
          token: Type.Optional(LINK.token),
          new_username: CharField({ maxLength: 150 }),
          ...retypeField(app, settings.accountsUsernameRetype, 're_new_username')
        }),
        handler: async ({ body }, reply) => {
          const { uid = '', token = '' } = body
          await accounts.confirmUsernameReset({ uid, token }, withRetype(body, 'new_username'))
          return reply.code(204).send()
        }
      }
    }
  })
}

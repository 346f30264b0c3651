/** djoser's endpoints that send mail, and those that its links lead to. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import type { Accounts } from '../../accounts/accounts.ts'
import { CharField } from '../../drf/fields.ts'
import type { Throttle } from '../../drf/throttle.ts'
import { view } from '../../drf/view.ts'
import { again, chosen, Nothing, secret } from './users.ts'

const Email = Type.Object({ email: CharField({ maxLength: 320, format: 'email' }) })
const LINK = { uid: CharField({ maxLength: 100 }), token: CharField({ maxLength: 100 }) }

/** @param throttle of logins: who asks for mail has it sent to others */
export function mailRoutes(app: FastifyInstance, accounts: Accounts, throttle: Throttle): void {
  const common = { tags: ['account'], before: [throttle] }
  view(app, '/users/activation/', {
    ...{ ...common, name: 'User Activation', description: 'Where the link of a new account leads.' },
    methods: {
      POST: {
        ...{ summary: 'Activate an account', body: Type.Object(LINK), ...Nothing },
        handler: async ({ body }, reply) => {
          await accounts.activate(body)
          return reply.code(204).send()
        }
      }
    }
  })
  view(app, '/users/resend_activation/', {
    ...{ ...common, name: 'User Resend Activation', description: 'The mail of a new account once more.' },
    methods: {
      POST: {
        ...{ summary: 'Have the mail sent again', body: Email, ...Nothing },
        handler: async ({ body }, reply) => reply.code((await accounts.resendActivation(body.email)) ? 204 : 400).send()
      }
    }
  })
  passwordViews(app, accounts, common)
  usernameViews(app, accounts, common)
}

interface Common {
  tags: string[]
  before: Throttle[]
}

interface ResetRequest extends Common {
  url: `/${string}/`
  purpose: 'passwordReset' | 'usernameReset'
  name: string
  description: string
  summary: string
}

function requestView(app: FastifyInstance, accounts: Accounts, request: ResetRequest): void {
  const { url, purpose, summary, ...rest } = request
  view(app, url, {
    ...rest,
    methods: {
      POST: {
        ...{ summary, body: Email, ...Nothing },
        handler: async ({ body }, reply) => {
          await accounts.requestReset(purpose, body.email)
          return reply.code(204).send()
        }
      }
    }
  })
}

function passwordViews(app: FastifyInstance, accounts: Accounts, common: Common): void {
  requestView(app, accounts, {
    ...{ ...common, url: '/users/reset_password/', purpose: 'passwordReset', name: 'User Reset Password' },
    ...{ description: 'A link to set a new password, by mail.', summary: 'Ask for a new password' }
  })
  view(app, '/users/reset_password_confirm/', {
    ...{ ...common, name: 'User Reset Password Confirm', description: 'Where that link leads.' },
    methods: {
      POST: {
        ...{ summary: 'Set a new password', ...Nothing },
        body: Type.Object({
          ...LINK,
          new_password: secret(),
          ...again(app.auth.settings.accountsPasswordRetype, 're_new_password')
        }),
        handler: async ({ body }, reply) => {
          await accounts.confirmPasswordReset(body, chosen(body, 'new_password'))
          return reply.code(204).send()
        }
      }
    }
  })
}

function usernameViews(app: FastifyInstance, accounts: Accounts, common: Common): void {
  requestView(app, accounts, {
    ...{ ...common, url: '/users/reset_username/', purpose: 'usernameReset', name: 'User Reset Username' },
    ...{ description: 'A link to set a new name, by mail.', summary: 'Ask for a new name' }
  })
  view(app, '/users/reset_username_confirm/', {
    ...{ ...common, name: 'User Reset Username Confirm', description: 'Where that link leads.' },
    methods: {
      POST: {
        ...{ summary: 'Set a new name', ...Nothing },
        // As djoser says it, of these three only the name is required; without the others there is no such user.
        body: Type.Object({
          uid: Type.Optional(LINK.uid),
          token: Type.Optional(LINK.token),
          new_username: CharField({ maxLength: 150 }),
          ...again(app.auth.settings.accountsUsernameRetype, 're_new_username')
        }),
        handler: async ({ body }, reply) => {
          const { uid = '', token = '' } = body
          await accounts.confirmUsernameReset({ uid, token }, chosen(body, 'new_username'))
          return reply.code(204).send()
        }
      }
    }
  })
}

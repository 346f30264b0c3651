/** The emails: a few lines in text and HTML, with or without a link. They never contain a password. */
import type { User as UserRow } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'
import type { User } from '../users/user.ts'
import { type EmailTokens, type Purpose, uidOf } from './email-tokens.ts'
import type { Mail } from './mailer.ts'

interface EmailText {
  subject: (site: string) => string
  line: string
}

/** Those with a link, which leads to a page of the site's. */
const LINKS = {
  activation: {
    subject: (site) => `Account activation on ${site}`,
    line: 'follow this link to activate your account:',
    path: 'accountsActivationUrl'
  },
  passwordReset: {
    subject: (site) => `Password reset on ${site}`,
    line: 'follow this link to choose a new password:',
    path: 'accountsPasswordResetUrl'
  },
  usernameReset: {
    subject: (site) => `Username reset on ${site}`,
    line: 'follow this link to choose a new name:',
    path: 'accountsUsernameResetUrl'
  }
} satisfies Record<string, EmailText & { path: keyof Settings }>

/** Those that tell what has happened. */
const NOTICES = {
  confirmation: {
    subject: (site) => `${site} - Your account has been successfully created and activated!`,
    line: 'your account is ready.'
  },
  passwordChanged: {
    subject: (site) => `${site} - Your password has been successfully changed!`,
    line: 'your password has been changed. If that was not you, ask for a new one at once.'
  },
  usernameChanged: {
    subject: (site) => `${site} - Your username has been successfully changed!`,
    line: 'your name has been changed. If that was not you, ask for a new password at once.'
  }
} satisfies Record<string, EmailText>

export type Event = keyof typeof NOTICES

/** With a link that is good once. */
export function linkEmail(purpose: Purpose, user: UserRow, settings: Settings, emailTokens: EmailTokens): Mail {
  const { subject, line, path } = LINKS[purpose]
  const filled = settings[path].replace('{uid}', uidOf(user)).replace('{token}', emailTokens.make(purpose, user))
  const link = `${settings.accountsSiteUrl.replace(/\/$/, '')}/${filled.replace(/^\//, '')}`
  const closing = 'If you did not ask for this, there is nothing to do.'
  return compose(user, settings, subject, [line, link, closing])
}

export function noticeEmail(event: Event, user: User, settings: Settings): Mail {
  const { subject, line } = NOTICES[event]
  return compose(user, settings, subject, [line])
}

function compose(
  { username, email }: User,
  { accountsSiteName: site }: Settings,
  subject: EmailText['subject'],
  lines: string[]
): Mail {
  const parts = [`Hello ${username},`, ...lines, site]
  const html = parts.map((part) => `<p>${/^https?:\S+$/.test(part) ? anchor(escaped(part)) : escaped(part)}</p>`)
  return { to: email, subject: subject(site), text: parts.join('\n\n'), html: html.join('\n') }
}

const anchor = (link: string) => `<a href="${link}">${link}</a>`

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/** The emails: a few lines in text and HTML, with or without a link. They never contain a password. */
import type { User as UserRow } from '../database/open.ts'
import type { Settings } from '../settings/schema.ts'
import type { User } from '../users/user.ts'
import { type EmailTokens, type Owner, type Purpose, uidOf } from './email-tokens.ts'
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
  emailChange: {
    subject: (site) => `Confirm your email address on ${site}`,
    line: 'follow this link to confirm your new email address:',
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
  emailChanged: {
    subject: (site) => `${site} - Your email address has been changed`,
    line: 'your account now has another email address. If you did not change it, contact the site at once.'
  },
  usernameChanged: {
    subject: (site) => `${site} - Your username has been successfully changed!`,
    line: 'your name has been changed. If that was not you, ask for a new password at once.'
  }
} satisfies Record<string, EmailText>

export type Event = keyof typeof NOTICES

/** Links are single-use. */
const CLOSING = 'If you did not ask for this, there is nothing to do.'

/** @param users with the same email address, at least one; each gets a link in the same email */
export function linkEmail(
  purpose: Exclude<Purpose, 'emailChange'>,
  users: readonly UserRow[],
  settings: Settings,
  emailTokens: EmailTokens
): Mail {
  const { subject, line } = LINKS[purpose]
  const [user] = users as [UserRow]
  const linkOf = (owner: UserRow) => linkTo(purpose, owner, settings, emailTokens)
  if (users.length === 1)
    return compose(user, settings, subject, [`Hello ${user.username},`, line, linkOf(user), CLOSING])
  const links = users.flatMap((each) => [`${each.username}:`, linkOf(each)])
  return compose(user, settings, subject, [
    'Hello,',
    `several accounts have this email address; ${line}`,
    ...links,
    CLOSING
  ])
}

/** @param newEmail the recipient, whose link gives the account this address */
export function emailChangeEmail(user: UserRow, newEmail: string, settings: Settings, emailTokens: EmailTokens): Mail {
  const { subject, line } = LINKS.emailChange
  const link = linkTo('emailChange', { ...user, newEmail }, settings, emailTokens)
  return compose({ email: newEmail }, settings, subject, [`Hello ${user.username},`, line, link, CLOSING])
}

function linkTo(purpose: Purpose, owner: Owner, settings: Settings, emailTokens: EmailTokens): string {
  const path = settings[LINKS[purpose].path]
  const filled = path.replace('{uid}', uidOf(owner)).replace('{token}', emailTokens.make(purpose, owner))
  return `${settings.accountsSiteUrl.replace(/\/$/, '')}/${filled.replace(/^\//, '')}`
}

export function noticeEmail(event: Event, user: User, settings: Settings): Mail {
  const { subject, line } = NOTICES[event]
  return compose(user, settings, subject, [`Hello ${user.username},`, line])
}

function compose(
  { email }: Pick<User, 'email'>,
  { accountsSiteName: site }: Settings,
  subject: EmailText['subject'],
  lines: string[]
): Mail {
  const parts = [...lines, site]
  const html = parts.map((part) => `<p>${/^https?:\S+$/.test(part) ? anchor(escaped(part)) : escaped(part)}</p>`)
  return { to: email, subject: subject(site), text: parts.join('\n\n'), html: html.join('\n') }
}

const anchor = (link: string) => `<a href="${link}">${link}</a>`

const escaped = (text: string) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)

/**
 * The settings, by topic: type, default and meaning of each. The names of environment variables are derived from these
 * names; `docs/settings.md` and `.env.example` are generated from this schema by `npm run docs:settings`.
 */
import Type, { type Static, type TSchema } from 'typebox'
import {
  COOKIE_NAME,
  duration,
  flag,
  integer,
  list,
  listOf,
  NETWORKS,
  ORIGINS,
  ORIGINS_OR_WILDCARDS,
  oneOf,
  optionalText,
  type Setting,
  shortDuration,
  text
} from './fields.ts'
import { compatibilitySettings, cookieSettings, keySettings, refreshSettings, tokenSettings } from './token-schema.ts'

export const HASHERS = ['bcrypt_sha256', 'pbkdf2_sha256', 'pbkdf2_sha1', 'argon2', 'scrypt', 'bcrypt', 'md5'] as const
export type HasherName = (typeof HASHERS)[number]

const serverSettings = {
  host: text(
    '127.0.0.1',
    'Address that the server listens on. The default is reachable from the same machine only; `0.0.0.0` is every IPv4 address of the machine.'
  ),
  port: integer(3000, 'TCP port that the server listens on. `0` selects a free port.', { minimum: 0, maximum: 65_535 }),
  logLevel: oneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'info', 'Minimum log level.'),
  trustProxy: list(
    [],
    'Addresses or networks of the reverse proxies whose `X-Forwarded-*` headers are trusted. Without it, all clients behind a proxy have the address of the proxy and share one rate limit. Default: none.',
    NETWORKS
  ),
  corsOrigins: list(
    [],
    'Other origins whose pages may call the API (CORS), without cookies. With cookies: `JWT_COOKIE_ORIGINS`. Default: none.',
    ORIGINS
  )
}

const databaseSettings = {
  databaseUrl: text(
    'file:./data/latchkey.db',
    'Database: `file:PATH` for SQLite, or `postgresql://USER:PASSWORD@HOST/NAME`. A SQLite file is created if it does not exist; a relative path starts at the working directory.',
    {
      pattern: '^(file:.+|postgres(ql)?://.+)$',
      expects: 'file:PATH for SQLite or postgresql://… for PostgreSQL'
    }
  )
}

const loginSettings = {
  loginRate: text(
    '20/minute',
    'Rate limit per client address, against brute force: `N/second`, `N/minute`, `N/hour`, `N/day`, or `off`. It counts wrong passwords at all endpoints and with HTTP Basic together, and requests that create an account or send an e-mail. IPv6 addresses count by /64 network. Each process counts for itself.',
    {
      pattern: '^(off|[1-9]\\d{0,6}/(s|m|h|d)[a-z]*)$',
      expects: 'a rate such as 20/minute, or off'
    }
  ),
  loginField: oneOf(
    ['username', 'email'],
    'username',
    'Field that identifies the user at login. With `email`, case is ignored, and two accounts cannot have the same address.'
  ),
  authenticationBackends: listOf(
    ['ModelBackend', 'AllowAllUsersModelBackend'],
    ['ModelBackend'],
    "Django's setting: which users can log in. `ModelBackend`: active users; `AllowAllUsersModelBackend`: inactive users as well."
  ),
  authenticationSchemes: listOf(
    ['jwt', 'basic', 'token', 'session'],
    ['jwt'],
    'Authentication schemes of requests, tried in this order. `jwt`: access tokens; `basic`: HTTP Basic; `token`: API keys (`Authorization: Token …`); `session`: browser sessions. A route can select others.'
  )
}

const passwordSettings = {
  passwordHashers: listOf(
    HASHERS,
    HASHERS.filter((name) => name !== 'md5' && name !== 'pbkdf2_sha1'),
    "Accepted password hash algorithms. The first one hashes new passwords; a user's hash of another algorithm is replaced at the next login. `pbkdf2_sha1` and `md5`, which are weak, must be named to be accepted."
  ),
  bcryptRounds: integer(12, 'Work factor of new bcrypt hashes. Each step doubles the time.', {
    minimum: 4,
    maximum: 20
  }),
  passwordMinLength: integer(8, 'Minimum length of a new password, in characters.', { minimum: 1, maximum: 128 }),
  passwordBreachedUrl: optionalText(
    'Pwned Passwords API that new passwords are checked with, such as `https://api.pwnedpasswords.com/range/`. Breached passwords are rejected. Only the first five hexadecimal digits of a SHA-1 hash are sent (k-anonymity); if the API fails, the password is accepted. Default: no check.',
    {
      pattern: '^https?://[^?#@\\s]+/$',
      expects: 'a URL that ends with /, such as https://api.pwnedpasswords.com/range/'
    }
  ),
  passwordTrim: flag(
    true,
    'Whether the token endpoints and `/api/users/` remove white space around a password, as SimpleJWT does. `off`: passwords are taken unchanged (OWASP ASVS 6.2.8).'
  )
}

const linkPath = (fallback: string, description: string) =>
  text(fallback, description, {
    pattern: '^[^\\s]*\\{uid\\}[^\\s]*\\{token\\}[^\\s]*$',
    expects: 'a path that contains {uid} and, after it, {token}'
  })

const accountSettings = {
  passwordResetTimeout: duration('3d', 'Lifetime of the links in e-mails (activation, password and username reset).', {
    minimum: 60
  }),
  mailUrl: optionalText(
    'SMTP server: `smtp://USER:PASSWORD@HOST:587`, or `smtps://…:465` for implicit TLS. Default: e-mails are not sent but written to files in `data/mail/`.',
    { pattern: '^smtps?://[^/\\s]+$', expects: 'a URL such as smtp://user:password@host:587' }
  ),
  mailFrom: text('webmaster@localhost', 'Sender address of e-mails.', {
    pattern: '^[^\\r\\n]+@[^\\r\\n]+$',
    expects: 'an e-mail address'
  }),
  accountsSiteName: text('Latchkey', 'Name of the site in e-mails.', {
    pattern: '^[^\\r\\n]{1,100}$',
    expects: 'one line of at most 100 characters'
  }),
  accountsSiteUrl: text(
    'http://127.0.0.1:3000',
    'URL of the front end, which links in e-mails begin with. The paths of the next three settings are appended to it.',
    { pattern: '^https?://[^?#\\s]+$', expects: 'a URL such as https://app.example.com' }
  ),
  accountsActivationUrl: linkPath('activate/{uid}/{token}', 'Path of the page that activates an account.'),
  accountsPasswordResetUrl: linkPath('password-reset/{uid}/{token}', 'Path of the page that asks for a new password.'),
  accountsUsernameResetUrl: linkPath('username-reset/{uid}/{token}', 'Path of the page that asks for a new username.'),
  accountsSendActivationEmail: flag(
    false,
    'Whether a new account is inactive until the user follows the link in an e-mail, and a new e-mail address takes effect when the user follows a link that is sent to it.'
  ),
  accountsEmailChangePassword: flag(
    true,
    'Whether users must send `current_password` to change the e-mail address of their own account. djoser: `off`, with which a stolen access token suffices to take over the account by a password reset.'
  ),
  accountsEmailsPerHour: integer(
    5,
    'Maximum number of e-mails with a link, or that confirm a new account, to one address in an hour. Further ones are not sent; the responses stay the same.',
    { minimum: 1, maximum: 1000 }
  ),
  accountsEmailDelay: shortDuration(
    '2s',
    'Longest of the random delays after which e-mails are sent, so that response times do not reveal whether an account exists (user enumeration). `0`: at once.',
    { minimum: 0, maximum: 60 }
  ),
  accountsSendConfirmationEmail: flag(false, 'Whether an e-mail is sent when an account has become active.'),
  accountsPasswordChangedEmailConfirmation: flag(false, 'Whether an e-mail is sent after a change of the password.'),
  accountsUsernameChangedEmailConfirmation: flag(false, 'Whether an e-mail is sent after a change of the username.'),
  accountsLogoutOnPasswordChange: flag(
    false,
    'Whether a change of the password also ends the browser session or deletes the API key of the request. `off`: these stay, and everything else of the user ends.'
  ),
  accountsHideUsers: flag(
    true,
    'Whether `/auth/users/` hides other accounts from users who are not staff. `on`: another account is a 404. `off`: it is a 403, and every user can list all accounts.'
  ),
  accountsRegistration: flag(
    true,
    'Whether anyone can create an account. `off`: only staff with the permission `auth.add_user`.'
  ),
  accountsPasswordRetype: flag(
    false,
    'Whether a new password must be sent twice, the second time as `re_password` or `re_new_password`.'
  ),
  accountsUsernameRetype: flag(
    false,
    'Whether a new username must be sent twice, the second time as `re_new_username`.'
  ),
  accountsShowEmailNotFound: flag(
    false,
    'Whether requests for a reset e-mail report that no account has the address. `on` allows user enumeration.'
  )
}

const browserSessionSettings = {
  secretKey: optionalText(
    "Django's setting: secret that signs browser sessions and the links in e-mails. At least 32 bytes, or `file:PATH`. Default: the value of `JWT_SIGNING_KEY` or `JWT_KEY_ENCRYPTION_KEY`, or the generated secret."
  ),
  secretKeyFallbacks: list(
    [],
    'Previous values of `SECRET_KEY`, with which browser sessions and links remain valid (key rotation). Each is a secret or `file:PATH`.',
    'a comma-separated list of secrets'
  ),
  sessionCookieAge: duration('2w', 'Lifetime of a browser session, counted from the login.', { minimum: 60 }),
  sessionCookieName: optionalText(
    'Name of the cookie of browser sessions. Default: `__Host-sessionid` over TLS, which subdomains cannot set; otherwise `sessionid`. Set `sessionid` to share browser sessions with Django.',
    COOKIE_NAME
  ),
  csrfCookieName: optionalText(
    'Name of the cookie with the CSRF token. Default: `__Host-csrftoken` over TLS; otherwise `csrftoken`, as in Django.',
    COOKIE_NAME
  ),
  csrfTrustedOrigins: list(
    [],
    'Other origins whose pages may send POST, PUT, PATCH and DELETE requests with a browser session (CSRF). `https://*.example.com` means every subdomain. Default: none.',
    ORIGINS_OR_WILDCARDS
  )
}

const properties = {
  ...serverSettings,
  ...databaseSettings,
  ...loginSettings,
  ...passwordSettings,
  ...accountSettings,
  ...browserSessionSettings,
  ...keySettings,
  ...tokenSettings,
  ...refreshSettings,
  ...cookieSettings,
  ...compatibilitySettings
}

const SettingsSchema = Type.Object(properties, { additionalProperties: false })

export type Settings = Readonly<Static<typeof SettingsSchema>>
export type SettingName = keyof Settings
/** Settings as options: all are optional, and each can also be the text that its environment variable would have. */
export type SettingsInput = { [Name in SettingName]?: Settings[Name] | string | undefined }

export const SETTINGS = SettingsSchema.properties as unknown as Record<SettingName, TSchema & Setting>
export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[]

export const settingOf = (name: SettingName): Setting => SETTINGS[name]

export interface Topic {
  title: string
  names: SettingName[]
  /** Whether the settings have an effect in the server only; in a host app the app itself is configured instead. */
  serverOnly: boolean
  /** Whether the names of the environment variables begin with `JWT_`. */
  hasPrefix: boolean
}

const topic = (title: string, settings: object, { serverOnly = false, hasPrefix = false } = {}): Topic => ({
  title,
  names: Object.keys(settings) as SettingName[],
  serverOnly,
  hasPrefix
})

/** The settings by topic, in the order of the documentation. */
export const TOPICS: readonly Topic[] = [
  topic('Server', serverSettings, { serverOnly: true }),
  topic('Database', databaseSettings),
  topic('Login and rate limits', loginSettings),
  topic('Passwords', passwordSettings),
  topic('Accounts and e-mail', accountSettings),
  topic('Browser sessions and CSRF', browserSessionSettings),
  topic('Keys', keySettings, { hasPrefix: true }),
  topic('Tokens', tokenSettings, { hasPrefix: true }),
  topic('Refresh and login sessions', refreshSettings, { hasPrefix: true }),
  topic('Cookies', cookieSettings, { hasPrefix: true }),
  topic('Compatibility with Django and SimpleJWT', compatibilitySettings, { hasPrefix: true })
]

/** Every setting, once: its type, default and meaning. The README's table and `.env.example` are held against it by a test. */
import Type, { type Static, type TSchema } from 'typebox'
import { ALGORITHMS } from '../crypto/jwa.ts'
import {
  about,
  claim,
  duration,
  flag,
  integer,
  jwt,
  list,
  listOf,
  NAME,
  oneOf,
  optional,
  optionalDuration,
  path,
  type Setting,
  server,
  text
} from './fields.ts'

export const HASHERS = ['bcrypt_sha256', 'pbkdf2_sha256', 'pbkdf2_sha1', 'argon2', 'scrypt', 'bcrypt', 'md5'] as const
export type HasherName = (typeof HASHERS)[number]

/** RFC 6265's cookie-name, of what no proxy stumbles over. */
const COOKIE_NAME = { pattern: '^[A-Za-z0-9_-]{1,64}$', expects: 'a name of letters, digits, _ and -' }

export const SettingsSchema = Type.Object(
  {
    host: text('127.0.0.1', 'Address to listen on', server),
    port: integer(3000, 0, 65_535, 'Port to listen on; 0 takes any free one', server),
    databaseUrl: text('file:./data/latchkey.db', 'SQLite as `file:…`, or PostgreSQL as `postgresql://…`', {
      pattern: '^(file:.+|postgres(ql)?://.+)$',
      expects: 'file:… for SQLite or postgresql://… for PostgreSQL'
    }),
    logLevel: oneOf(
      ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'],
      'info',
      'Least level logged',
      server
    ),
    trustProxy: list([], 'Addresses or networks of the proxies whose `X-Forwarded-For` is believed; none by default', {
      ...server,
      expects: 'a list with commas of addresses or networks such as 10.0.0.0/8'
    }),
    corsOrigins: list([], 'Origins whose pages may call the API; none by default', {
      ...server,
      expects: 'a list with commas of origins such as https://app.example.com'
    }),
    loginRate: text('20/minute', 'Logins allowed from one address: `N/second`, `/minute`, `/hour`, `/day`, or `off`', {
      pattern: '^(off|[1-9]\\d{0,6}/(s|m|h|d)[a-z]*)$',
      expects: 'a rate such as 20/minute, or off'
    }),
    secretKey: optional(
      "Django's SECRET_KEY, or `file:…`: signs links in mail and browser sessions; if absent, what tokens have"
    ),
    secretKeyFallbacks: list([], 'Older secrets whose links and sessions stay good: each a secret or `file:…`', {
      expects: 'a list with commas of secrets'
    }),
    passwordHashers: listOf(HASHERS, [...HASHERS], 'Accepted password hashes; the first one makes new ones'),
    bcryptRounds: integer(12, 4, 20, 'Cost of new bcrypt hashes, as a power of two'),
    passwordMinLength: integer(8, 1, 128, 'Fewest characters of a new password'),
    passwordBreachedUrl: optional(
      'Where new passwords are looked up among breached ones, such as `https://api.pwnedpasswords.com/range/`; absent: nowhere',
      { pattern: '^https?://[^?#@\\s]+/$', expects: 'an address such as https://api.pwnedpasswords.com/range/' }
    ),
    passwordTrim: flag(true, 'Cut white space around a password at sign-in, as SimpleJWT; off for OWASP ASVS 6.2.8'),
    loginField: oneOf(['username', 'email'], 'username', 'What users sign in with; an address in whatever letters'),
    authenticationBackends: listOf(
      ['ModelBackend', 'AllowAllUsersModelBackend'],
      ['ModelBackend'],
      'Who may sign in: active users, or with AllowAllUsersModelBackend also inactive ones'
    ),
    passwordResetTimeout: duration('3d', 'How long the links in mail are good', { minimum: 60 }),
    mailUrl: optional('Where mail is handed over, `smtp://user:password@host:587`; files in `data/mail/` if absent', {
      pattern: '^smtps?://[^/\\s]+$',
      expects: 'an address such as smtp://user:password@host:587'
    }),
    mailFrom: text('webmaster@localhost', 'Sender of mail', {
      pattern: '^[^\\r\\n]+@[^\\r\\n]+$',
      expects: 'an e-mail address'
    }),
    accountsSiteName: text('Latchkey', 'Name of the site, in mail', {
      pattern: '^[^\\r\\n]{1,100}$',
      expects: 'a line of at most 100 characters'
    }),
    accountsSiteUrl: text('http://127.0.0.1:3000', 'Address that the links in mail begin with', {
      pattern: '^https?://[^?#\\s]+$',
      expects: 'an address such as https://app.example.com'
    }),
    accountsActivationUrl: path('activate/{uid}/{token}', 'Link that activates an account'),
    accountsPasswordResetUrl: path('password-reset/{uid}/{token}', 'Link to set a new password'),
    accountsUsernameResetUrl: path('username-reset/{uid}/{token}', 'Link to set a new name'),
    accountsSendActivationEmail: flag(false, 'New accounts are inactive until a link in a mail is followed'),
    accountsSendConfirmationEmail: flag(false, 'A mail says that an account is ready'),
    accountsPasswordChangedEmailConfirmation: flag(false, 'A mail says that a password was changed'),
    accountsUsernameChangedEmailConfirmation: flag(false, 'A mail says that a name was changed'),
    accountsLogoutOnPasswordChange: flag(false, "A new password ends the user's key and refresh tokens"),
    accountsHideUsers: flag(true, "Another's account is as if it were not there; off: forbidden, and all are listed"),
    accountsRegistration: flag(true, 'Anybody may make an account; off: staff with `auth.add_user` only'),
    accountsPasswordRetype: flag(false, 'New passwords are asked for twice, as `re_password` and `re_new_password`'),
    accountsUsernameRetype: flag(false, 'New names are asked for twice, as `re_new_username`'),
    accountsShowEmailNotFound: flag(
      false,
      'Tell whoever asks for a reset that nobody has that address: reveals who is here'
    ),
    authenticationSchemes: listOf(
      ['jwt', 'basic', 'token', 'session'],
      ['jwt'],
      'How callers may say who they are, tried in this order; a route can name others'
    ),
    sessionCookieAge: duration('2w', 'How long a browser stays signed in', { minimum: 60 }),
    sessionCookieName: text('sessionid', 'Cookie of a browser that is signed in', {
      pattern: '^[A-Za-z0-9_-]{1,64}$',
      expects: 'a name of letters, digits, _ and -'
    }),
    csrfTrustedOrigins: list(
      [],
      'Other origins whose pages may send what changes something; `https://*.example.com` for all below',
      {
        expects: 'a list with commas of origins such as https://app.example.com or https://*.example.com'
      }
    ),
    signingKey: optional(
      'HMAC secret or private PEM, or `file:…`; an HMAC secret is made and kept beside an embedded database if absent',
      jwt
    ),
    algorithm: oneOf(ALGORITHMS, 'HS256', 'Signature algorithm of new tokens, and with it the kind of key', jwt),
    verifyingKey: optional('Public PEM that goes with `JWT_SIGNING_KEY`, or `file:…`; taken from it if absent', jwt),
    signingKeyFallbacks: list(
      [],
      'Older keys whose tokens stay good: each a key or `file:…`, behind `ES256:` or the like',
      {
        ...jwt,
        expects: 'a list with commas of keys'
      }
    ),
    keyEncryptionKey: optional(
      'Secret of at least 32 bytes, or `file:…`: signing keys are kept in the database, encrypted with it, and rotate',
      jwt
    ),
    keyRotationAge: optionalDuration('Age at which a signing key of the database gives way to the next', {
      ...jwt,
      minimum: 3600
    }),
    jwkUrl: optional("Address of others' key set, whose tokens are accepted as well", {
      ...jwt,
      pattern: '^https?://',
      expects: 'an address that begins with https:// or http://'
    }),
    accessTokenLifetime: duration('5m', 'Lifetime of an access token', { ...jwt, minimum: 1 }),
    refreshTokenLifetime: duration('1d', 'Lifetime of a refresh token', { ...jwt, minimum: 1 }),
    rotateRefreshTokens: flag(true, 'A refresh also answers with a new refresh token', jwt),
    blacklistAfterRotation: flag(true, 'A rotated refresh token can be used no more', jwt),
    refreshStore: oneOf(['session', 'blacklist', 'none'], 'session', 'How refresh tokens are remembered', jwt),
    rotationGrace: duration(
      '30s',
      'How long a refresh token that was just rotated gets the same successor again; 0: never',
      {
        ...jwt,
        maximum: 3600
      }
    ),
    sessionMaxAge: duration('90d', 'Age at which a session ends, however often it is refreshed', {
      ...jwt,
      minimum: 60
    }),
    sessionLimit: Type.Union(
      [Type.Integer({ minimum: 1, maximum: 1000 }), Type.Null()],
      about('number', 'a whole number from 1 to 1000', null, 'Sessions that a user may have; the oldest ends', jwt)
    ),
    revocationPoll: Type.Number(
      about('duration', 'a duration from 50ms to 1m', 0.5, 'How often the list of what was revoked is read', {
        ...{ ...jwt, minimum: 0.05, maximum: 60 }
      })
    ),
    revocationMaxLag: duration('10s', 'How long that may fail before `/health/ready` says so', { ...jwt, minimum: 1 }),
    refreshCookieName: text('__Host-refresh', 'Cookie that holds the refresh token of a page that asks for cookies', {
      ...jwt,
      ...COOKIE_NAME
    }),
    accessCookieName: optional('Cookie that holds its access token besides; none by default', {
      ...jwt,
      ...COOKIE_NAME
    }),
    cookieSamesite: oneOf(['strict', 'lax', 'none'], 'strict', 'From where browsers send these cookies', jwt),
    cookieOrigins: list([], 'Other origins whose pages get cookies, asked for or not; none by default', {
      ...jwt,
      expects: 'a list with commas of origins such as https://app.example.com'
    }),
    stateless: flag(true, 'The caller is what the token says; off: the user row is read on each request', jwt),
    updateLastLogin: flag(false, 'Obtaining a token sets `last_login`', jwt),
    audience: Type.Union([Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 })), Type.Null()], {
      default: null,
      description: 'Written as `aud`, and one of it asked for; several with commas',
      reads: 'texts',
      expects: 'some text, or a list with commas',
      ...jwt
    }),
    issuer: optional('Written as `iss`, and asked for', jwt),
    leeway: duration('0', 'Tolerance for `exp`, `nbf` and `iat`', { ...jwt, maximum: 3600 }),
    authHeaderTypes: list(['Bearer'], 'Schemes accepted in the header; the first is in `WWW-Authenticate`', {
      ...jwt,
      minItems: 1,
      expects: 'a list with commas of scheme names'
    }),
    authHeaderName: text('HTTP_AUTHORIZATION', 'Header that carries the token, in WSGI form', {
      ...jwt,
      pattern: '^HTTP_[A-Z0-9]+(_[A-Z0-9]+)*$',
      expects: 'a header in WSGI form such as HTTP_X_ACCESS_TOKEN'
    }),
    userIdField: oneOf(['id', 'username'], 'id', 'Column of the user that a token names', jwt),
    userIdClaim: text('user_id', 'Claim that names the user', { ...jwt, ...NAME }),
    slidingTokenLifetime: duration('5m', 'Lifetime of a sliding token', { ...jwt, minimum: 1 }),
    slidingTokenRefreshLifetime: duration('1d', 'How long a sliding token can be renewed', { ...jwt, minimum: 1 }),
    slidingTokenRefreshExpClaim: text('refresh_exp', 'Claim that ends the renewals of a sliding token', {
      ...jwt,
      ...NAME
    }),
    authTokenClasses: listOf(['AccessToken', 'SlidingToken'], ['AccessToken'], 'Kinds accepted in the header', jwt),
    tokenTypeClaim: claim('token_type', 'Claim that tells the kind of a token; `none`: kinds are not told apart'),
    jtiClaim: claim('jti', 'Claim that identifies a token; `none` goes with `JWT_REFRESH_STORE=none`'),
    checkRevokeToken: flag(false, 'Tokens die when the password changes', jwt),
    revokeTokenClaim: text('hash_password', "Claim with the password's fingerprint", { ...jwt, ...NAME }),
    checkUserIsActive: flag(true, 'Refuse tokens of inactive users', jwt)
  },
  { additionalProperties: false }
)

export type Settings = Readonly<Static<typeof SettingsSchema>>
export type SettingName = keyof Settings
/** Settings as a caller gives them: all optional, durations also as `5m`, lists also as text with commas. */
export type SettingsInput = { [Name in SettingName]?: Settings[Name] | string | undefined }

export const SETTINGS = SettingsSchema.properties as unknown as Record<
  SettingName,
  TSchema & Setting & { default: unknown }
>
export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[]

export const settingOf = (name: SettingName): Setting & { default: unknown } => SETTINGS[name]

/** The settings: names, defaults, conversion of values. */
import t from 'tap'
import { formatDuration, parseDuration } from '../../src/settings/fields.ts'
import { environmentName, loadEnvironment, loadSettings } from '../../src/settings/load.ts'
import {
  SETTING_NAMES,
  type SettingName,
  type Settings,
  type SettingsInput,
  settingOf
} from '../../src/settings/schema.ts'

const DAY = 86_400

const EVERY_SETTING: [name: SettingName, environment: string, fallback: unknown][] = [
  ['host', 'HOST', '127.0.0.1'],
  ['port', 'PORT', 3000],
  ['databaseUrl', 'DATABASE_URL', 'file:./data/latchkey.db'],
  ['logLevel', 'LOG_LEVEL', 'info'],
  ['trustProxy', 'TRUST_PROXY', []],
  ['corsOrigins', 'CORS_ORIGINS', []],
  ['loginRate', 'LOGIN_RATE', '20/minute'],
  ['secretKey', 'SECRET_KEY', null],
  ['secretKeyFallbacks', 'SECRET_KEY_FALLBACKS', []],
  ['passwordHashers', 'PASSWORD_HASHERS', ['bcrypt_sha256', 'pbkdf2_sha256', 'argon2', 'scrypt', 'bcrypt']],
  ['bcryptRounds', 'BCRYPT_ROUNDS', 12],
  ['passwordMinLength', 'PASSWORD_MIN_LENGTH', 8],
  ['passwordBreachedUrl', 'PASSWORD_BREACHED_URL', null],
  ['passwordTrim', 'PASSWORD_TRIM', true],
  ['loginField', 'LOGIN_FIELD', 'username'],
  ['authenticationBackends', 'AUTHENTICATION_BACKENDS', ['ModelBackend']],
  ['passwordResetTimeout', 'PASSWORD_RESET_TIMEOUT', 3 * DAY],
  ['mailUrl', 'MAIL_URL', null],
  ['mailFrom', 'MAIL_FROM', 'webmaster@localhost'],
  ['accountsSiteName', 'ACCOUNTS_SITE_NAME', 'Latchkey'],
  ['accountsSiteUrl', 'ACCOUNTS_SITE_URL', 'http://127.0.0.1:3000'],
  ['accountsActivationUrl', 'ACCOUNTS_ACTIVATION_URL', 'activate/{uid}/{token}'],
  ['accountsPasswordResetUrl', 'ACCOUNTS_PASSWORD_RESET_URL', 'password-reset/{uid}/{token}'],
  ['accountsUsernameResetUrl', 'ACCOUNTS_USERNAME_RESET_URL', 'username-reset/{uid}/{token}'],
  ['accountsSendActivationEmail', 'ACCOUNTS_SEND_ACTIVATION_EMAIL', false],
  ['accountsEmailChangePassword', 'ACCOUNTS_EMAIL_CHANGE_PASSWORD', true],
  ['accountsEmailsPerHour', 'ACCOUNTS_EMAILS_PER_HOUR', 5],
  ['accountsEmailDelay', 'ACCOUNTS_EMAIL_DELAY', 2],
  ['accountsSendConfirmationEmail', 'ACCOUNTS_SEND_CONFIRMATION_EMAIL', false],
  ['accountsPasswordChangedEmailConfirmation', 'ACCOUNTS_PASSWORD_CHANGED_EMAIL_CONFIRMATION', false],
  ['accountsUsernameChangedEmailConfirmation', 'ACCOUNTS_USERNAME_CHANGED_EMAIL_CONFIRMATION', false],
  ['accountsLogoutOnPasswordChange', 'ACCOUNTS_LOGOUT_ON_PASSWORD_CHANGE', false],
  ['accountsHideUsers', 'ACCOUNTS_HIDE_USERS', true],
  ['accountsRegistration', 'ACCOUNTS_REGISTRATION', true],
  ['accountsPasswordRetype', 'ACCOUNTS_PASSWORD_RETYPE', false],
  ['accountsUsernameRetype', 'ACCOUNTS_USERNAME_RETYPE', false],
  ['accountsShowEmailNotFound', 'ACCOUNTS_SHOW_EMAIL_NOT_FOUND', false],
  ['authenticationSchemes', 'AUTHENTICATION_SCHEMES', ['jwt']],
  ['sessionCookieAge', 'SESSION_COOKIE_AGE', 14 * DAY],
  ['sessionCookieName', 'SESSION_COOKIE_NAME', null],
  ['csrfCookieName', 'CSRF_COOKIE_NAME', null],
  ['csrfTrustedOrigins', 'CSRF_TRUSTED_ORIGINS', []],
  ['signingKey', 'JWT_SIGNING_KEY', null],
  ['algorithm', 'JWT_ALGORITHM', 'HS256'],
  ['verifyingKey', 'JWT_VERIFYING_KEY', null],
  ['signingKeyFallbacks', 'JWT_SIGNING_KEY_FALLBACKS', []],
  ['keyEncryptionKey', 'JWT_KEY_ENCRYPTION_KEY', null],
  ['keyRotationAge', 'JWT_KEY_ROTATION_AGE', null],
  ['jwkUrl', 'JWT_JWK_URL', null],
  ['accessTokenLifetime', 'JWT_ACCESS_TOKEN_LIFETIME', 300],
  ['refreshTokenLifetime', 'JWT_REFRESH_TOKEN_LIFETIME', DAY],
  ['rotateRefreshTokens', 'JWT_ROTATE_REFRESH_TOKENS', true],
  ['blacklistAfterRotation', 'JWT_BLACKLIST_AFTER_ROTATION', true],
  ['refreshStore', 'JWT_REFRESH_STORE', 'session'],
  ['rotationGrace', 'JWT_ROTATION_GRACE', 30],
  ['sessionMaxAge', 'JWT_SESSION_MAX_AGE', 90 * DAY],
  ['sessionLimit', 'JWT_SESSION_LIMIT', null],
  ['revocationPoll', 'JWT_REVOCATION_POLL', 0.5],
  ['revocationMaxLag', 'JWT_REVOCATION_MAX_LAG', 10],
  ['refreshCookieName', 'JWT_REFRESH_COOKIE_NAME', '__Host-refresh'],
  ['accessCookieName', 'JWT_ACCESS_COOKIE_NAME', null],
  ['cookieSamesite', 'JWT_COOKIE_SAMESITE', 'strict'],
  ['cookieOrigins', 'JWT_COOKIE_ORIGINS', []],
  ['stateless', 'JWT_STATELESS', true],
  ['updateLastLogin', 'JWT_UPDATE_LAST_LOGIN', false],
  ['audience', 'JWT_AUDIENCE', null],
  ['issuer', 'JWT_ISSUER', null],
  ['leeway', 'JWT_LEEWAY', 0],
  ['authHeaderTypes', 'JWT_AUTH_HEADER_TYPES', ['Bearer']],
  ['authHeaderName', 'JWT_AUTH_HEADER_NAME', 'HTTP_AUTHORIZATION'],
  ['userIdField', 'JWT_USER_ID_FIELD', 'id'],
  ['userIdClaim', 'JWT_USER_ID_CLAIM', 'user_id'],
  ['authTokenClasses', 'JWT_AUTH_TOKEN_CLASSES', ['AccessToken']],
  ['slidingTokenLifetime', 'JWT_SLIDING_TOKEN_LIFETIME', 300],
  ['slidingTokenRefreshLifetime', 'JWT_SLIDING_TOKEN_REFRESH_LIFETIME', 86_400],
  ['slidingTokenRefreshExpClaim', 'JWT_SLIDING_TOKEN_REFRESH_EXP_CLAIM', 'refresh_exp'],
  ['tokenTypeClaim', 'JWT_TOKEN_TYPE_CLAIM', 'token_type'],
  ['jtiClaim', 'JWT_JTI_CLAIM', 'jti'],
  ['checkRevokeToken', 'JWT_CHECK_REVOKE_TOKEN', false],
  ['revokeTokenClaim', 'JWT_REVOKE_TOKEN_CLAIM', 'hash_password'],
  ['checkUserIsActive', 'JWT_CHECK_USER_IS_ACTIVE', true]
]

t.test('every setting has an environment variable, a default and a description', async (t) => {
  t.strictSame(SETTING_NAMES.toSorted(), EVERY_SETTING.map(([name]) => name).toSorted(), 'the table above is complete')
  for (const [name, environment, fallback] of EVERY_SETTING) {
    t.equal(environmentName(name), environment)
    t.strictSame(settingOf(name).default, fallback, name)
    t.match(settingOf(name).description, /^\S.{9,}/, name)
  }
})

t.test('without environment variables or options every setting has its default', async (t) => {
  const defaults = Object.fromEntries(EVERY_SETTING.map(([name, , fallback]) => [name, fallback]))
  t.strictSame(loadEnvironment({}), defaults)
  t.strictSame(loadSettings({}), defaults)
})

const READINGS: [environment: string, text: string, value: unknown][] = [
  ['HOST', '::1', '::1'],
  ['PORT', '0', 0],
  ['PORT', '65535', 65_535],
  ['DATABASE_URL', 'file:/var/lib/latchkey/a b.db', 'file:/var/lib/latchkey/a b.db'],
  ['DATABASE_URL', '  file:x  ', 'file:x'],
  ['LOG_LEVEL', 'silent', 'silent'],
  ['TRUST_PROXY', 'off', []],
  ['TRUST_PROXY', 'none', []],
  ['TRUST_PROXY', '10.0.0.0/8, 127.0.0.1 ,fd00::/8,::1', ['10.0.0.0/8', '127.0.0.1', 'fd00::/8', '::1']],
  ['CORS_ORIGINS', 'none', []],
  ['CORS_ORIGINS', 'https://a.example,http://localhost:5173', ['https://a.example', 'http://localhost:5173']],
  ['LOGIN_RATE', 'off', 'off'],
  ['LOGIN_RATE', '5/s', '5/s'],
  ['LOGIN_RATE', '100/day', '100/day'],
  ['PASSWORD_HASHERS', 'argon2, md5', ['argon2', 'md5']],
  ['BCRYPT_ROUNDS', '4', 4],
  ['AUTHENTICATION_BACKENDS', 'AllowAllUsersModelBackend', ['AllowAllUsersModelBackend']],
  ['JWT_ALGORITHM', 'HS512', 'HS512'],
  ['JWT_ACCESS_TOKEN_LIFETIME', '90', 90],
  ['JWT_ACCESS_TOKEN_LIFETIME', '90s', 90],
  ['JWT_ACCESS_TOKEN_LIFETIME', '15m', 900],
  ['JWT_ACCESS_TOKEN_LIFETIME', '12h', DAY / 2],
  ['JWT_REFRESH_TOKEN_LIFETIME', '30d', 30 * DAY],
  ['JWT_REFRESH_TOKEN_LIFETIME', '2w', 14 * DAY],
  ['JWT_LEEWAY', '1h', 3600],
  ['JWT_REFRESH_STORE', 'none', 'none'],
  ['JWT_AUDIENCE', 'api', 'api'],
  ['JWT_AUDIENCE', 'web, mobile', ['web', 'mobile']],
  ['JWT_ISSUER', 'https://auth.example', 'https://auth.example'],
  ['JWT_AUTH_HEADER_TYPES', 'Bearer, JWT', ['Bearer', 'JWT']],
  ['JWT_AUTH_HEADER_NAME', 'HTTP_X_ACCESS_TOKEN', 'HTTP_X_ACCESS_TOKEN'],
  ['JWT_USER_ID_FIELD', 'username', 'username'],
  ['JWT_USER_ID_CLAIM', 'https://auth.example/user', 'https://auth.example/user'],
  ['JWT_AUTH_TOKEN_CLASSES', 'AccessToken,SlidingToken', ['AccessToken', 'SlidingToken']],
  ['JWT_JTI_CLAIM', 'id', 'id'],
  ['JWT_TOKEN_TYPE_CLAIM', 'kind', 'kind'],
  ['JWT_TOKEN_TYPE_CLAIM', 'none', null],
  ['JWT_SLIDING_TOKEN_LIFETIME', '1h', 3600],
  ['JWT_SLIDING_TOKEN_REFRESH_LIFETIME', '1w', 7 * DAY],
  ['JWT_SLIDING_TOKEN_REFRESH_EXP_CLAIM', 'until', 'until'],
  ['JWT_REVOKE_TOKEN_CLAIM', 'pw', 'pw'],
  ...(['on', 'true', 'yes', '1', 'TRUE', 'On'] as const).map((text): [string, string, unknown] => [
    'JWT_UPDATE_LAST_LOGIN',
    text,
    true
  ]),
  ...(['off', 'false', 'no', '0', 'False', 'OFF'] as const).map((text): [string, string, unknown] => [
    'PASSWORD_TRIM',
    text,
    false
  ])
]

t.test('the text of an environment variable is converted to the type of its setting', async (t) => {
  for (const [environment, text, value] of READINGS) {
    t.strictSame(loadEnvironment({ [environment]: text })[nameOf(environment)], value, `${environment}=${text}`)
  }
})

t.test('a valid key is not changed', async (t) => {
  const key = 'p8Zk2Q_vN4-tR7wY1mB3xC5dF9gH0jL6'
  t.equal(loadEnvironment({ JWT_SIGNING_KEY: key }).signingKey, key)
  const withServer = { JWT_SIGNING_KEY: key, DATABASE_URL: 'postgres://u:p@db/latchkey' }
  t.equal(loadEnvironment(withServer).databaseUrl, withServer.DATABASE_URL)
})

t.test('file:PATH is replaced by the trimmed content of the file, also after the algorithm of a key', async (t) => {
  const key = 'p8Zk2Q_vN4-tR7wY1mB3xC5dF9gH0jL6'
  const folder = t.testdir({ key: `${key}\n` })
  const settings = loadEnvironment({
    JWT_SIGNING_KEY: `file:${folder}/key`,
    JWT_SIGNING_KEY_FALLBACKS: `file:${folder}/key,HS512:file:${folder}/key`,
    SECRET_KEY: `file:${folder}/key`
  })

  t.equal(settings.signingKey, key)
  t.strictSame(settings.signingKeyFallbacks, [key, `HS512:${key}`])
  t.equal(settings.secretKey, key)
  t.throws(() => loadEnvironment({ JWT_SIGNING_KEY: `file:${folder}/missing` }), {
    message: 'JWT_SIGNING_KEY: cannot read the file (ENOENT)'
  })
})

t.test('an empty or blank variable counts as not set', async (t) => {
  const blank = Object.fromEntries(EVERY_SETTING.map(([, name], index) => [name, index % 2 ? '' : ' \t']))
  t.strictSame(loadEnvironment(blank), loadEnvironment({}))
})

t.test('unknown variables without the prefix JWT_ are ignored', async (t) => {
  t.strictSame(
    loadEnvironment({ HOME: '/root', XJWT_ALGORITHM: 'none', ACCESS_TOKEN_LIFETIME: '1d' }),
    loadSettings({})
  )
})

t.test('options can be typed values or the texts of environment variables', async (t) => {
  const typed: SettingsInput = {
    port: 8080,
    trustProxy: ['10.0.0.0/8', '::1'],
    passwordHashers: ['md5', 'argon2'],
    passwordTrim: false,
    signingKey: null,
    accessTokenLifetime: 600,
    audience: ['web', 'mobile'],
    issuer: undefined
  }
  const texts: SettingsInput = {
    port: '8080',
    trustProxy: '10.0.0.0/8,::1',
    passwordHashers: 'md5, argon2',
    passwordTrim: 'off',
    accessTokenLifetime: '10m',
    audience: 'web,mobile'
  }
  t.strictSame(loadSettings(typed), loadSettings(texts))
  t.strictSame(loadSettings(typed), { ...loadSettings({}), ...typed, issuer: null })
})

t.test('settings are deeply frozen; the input and the defaults are not', async (t) => {
  const given = { trustProxy: ['::1'], audience: ['web'] }
  const settings = loadSettings(given)

  for (const value of [settings, settings.trustProxy, settings.passwordHashers, settings.audience]) {
    t.ok(Object.isFrozen(value))
  }
  given.trustProxy.push('10.0.0.1')
  given.audience.length = 0
  t.strictSame(settings.trustProxy, ['::1'], 'a later change of the input has no effect')
  t.strictSame(loadSettings({}).trustProxy, [])
  t.notOk(Object.isFrozen(settingOf('trustProxy').default), 'the default in the schema is not frozen')
})

t.test('a duration is a whole number of seconds, minutes, hours, days or weeks', async (t) => {
  const valid: [text: string, seconds: number][] = [
    ['0', 0],
    ['7', 7],
    [' 7s ', 7],
    ['7m', 420],
    ['7h', 25_200],
    ['7d', 7 * DAY],
    ['7w', 49 * DAY],
    ['007', 7]
  ]
  for (const [text, seconds] of valid) t.equal(parseDuration(text), seconds, text)
  for (const text of ['', '-1', '1.5h', '1 d', '1y', '1e3', 'm', '5M', '٣', '9999999999', '1d2h', 'Infinity']) {
    t.ok(Number.isNaN(parseDuration(text)), text)
  }
})

t.test('a duration is formatted in its largest unit without a fraction', async (t) => {
  for (const text of ['0', '1ms', '500ms', '1s', '90s', '5m', '12h', '1d', '90d', '2w', '3651d']) {
    t.equal(formatDuration(parseDuration(text)), text)
  }
  t.equal(formatDuration(86_400), '1d')
  t.equal(formatDuration(7200), '2h')
})

function nameOf(environment: string): keyof Settings {
  return SETTING_NAMES.find((name) => environmentName(name) === environment) as keyof Settings
}

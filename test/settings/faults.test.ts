/** Error messages of settings: all are reported at once, by name and without values. */
import t from 'tap'
import { ImproperlyConfigured } from '../../src/errors.ts'
import { environmentName, loadEnvironment, loadSettings } from '../../src/settings/load.ts'
import type { SettingName, SettingsInput } from '../../src/settings/schema.ts'

const GOOD_KEY = 'p8Zk2Q_vN4-tR7wY1mB3xC5dF9gH0jL6'
const PROXIES = 'must be a comma-separated list of IP addresses or networks such as 10.0.0.0/8 (but not /0)'
const ORIGINS = 'must be a comma-separated list of origins such as https://app.example.com'
const TRUSTED = `${ORIGINS} or https://*.example.com`
const between = (minimum: string, maximum = '3650d') =>
  `must be a duration from ${minimum} to ${maximum}, such as 30s, 5m, 12h, 1d or a number of seconds`
const CLAIM = 'must be a name of 1 to 64 letters, digits, _ . : / or -'
const COOKIE = 'must be a name of 1 to 64 letters, digits, _ or -'
const TEXT = 'must be a non-empty text'
const AUDIENCE = 'must be a non-empty text, or a comma-separated list of them'
const oneOrMoreOf = (names: string) => `must be a comma-separated list of one or more of ${names}, each at most once`
const FLAG = 'must be on or off'
const LINK = 'must be a path that contains {uid} and, after it, {token}'
const RATE = 'must be a rate such as 20/minute, or off'
const DATABASE = 'must be file:PATH for SQLite or postgresql://… for PostgreSQL'
const COLLISION = 'two claims have the same name; all names must differ'

/** Invalid texts, as environment variables and as options. */
const WRONG: [name: SettingName, fault: string, ...texts: string[]][] = [
  ['port', 'must be a whole number from 0 to 65535', '65536', '-1', '3e3', '80.5', 'http', '0x50'],
  ['databaseUrl', DATABASE, 'mysql://h/d', 'data/latchkey.db', 'file:', 'postgresql://', 'sqlite:x', 'FILE:x'],
  [
    'logLevel',
    'must be one of fatal, error, warn, info, debug, trace, silent',
    ...['verbose', 'INFO', 'info,debug', 'constructor']
  ],
  [
    'trustProxy',
    PROXIES,
    'true',
    'on',
    '1',
    '2',
    'loopback',
    'proxy.example',
    '10.0.0.0/33',
    '::/129',
    '10.0.0.1,,::1'
  ],
  ['trustProxy', PROXIES, '10.0.0.0/8/9', '10.0.0.0/', '10.0.0/8', '10.0.0.0/255.0.0.0', '10.0.0.1:80', '[::1]', '*'],
  ['trustProxy', PROXIES, '0.0.0.0/0', '::/0', '10.0.0.1,::/0', '10.0.0.0/00'],
  ['corsOrigins', ORIGINS, '*', 'null', 'app.example', 'https://app.example/', 'https://app.example/x', 'on'],
  ['corsOrigins', ORIGINS, 'https://*.example', 'https://App.example', 'https://u:p@app.example', 'https://a.example,'],
  ['loginRate', RATE, '20', '0/minute', '20/fortnight', '20/', '-1/m', '20 / minute', 'none', '99999999/m', '2/M'],
  [
    'passwordHashers',
    oneOrMoreOf('bcrypt_sha256, pbkdf2_sha256, pbkdf2_sha1, argon2, scrypt, bcrypt, md5'),
    ...['sha1', 'none', 'md5,md5', 'md5,,argon2', 'md5;argon2']
  ],
  ['bcryptRounds', 'must be a whole number from 4 to 20', '3', '21', '1e1'],
  ['passwordMinLength', 'must be a whole number from 1 to 128', '0', '129', 'x'],
  [
    'passwordBreachedUrl',
    'must be a URL that ends with /, such as https://api.pwnedpasswords.com/range/',
    ...['on', 'api.example/range/', 'https://api.example/range', 'https://a.example/?x=/', 'https://u:p@a.example/']
  ],
  ['passwordTrim', FLAG, 'maybe', '2', 'constructor', 'y'],
  ['loginField', 'must be one of username, email', 'Email', 'id'],
  [
    'authenticationBackends',
    oneOrMoreOf('ModelBackend, AllowAllUsersModelBackend'),
    ...['django.contrib.auth.backends.ModelBackend', 'none', 'ModelBackend,ModelBackend']
  ],
  ['mailUrl', 'must be a URL such as smtp://user:password@host:587', 'http://mail', 'mail.example', 'smtp://a b'],
  ['mailFrom', 'must be an e-mail address', 'nobody', 'a@b.c\nBcc: x@y.z'],
  ['accountsSiteName', 'must be one line of at most 100 characters', 'a\nb', 'x'.repeat(101)],
  ['accountsSiteUrl', 'must be a URL such as https://app.example.com', 'app.example', 'https://a.example?x', 'ftp://a'],
  ['accountsActivationUrl', LINK, 'activate/{uid}', 'activate/{token}/{uid}', 'a b/{uid}/{token}'],
  ['accountsPasswordResetUrl', LINK, 'reset'],
  ['accountsUsernameResetUrl', LINK, '{uid}'],
  ['accountsSendActivationEmail', FLAG, 'maybe'],
  ['accountsEmailChangePassword', FLAG, 'maybe'],
  ['accountsEmailsPerHour', 'must be a whole number from 1 to 1000', '0', '1001', '1.5'],
  [
    'accountsEmailDelay',
    'must be a duration from 0 to 1m, such as 30s, 5m, 12h, 1d or a number of seconds',
    '61s',
    '-1',
    'x'
  ],
  ['accountsSendConfirmationEmail', FLAG, 'maybe'],
  ['accountsPasswordChangedEmailConfirmation', FLAG, 'maybe'],
  ['accountsUsernameChangedEmailConfirmation', FLAG, 'maybe'],
  ['accountsLogoutOnPasswordChange', FLAG, 'maybe'],
  ['accountsHideUsers', FLAG, 'maybe'],
  ['accountsRegistration', FLAG, 'maybe'],
  ['accountsPasswordRetype', FLAG, 'maybe'],
  ['accountsUsernameRetype', FLAG, 'maybe'],
  ['accountsShowEmailNotFound', FLAG, 'maybe'],
  ['passwordResetTimeout', between('1m'), '59s', 'never'],
  ['authenticationSchemes', oneOrMoreOf('jwt, basic, token, session'), 'JWT', 'jwt,jwt', 'none'],
  ['secretKey', 'must have at least 32 bytes; generate one with `latchkey generatekey`', 'hunter2'],
  [
    'secretKeyFallbacks',
    'secret 2 must have at least 32 bytes; generate one with `latchkey generatekey`',
    `${GOOD_KEY},hunter2`
  ],
  ['sessionCookieAge', between('1m'), '59s', 'for ever'],
  ['csrfCookieName', COOKIE, 'a b', 'a=b'],
  ['sessionCookieName', COOKIE, 'a b', 'a=b', 'a;b', 'é'],
  ['csrfTrustedOrigins', TRUSTED, '*', 'https://*', '*.example.com', 'app.example', 'https://app.example/x', 'null'],
  ['csrfTrustedOrigins', TRUSTED, 'ftp://app.example', 'https://a.*.example', 'https://App.example', '://*.x'],
  ['signingKey', 'must have at least 32 bytes; generate one with `latchkey generatekey`', 'hunter2', GOOD_KEY.slice(1)],
  [
    'signingKey',
    'is predictable; generate one with `latchkey generatekey`',
    ...['x'.repeat(64), 'secret'.repeat(8), '123456789'.repeat(5)]
  ],
  [
    'signingKey',
    'is a PEM or SSH key, but must be a secret',
    ...[`-----BEGIN PUBLIC KEY-----\n${GOOD_KEY}`, `junk\n-----BEGIN RSA PRIVATE KEY-----\n${GOOD_KEY}`],
    `ssh-ed25519 ${GOOD_KEY}`
  ],
  [
    'algorithm',
    'must be one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA',
    'none',
    'hs256',
    'ES256K',
    'HS256,HS512',
    'RS1'
  ],
  ['jwkUrl', 'must be a URL that begins with https:// or http://', 'ftp://keys.example', 'keys.json', 'file:x'],
  ['keyEncryptionKey', 'must have at least 32 bytes; generate one with `latchkey generatekey`', 'hunter2'],
  ['keyRotationAge', 'requires JWT_KEY_ENCRYPTION_KEY: only keys in the database rotate', '30d'],
  ['keyRotationAge', between('1h'), '59m', '1y', 'never'],
  ['verifyingKey', 'cannot be used with HS256, which has one key for signing and verifying', GOOD_KEY],
  [
    'signingKeyFallbacks',
    'key 2 must have at least 32 bytes; generate one with `latchkey generatekey`',
    `${GOOD_KEY},hunter2`
  ],
  ['signingKeyFallbacks', 'key 1 must be a public key in PEM for ES256', `ES256:${GOOD_KEY}`],
  ['accessTokenLifetime', between('1s'), '0', '5 minutes', '-5m', '1.5h', '11000d', 'off'],
  ['refreshTokenLifetime', between('1s'), '0s', 'forever', '3651d'],
  ['leeway', between('0', '1h'), '3601', '61m', '-1'],
  ['rotateRefreshTokens', FLAG, 'perhaps'],
  ['blacklistAfterRotation', FLAG, 'nope'],
  ['refreshStore', 'must be one of session, blacklist, none', 'off', 'redis', 'Blacklist'],
  ['rotationGrace', between('0', '1h'), '3601', '61m', '-1', '500ms'],
  ['sessionMaxAge', between('1m'), '59', '30s', 'forever'],
  ['sessionLimit', 'must be a whole number from 1 to 1000', '0', '1001', '1.5', 'many'],
  ['revocationPoll', between('50ms', '1m'), '49ms', '61', '0', 'often'],
  ['revocationMaxLag', between('1s'), '0', '-1', 'soon'],
  ['refreshCookieName', COOKIE, 'a b', 'a=b', 'a;b', 'é', 'x'.repeat(65)],
  ['accessCookieName', COOKIE, 'a b', 'a=b', 'a;b'],
  ['cookieSamesite', 'must be one of strict, lax, none', 'Strict', 'off'],
  ['cookieOrigins', ORIGINS, 'app.example.com', 'https://app.example.com/', 'https://*.example.com', '*'],
  ['stateless', FLAG, 'sometimes'],
  ['updateLastLogin', FLAG, '-'],
  ['audience', AUDIENCE, 'a,,b', ','],
  [
    'authHeaderTypes',
    'must be a comma-separated list of scheme names such as Bearer',
    'none',
    'Bearer,',
    'Bea rer',
    'Bearer;JWT',
    'é'
  ],
  [
    'authHeaderName',
    'must be the name of a header in WSGI form, such as HTTP_X_ACCESS_TOKEN',
    'Authorization',
    'HTTP_',
    'HTTP_A__B'
  ],
  ['userIdField', 'must be one of id, username', 'pk', 'email', 'password'],
  ['userIdClaim', CLAIM, 'user id', 'é', 'a'.repeat(65), '{}'],
  ['tokenTypeClaim', `${CLAIM}, or none`, 'token type'],
  ['jtiClaim', `${CLAIM}, or none`, 'j\nti', '"'],
  ['slidingTokenRefreshExpClaim', CLAIM, 'refresh exp'],
  ['slidingTokenLifetime', between('1s'), '0', 'soon'],
  ['slidingTokenRefreshLifetime', between('1s'), '0', 'soon'],
  ['revokeTokenClaim', CLAIM, 'hash password'],
  ['authTokenClasses', oneOrMoreOf('AccessToken, SlidingToken'), 'RefreshToken', 'none', 'access'],
  ['checkRevokeToken', FLAG, '10'],
  ['checkUserIsActive', FLAG, '00']
]

t.test('an invalid value is reported with the name of the setting and without the value', async (t) => {
  for (const [name, fault, ...texts] of WRONG) {
    for (const text of texts) {
      const variable = environmentName(name)
      t.strictSame(
        faultsOf(() => loadEnvironment({ [variable]: text })),
        [`${variable}: ${fault}`],
        `${variable}=${text}`
      )
      t.strictSame(
        faultsOf(() => loadSettings({ [name]: text })),
        [`${name}: ${fault}`],
        `${name}: '${text}'`
      )
    }
  }
})

t.test('an option of the wrong type is reported', async (t) => {
  const wrong: [name: SettingName, fault: string, ...values: unknown[]][] = [
    ['port', 'must be a whole number from 0 to 65535', 70_000, 80.5, Number.NaN, null, true, [80], {}],
    ['host', TEXT, 1, null, ''],
    ['databaseUrl', DATABASE, new URL('file:///x'), null],
    ['trustProxy', PROXIES, true, 1, 2, () => true, [true], [['::1']], null],
    ['corsOrigins', ORIGINS, true, /./, ['*'], [null]],
    ['passwordMinLength', 'must be a whole number from 1 to 128', '0', '129', 'x'],
    ['passwordTrim', FLAG, 1, null, 'null'],
    ['signingKey', TEXT, Buffer.from(GOOD_KEY), 1, ['a'], ''],
    ['accessTokenLifetime', between('1s'), 0, -1, 1.5, Number.POSITIVE_INFINITY, '', 5n],
    ['audience', AUDIENCE, 1, [''], [1], { aud: 'x' }],
    ['audience', 'must contain at least one audience', []],
    ['issuer', TEXT, '', ['a'], /./]
  ]
  for (const [name, fault, ...values] of wrong) {
    for (const value of values) {
      t.strictSame(
        faultsOf(() => loadSettings({ [name]: value })),
        [`${name}: ${fault}`],
        `${name}: ${typeof value}`
      )
    }
  }
})

t.test('all invalid settings are reported at once, and no message contains a value', async (t) => {
  const values = Object.fromEntries(WRONG.map(([name, , text]) => [environmentName(name), `${text}`]))
  const error = errorOf(() => loadEnvironment({ ...values, JWT_SIGNING_KEY: 'hunter2-is-short' }))

  const named = error.faults.map((fault) => fault.split(':', 1)[0])
  t.strictSame(named.toSorted(), Object.keys(values).toSorted())
  t.equal(error.message, error.faults.join('\n'))
  t.notMatch(error.message, 'hunter2')
  t.notMatch(`${error.stack}`, 'hunter2')
})

t.test('an unknown variable whose name begins with JWT_ is reported', async (t) => {
  const error = errorOf(() => loadEnvironment({ JWT_SECRET: 'hunter2', JWT_: 'x', JWT_PORT: '80', jwt_lower: 'x' }))
  t.strictSame(error.faults, ['JWT_SECRET: unknown setting', 'JWT_: unknown setting', 'JWT_PORT: unknown setting'])
})

t.test('a setting that SimpleJWT has removed is reported with its replacement', async (t) => {
  const error = errorOf(() => loadEnvironment({ JWT_AUTH_TOKEN_CLASS: 'x', JWT_SECRET_KEY: 'hunter2' }))
  t.strictSame(error.faults, [
    'JWT_AUTH_TOKEN_CLASS: was removed from SimpleJWT; use JWT_AUTH_TOKEN_CLASSES',
    'JWT_SECRET_KEY: was removed from SimpleJWT; use JWT_SIGNING_KEY'
  ])
})

t.test('an unknown option is reported', async (t) => {
  const unknown = { acessTokenLifetime: 5, constructor: 'x', toString: () => 'x', HOST: 'x', JWT_ISSUER: 'x' }
  t.strictSame(
    faultsOf(() => loadSettings(unknown as SettingsInput)),
    Object.keys(unknown).map((name) => `${name}: unknown setting`)
  )
  const leftOut = { acessTokenLifetime: undefined } as SettingsInput
  t.strictSame(loadSettings(leftOut), loadSettings({}), 'undefined counts as not set')
})

t.test('PostgreSQL requires a signing key, SQLite does not', async (t) => {
  const fault =
    'JWT_SIGNING_KEY: is required with PostgreSQL; generate one with `latchkey generatekey`, or set JWT_KEY_ENCRYPTION_KEY'
  for (const url of ['postgresql://user:hunter2@db/latchkey', 'postgres://db/latchkey']) {
    t.strictSame(
      faultsOf(() => loadEnvironment({ DATABASE_URL: url })),
      [fault]
    )
    t.doesNotThrow(() => loadEnvironment({ DATABASE_URL: url, JWT_SIGNING_KEY: GOOD_KEY }))
  }
  t.doesNotThrow(() => loadEnvironment({ DATABASE_URL: 'file:x' }))
})

t.test('the minimum length of a secret is in bytes', async (t) => {
  const letters = 'àáâãäåæçèéêëìíîï'
  t.doesNotThrow(() => loadSettings({ signingKey: letters }), '16 letters, 32 bytes')
  t.throws(() => loadSettings({ signingKey: letters.slice(1) }), /at least 32 bytes/)
})

t.test('tokens without an id require JWT_REFRESH_STORE=none', async (t) => {
  const fault = 'JWT_JTI_CLAIM: can be none only with JWT_REFRESH_STORE=none: refresh tokens are stored by their id'
  t.strictSame(
    faultsOf(() => loadEnvironment({ JWT_JTI_CLAIM: 'none' })),
    [fault]
  )
  t.equal(loadEnvironment({ JWT_JTI_CLAIM: 'none', JWT_REFRESH_STORE: 'none' }).jtiClaim, null)
})

t.test('claims with equal names are reported', async (t) => {
  const colliding: SettingsInput[] = [
    { userIdClaim: 'jti' },
    { userIdClaim: 'token_type' },
    { jtiClaim: 'token_type' },
    { tokenTypeClaim: 'x', jtiClaim: 'x' },
    { jtiClaim: 'id', userIdClaim: 'jti' },
    { revokeTokenClaim: 'user_id' },
    { revokeTokenClaim: 'exp' },
    { slidingTokenRefreshExpClaim: 'exp' },
    { userIdClaim: 'jti', jtiClaim: null, refreshStore: 'none' },
    ...['exp', 'iat', 'nbf', 'aud', 'iss'].flatMap((name) => [
      { userIdClaim: name },
      { jtiClaim: name },
      { tokenTypeClaim: name }
    ])
  ]
  for (const claims of colliding) {
    t.strictSame(
      faultsOf(() => loadSettings(claims)),
      [`jtiClaim: ${COLLISION}`],
      JSON.stringify(claims)
    )
  }
  t.doesNotThrow(() => loadSettings({ userIdClaim: 'sub', jtiClaim: 'id', tokenTypeClaim: 'kind' }))
})

function errorOf(load: () => unknown): ImproperlyConfigured {
  try {
    load()
  } catch (error) {
    if (error instanceof ImproperlyConfigured) return error
    throw error
  }
  throw new Error('nothing was reported')
}

function faultsOf(load: () => unknown): readonly string[] {
  try {
    return errorOf(load).faults
  } catch (error) {
    return [String(error)]
  }
}

/** The settings of tokens, among them all of SimpleJWT's. Their environment variables begin with `JWT_`. */
import { ALGORITHMS } from '../crypto/jwa.ts'
import {
  CLAIM_NAME,
  COOKIE_NAME,
  duration,
  flag,
  list,
  listOf,
  ORIGINS,
  oneOf,
  optionalClaim,
  optionalDuration,
  optionalInteger,
  optionalText,
  optionalTextOrList,
  shortDuration,
  text
} from './fields.ts'

export const keySettings = {
  signingKey: optionalText(
    'Key that signs tokens: an HMAC secret of at least 32 bytes, or a private key in PEM; or `file:PATH`. Default with SQLite and an HMAC algorithm: a secret that is generated and stored beside the database. Otherwise required, unless `JWT_KEY_ENCRYPTION_KEY` is set.'
  ),
  algorithm: oneOf(ALGORITHMS, 'HS256', 'Signature algorithm of new tokens. It determines the kind of key.'),
  verifyingKey: optionalText(
    'Public key in PEM that belongs to `JWT_SIGNING_KEY`, or `file:PATH`. Default: derived from it.'
  ),
  signingKeyFallbacks: list(
    [],
    'Previous keys, which verify tokens but do not sign (key rotation). Each is a key or `file:PATH`, with its algorithm in front if that differs: `ES256:file:old.pem`.',
    'a comma-separated list of keys'
  ),
  keyEncryptionKey: optionalText(
    'Secret that encrypts signing keys in the database, which Latchkey then generates and rotates. At least 32 bytes, or `file:PATH`. Default: no keys in the database; `JWT_SIGNING_KEY` signs.'
  ),
  keyRotationAge: optionalDuration(
    'Age at which the signing key in the database is replaced by the next one (key rotation). Default: only `latchkey keys rotate` replaces it.',
    { minimum: 3600 }
  ),
  jwkUrl: optionalText(
    'URL of the public keys (JWKS) of another service, whose access tokens are accepted as well; `https://`, except on this machine. Requires `JWT_ISSUER` and `JWT_AUDIENCE`. The user ids in these tokens never name users of the database. Default: only tokens of this service are accepted.',
    { pattern: '^https?://', expects: 'a URL that begins with https:// or http://' }
  )
}

export const tokenSettings = {
  accessTokenLifetime: duration('5m', 'Lifetime of an access token.', { minimum: 1 }),
  stateless: flag(
    true,
    "Whether access tokens are accepted without a database query. `request.user` then has the claims only. `off`: the user's row is read on each request."
  ),
  audience: optionalTextOrList(
    'Audience: `aud` claim of new tokens, one text or a list. A token is valid only if its `aud` has one of them. Default: no claim, no check.'
  ),
  issuer: optionalText(
    'Issuer: `iss` claim of new tokens. A token is valid only if its `iss` is the same. Default: no claim, no check.'
  ),
  leeway: duration('0', 'Clock skew tolerated when `exp`, `nbf` and `iat` are checked.', { maximum: 3600 }),
  slidingTokenLifetime: duration('5m', 'Lifetime of a sliding token until it must be refreshed.', { minimum: 1 }),
  slidingTokenRefreshLifetime: duration('1d', 'Time after the login in which a sliding token can be refreshed.', {
    minimum: 1
  })
}

export const refreshSettings = {
  refreshTokenLifetime: duration(
    '1d',
    'Lifetime of a refresh token. A login session that is not refreshed for this long expires.',
    { minimum: 1 }
  ),
  rotateRefreshTokens: flag(
    true,
    'Whether a refresh also returns a new refresh token, which replaces the old one. SimpleJWT: `off`.'
  ),
  blacklistAfterRotation: flag(
    true,
    'Whether a rotated refresh token is blacklisted, with `JWT_REFRESH_STORE=blacklist`. With login sessions it is always revoked. SimpleJWT: `off`.'
  ),
  refreshStore: oneOf(
    ['session', 'blacklist', 'none'],
    'session',
    "Storage of refresh tokens. `session`: a row for each login, with reuse detection and revocation of access tokens; `blacklist`: SimpleJWT's two tables, for a Django on the same database; `none`: no storage and no revocation."
  ),
  rotationGrace: duration(
    '30s',
    'Grace period in which a rotated refresh token returns the same successor again. Retries and parallel refreshes therefore succeed. After it, the rotated token gets a successor that replaces the current one, whose use then ends the login session. `0`: a second use ends the login session (reuse detection).',
    { maximum: 3600 }
  ),
  sessionMaxAge: duration('90d', 'Maximum age of a login session, however often it is refreshed.', { minimum: 60 }),
  sessionLimit: optionalInteger(
    "Maximum number of a user's login sessions; a further login ends the oldest. Default: no limit.",
    { minimum: 1, maximum: 1000 }
  ),
  revocationPoll: shortDuration(
    '500ms',
    'Interval at which each process reads new revocations. On PostgreSQL, notifications usually arrive earlier.',
    { minimum: 0.05, maximum: 60 }
  ),
  revocationMaxLag: duration(
    '10s',
    'Time without reading revocations after which `/health/ready` fails. Requests are still served.',
    { minimum: 1 }
  )
}

export const cookieSettings = {
  refreshCookieName: text('__Host-refresh', 'Name of the cookie with the refresh token in cookie mode.', COOKIE_NAME),
  accessCookieName: optionalText(
    'Name of a cookie with the access token in cookie mode, for pages rendered by a server. Default: no such cookie.',
    COOKIE_NAME
  ),
  cookieSamesite: oneOf(
    ['strict', 'lax', 'none'],
    'strict',
    '`SameSite` attribute of these cookies. `none` is needed if page and API are on different sites.'
  ),
  cookieOrigins: list(
    [],
    'Other origins whose pages may use cookie mode (CORS with credentials). Their logins return cookies even without the header `X-Latchkey-Mode`. Default: none.',
    ORIGINS
  )
}

/** SimpleJWT's settings that adapt tokens to existing clients and services. */
export const compatibilitySettings = {
  authHeaderTypes: list(
    ['Bearer'],
    'Case-insensitive schemes accepted in the `Authorization` header. The first one is in `WWW-Authenticate`.',
    'a comma-separated list of scheme names such as Bearer',
    { minItems: 1 }
  ),
  authHeaderName: text(
    'HTTP_AUTHORIZATION',
    'Request header with the access token, in WSGI form: `HTTP_X_ACCESS_TOKEN` is `X-Access-Token`.',
    {
      pattern: '^HTTP_[A-Z0-9]+(_[A-Z0-9]+)*$',
      expects: 'the name of a header in WSGI form, such as HTTP_X_ACCESS_TOKEN'
    }
  ),
  authTokenClasses: listOf(['AccessToken', 'SlidingToken'], ['AccessToken'], 'Kinds of tokens that routes accept.'),
  userIdField: oneOf(['id', 'username'], 'id', 'Field of the user that tokens contain as user id.'),
  userIdClaim: text('user_id', 'Claim with the user id.', CLAIM_NAME),
  tokenTypeClaim: optionalClaim(
    'token_type',
    'Claim with the kind of a token. `none`: no such claim, so that the kinds are not distinguished.'
  ),
  jtiClaim: optionalClaim(
    'jti',
    'Claim with the unique id of a token. `none`: no such claim, which requires `JWT_REFRESH_STORE=none`.'
  ),
  slidingTokenRefreshExpClaim: text(
    'refresh_exp',
    'Claim with the time until which a sliding token can be refreshed.',
    CLAIM_NAME
  ),
  checkRevokeToken: flag(
    false,
    'Whether tokens contain a fingerprint of the password and become invalid when it changes. Checked at refresh, and by routes with `JWT_STATELESS=off`.'
  ),
  revokeTokenClaim: text(
    'hash_password',
    'Claim with the fingerprint of the password, if `JWT_CHECK_REVOKE_TOKEN` is on.',
    CLAIM_NAME
  ),
  checkUserIsActive: flag(
    true,
    'Whether tokens of inactive users are rejected. Checked at refresh, and by routes with `JWT_STATELESS=off`.'
  ),
  updateLastLogin: flag(false, "Whether a login for tokens updates the user's `last_login`.")
}

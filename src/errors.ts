/**
 * The errors of the API: DRF's APIException classes and SimpleJWT's, with their texts.
 *
 * They do not depend on Fastify: it uses `statusCode` and `headers` of any error that a handler throws.
 */

/** The body of an error response: DRF's `{"detail": …}`, messages by field, or a list of messages. */
export type ErrorBody = Record<string, unknown> | unknown[]

interface AuthErrorClass {
  readonly statusCode: number
  readonly code: string
  readonly detail: string
}

/**
 * The base class, DRF's APIException. A subclass overrides the three static properties, which are the defaults of its
 * instances. The body is `{"detail": message}` unless the constructor sets another one.
 */
export class AuthError extends Error {
  static statusCode = 500
  static code = 'error'
  static detail = 'A server error occurred.'

  /** Mutable: as in DRF, a 401 becomes a 403 if no authentication scheme has a challenge. */
  statusCode: number
  readonly code: string
  /** Headers of the response, such as `www-authenticate` or `retry-after`; names in lower case. */
  readonly headers: Record<string, string> = {}
  body: ErrorBody

  constructor(detail?: string, options?: ErrorOptions) {
    const kind = new.target as unknown as AuthErrorClass
    super(detail ?? kind.detail, options)
    this.name = new.target.name
    this.statusCode = kind.statusCode
    this.code = kind.code
    this.body = { detail: this.message }
  }
}

/** 400: invalid input. The body has DRF's messages by field, or a list of messages. */
export class ValidationError extends AuthError {
  static override statusCode = 400
  static override code = 'invalid'
  static override detail = 'Invalid input.'

  constructor(messages: Record<string, string[]> | string[]) {
    super()
    this.body = messages
  }
}

/** 400: the body of the request cannot be parsed. */
export class ParseError extends AuthError {
  static override statusCode = 400
  static override code = 'parse_error'
  static override detail = 'Malformed request.'
}

/** 401: the request has credentials, but they are invalid. */
export class AuthenticationFailed extends AuthError {
  static override statusCode = 401
  static override code = 'authentication_failed'
  static override detail = 'Incorrect authentication credentials.'
}

/** SimpleJWT's AuthenticationFailed: the body also has the `code`, and optionally more members. */
export class CodedAuthenticationFailed extends AuthenticationFailed {
  constructor(detail?: string, extra: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(detail, options)
    this.body = { detail: this.message, code: this.code, ...extra }
  }
}

/** The token is malformed, expired, revoked, of the wrong type, or has an invalid signature. */
export class InvalidToken extends CodedAuthenticationFailed {
  static override code = 'token_not_valid'
  static override detail = 'Token is invalid'
}

export class BadAuthorizationHeader extends CodedAuthenticationFailed {
  static override code = 'bad_authorization_header'
  static override detail = 'Authorization header must contain two space-delimited values'
}

export class UserNotFound extends CodedAuthenticationFailed {
  static override code = 'user_not_found'
  static override detail = 'User not found'
}

export class UserInactive extends CodedAuthenticationFailed {
  static override code = 'user_inactive'
  static override detail = 'User is inactive'
}

export class PasswordChanged extends CodedAuthenticationFailed {
  static override code = 'password_changed'
  static override detail = "The user's password has been changed."
}

/** 401: the request has no credentials, but they are required. */
export class NotAuthenticated extends AuthError {
  static override statusCode = 401
  static override code = 'not_authenticated'
  static override detail = 'Authentication credentials were not provided.'
}

export class PermissionDenied extends AuthError {
  static override statusCode = 403
  static override code = 'permission_denied'
  static override detail = 'You do not have permission to perform this action.'
}

export class NotFound extends AuthError {
  static override statusCode = 404
  static override code = 'not_found'
  static override detail = 'Not found.'
}

export class MethodNotAllowed extends AuthError {
  static override statusCode = 405
  static override code = 'method_not_allowed'

  constructor(method: string) {
    super(`Method "${method}" not allowed.`)
  }
}

export class NotAcceptable extends AuthError {
  static override statusCode = 406
  static override code = 'not_acceptable'
  static override detail = 'Could not satisfy the request Accept header.'
}

export class UnsupportedMediaType extends AuthError {
  static override statusCode = 415
  static override code = 'unsupported_media_type'

  constructor(mediaType: string) {
    super(`Unsupported media type "${mediaType}" in request.`)
  }
}

export class Throttled extends AuthError {
  static override statusCode = 429
  static override code = 'throttled'
  static override detail = 'Request was throttled.'

  /** @param wait whole seconds until the next request is allowed */
  constructor(wait: number) {
    super(`Request was throttled. Expected available in ${wait} second${wait === 1 ? '' : 's'}.`)
    this.headers['retry-after'] = String(wait)
  }
}

/** 503: a dependency, such as the database, is down or overloaded. The client may retry after `Retry-After`. */
export class ServiceUnavailable extends AuthError {
  static override statusCode = 503
  static override code = 'service_unavailable'
  static override detail = 'Service temporarily unavailable, try again later.'

  constructor(detail?: string, options?: ErrorOptions) {
    super(detail, options)
    this.headers['retry-after'] = '5'
  }
}

/** Django's ImproperlyConfigured: invalid settings, or a database that cannot be used. */
export class ImproperlyConfigured extends Error {
  /** One line for each fault, without the values of settings, which may be secret. */
  readonly faults: readonly string[]

  constructor(faults: readonly string[], options?: ErrorOptions) {
    super(faults.join('\n'), options)
    this.name = 'ImproperlyConfigured'
    this.faults = faults
  }
}

/**
 * What can go wrong on purpose: DRF's API exceptions and SimpleJWT's token errors, as classes.
 *
 * Fastify honours `statusCode`, `code` and `headers` of whatever is thrown, so these need no framework.
 */

/** What an error answers with: DRF's `{"detail": …}`, or field messages. */
export type ErrorBody = Record<string, unknown> | unknown[]

interface AuthErrorClass {
  readonly statusCode: number
  readonly code: string
  readonly detail: string
}

/** The base of every refusal. A new kind sets the three statics; its body is `{"detail"}` unless it says otherwise. */
export class AuthError extends Error {
  static statusCode = 500
  static code = 'error'
  static detail = 'A server error occurred.'

  /** Not final: where no scheme challenges, a 401 becomes a 403. */
  statusCode: number
  readonly code: string
  /** Headers of the answer, such as `WWW-Authenticate` or `Retry-After`; names in lower case. */
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

/** Bad input: messages by field as DRF writes them, or a list of them. */
export class ValidationError extends AuthError {
  static override statusCode = 400
  static override code = 'invalid'
  static override detail = 'Invalid input.'

  constructor(messages: Record<string, string[]> | string[]) {
    super()
    this.body = messages
  }
}

export class ParseError extends AuthError {
  static override statusCode = 400
  static override code = 'parse_error'
  static override detail = 'Malformed request.'
}

/** Credentials were given and are wrong. */
export class AuthenticationFailed extends AuthError {
  static override statusCode = 401
  static override code = 'authentication_failed'
  static override detail = 'Incorrect authentication credentials.'
}

/** SimpleJWT's flavour of AuthenticationFailed, whose body also carries the code. */
export class CodedAuthenticationFailed extends AuthenticationFailed {
  constructor(detail?: string, extra: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(detail, options)
    this.body = { detail: this.message, code: this.code, ...extra }
  }
}

/** Whatever is wrong with a token. */
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

/** No credentials were given where some are needed. */
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

  /** @param wait whole seconds until the next request is welcome */
  constructor(wait: number) {
    super(`Request was throttled. Expected available in ${wait} second${wait === 1 ? '' : 's'}.`)
    this.headers['retry-after'] = String(wait)
  }
}

/** Something that Latchkey depends on is down or full: try again, nothing was done. */
export class ServiceUnavailable extends AuthError {
  static override statusCode = 503
  static override code = 'service_unavailable'
  static override detail = 'Service temporarily unavailable, try again later.'

  constructor(detail?: string, options?: ErrorOptions) {
    super(detail, options)
    this.headers['retry-after'] = '5'
  }
}

/** Settings that cannot work, all of them at once. Never shows a value, which may be a secret. */
export class ImproperlyConfigured extends Error {
  readonly faults: readonly string[]

  constructor(faults: readonly string[], options?: ErrorOptions) {
    super(faults.join('\n'), options)
    this.name = 'ImproperlyConfigured'
    this.faults = faults
  }
}

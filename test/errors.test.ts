/** Status, code, body and headers of the error classes, as in DRF and SimpleJWT. */
import t from 'tap'
import { DatabaseUnavailable } from '../src/database/errors.ts'
import { UnsupportedContentEncoding } from '../src/drf/parsers.ts'
import * as errors from '../src/errors.ts'
import { HashingOverloaded } from '../src/passwords/queue.ts'

const {
  AuthError,
  AuthenticationFailed,
  BadAuthorizationHeader,
  CodedAuthenticationFailed,
  ImproperlyConfigured,
  InvalidToken,
  MethodNotAllowed,
  NotAcceptable,
  NotAuthenticated,
  NotFound,
  ParseError,
  PasswordChanged,
  PermissionDenied,
  ServiceUnavailable,
  Throttled,
  UnsupportedMediaType,
  UserInactive,
  UserNotFound,
  ValidationError
} = errors

type Kind = new () => errors.AuthError

const WITH_DETAIL: [kind: Kind, statusCode: number, code: string, detail: string][] = [
  [AuthError, 500, 'error', 'A server error occurred.'],
  [ParseError, 400, 'parse_error', 'Malformed request.'],
  [AuthenticationFailed, 401, 'authentication_failed', 'Incorrect authentication credentials.'],
  [NotAuthenticated, 401, 'not_authenticated', 'Authentication credentials were not provided.'],
  [PermissionDenied, 403, 'permission_denied', 'You do not have permission to perform this action.'],
  [NotFound, 404, 'not_found', 'Not found.'],
  [NotAcceptable, 406, 'not_acceptable', 'Could not satisfy the request Accept header.']
]

t.test("errors have DRF's status, code and detail", async (t) => {
  for (const [Kind, statusCode, code, detail] of WITH_DETAIL) {
    const error = new Kind()
    t.match(error, { statusCode, code, message: detail, name: Kind.name })
    t.strictSame(error.body, { detail })
    t.strictSame(error.headers, {})
    t.ok(error instanceof AuthError && error instanceof Error)
  }
})

t.test('errors accept a custom detail and a cause', async (t) => {
  const cause = new Error('why')
  for (const [Kind] of WITH_DETAIL) {
    const error = new (Kind as new (detail: string, options: ErrorOptions) => errors.AuthError)('Mine.', { cause })
    t.equal(error.message, 'Mine.')
    t.strictSame(error.body, { detail: 'Mine.' })
    t.equal(error.cause, cause)
  }
})

const WITH_CODE: [kind: Kind, code: string, detail: string][] = [
  [CodedAuthenticationFailed, 'authentication_failed', 'Incorrect authentication credentials.'],
  [InvalidToken, 'token_not_valid', 'Token is invalid'],
  [BadAuthorizationHeader, 'bad_authorization_header', 'Authorization header must contain two space-delimited values'],
  [UserNotFound, 'user_not_found', 'User not found'],
  [UserInactive, 'user_inactive', 'User is inactive'],
  [PasswordChanged, 'password_changed', "The user's password has been changed."]
]

t.test("SimpleJWT's errors have status 401 and detail and code in the body", async (t) => {
  for (const [Kind, code, detail] of WITH_CODE) {
    const error = new Kind()
    t.match(error, { statusCode: 401, code, message: detail, name: Kind.name })
    t.equal(JSON.stringify(error.body), JSON.stringify({ detail, code }))
    t.ok(error instanceof AuthenticationFailed)
  }
})

t.test('InvalidToken can have additional fields, and its cause is not in the body', async (t) => {
  const cause = new Error('secret')
  const error = new InvalidToken('Given token not valid', { messages: [{ token_type: 'access' }] }, { cause })
  t.equal(
    JSON.stringify(error.body),
    '{"detail":"Given token not valid","code":"token_not_valid","messages":[{"token_type":"access"}]}'
  )
  t.equal(error.cause, cause)
})

t.test('ValidationError has messages by field or a list of messages', async (t) => {
  for (const messages of [{ username: ['This field is required.'] }, ['Not so.']]) {
    const error = new ValidationError(messages)
    t.match(error, { statusCode: 400, code: 'invalid', message: 'Invalid input.', name: 'ValidationError' })
    t.strictSame(error.body, messages)
  }
})

t.test('errors for method, media type and encoding name it', async (t) => {
  const refusals: [error: errors.AuthError, statusCode: number, code: string, detail: string][] = [
    [new MethodNotAllowed('PUT'), 405, 'method_not_allowed', 'Method "PUT" not allowed.'],
    [
      new UnsupportedMediaType('a/b; c=d'),
      415,
      'unsupported_media_type',
      'Unsupported media type "a/b; c=d" in request.'
    ],
    [
      new UnsupportedContentEncoding('br'),
      415,
      'unsupported_content_encoding',
      'Unsupported content encoding "br" in request.'
    ]
  ]
  for (const [error, statusCode, code, detail] of refusals) {
    t.match(error, { statusCode, code })
    t.strictSame(error.body, { detail })
  }
})

t.test('Throttled has the waiting time in the detail and in Retry-After', async (t) => {
  const waits: [wait: number, text: string][] = [
    [0, '0 seconds'],
    [1, '1 second'],
    [2, '2 seconds'],
    [86_400, '86400 seconds']
  ]
  for (const [wait, text] of waits) {
    const error = new Throttled(wait)
    t.match(error, { statusCode: 429, code: 'throttled', name: 'Throttled' })
    t.strictSame(error.body, { detail: `Request was throttled. Expected available in ${text}.` })
    t.strictSame(error.headers, { 'retry-after': `${wait}` })
  }
  t.equal(Throttled.detail, 'Request was throttled.')
})

t.test('ServiceUnavailable and its subclasses are a 503 with Retry-After', async (t) => {
  const kinds: [kind: Kind, code: string, seconds: string][] = [
    [ServiceUnavailable, 'service_unavailable', '5'],
    [DatabaseUnavailable, 'database_unavailable', '5'],
    [HashingOverloaded, 'service_unavailable', '1']
  ]
  for (const [Kind, code, seconds] of kinds) {
    const error = new Kind()
    t.match(error, { statusCode: 503, code, name: Kind.name })
    t.strictSame(error.body, { detail: 'Service temporarily unavailable, try again later.' })
    t.strictSame(error.headers, { 'retry-after': seconds })
    t.ok(error instanceof ServiceUnavailable)
  }
})

t.test('subclasses define errors by status, code and detail', async (t) => {
  class Teapot extends AuthError {
    static override statusCode = 418
    static override code = 'teapot'
    static override detail = 'I am a teapot.'
  }
  t.match(new Teapot(), { statusCode: 418, code: 'teapot', name: 'Teapot', message: 'I am a teapot.' })
})

t.test('errors do not share headers and bodies', async (t) => {
  const one = new NotAuthenticated()
  one.headers['www-authenticate'] = 'Bearer'
  t.strictSame(new NotAuthenticated().headers, {})
  t.not(one.body, new NotAuthenticated().body)
})

t.test('ImproperlyConfigured has one line per error and is not an AuthError', async (t) => {
  const cause = new Error('why')
  const error = new ImproperlyConfigured(['PORT: no', 'HOST: no'], { cause })
  t.match(error, { name: 'ImproperlyConfigured', message: 'PORT: no\nHOST: no', faults: ['PORT: no', 'HOST: no'] })
  t.equal(error.cause, cause)
  t.notOk(error instanceof AuthError)
  t.notOk('statusCode' in error)
})

t.test('the tests above cover all exported errors', async (t) => {
  const tested = [...WITH_DETAIL.map(([kind]) => kind), ...WITH_CODE.map(([kind]) => kind)].map(({ name }) => name)
  const others = [
    'ImproperlyConfigured',
    'MethodNotAllowed',
    'ServiceUnavailable',
    'Throttled',
    'UnsupportedMediaType',
    'ValidationError'
  ]
  t.strictSame(Object.keys(errors).toSorted(), [...tested, ...others].toSorted())
})

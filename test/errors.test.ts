/** Every refusal: its status, code, body and headers, as DRF and SimpleJWT have them. */
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

t.test("a refusal has DRF's status, code and detail", async (t) => {
  for (const [Kind, statusCode, code, detail] of WITH_DETAIL) {
    const error = new Kind()
    t.match(error, { statusCode, code, message: detail, name: Kind.name })
    t.strictSame(error.body, { detail })
    t.strictSame(error.headers, {})
    t.ok(error instanceof AuthError && error instanceof Error)
  }
})

t.test('a refusal may have a detail and a cause of its own', async (t) => {
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

t.test("SimpleJWT's refusals are 401, and say their code in the body, after the detail", async (t) => {
  for (const [Kind, code, detail] of WITH_CODE) {
    const error = new Kind()
    t.match(error, { statusCode: 401, code, message: detail, name: Kind.name })
    t.equal(JSON.stringify(error.body), JSON.stringify({ detail, code }))
    t.ok(error instanceof AuthenticationFailed)
  }
})

t.test('an invalid token can say more, and keeps its cause to itself', async (t) => {
  const cause = new Error('secret')
  const error = new InvalidToken('Given token not valid', { messages: [{ token_type: 'access' }] }, { cause })
  t.equal(
    JSON.stringify(error.body),
    '{"detail":"Given token not valid","code":"token_not_valid","messages":[{"token_type":"access"}]}'
  )
  t.equal(error.cause, cause)
})

t.test('bad input answers messages by field, or a list of them', async (t) => {
  for (const messages of [{ username: ['This field is required.'] }, ['Not so.']]) {
    const error = new ValidationError(messages)
    t.match(error, { statusCode: 400, code: 'invalid', message: 'Invalid input.', name: 'ValidationError' })
    t.strictSame(error.body, messages)
  }
})

t.test('a refusal names the method, the media type or the encoding that was not wanted', async (t) => {
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

t.test('who is throttled is told how many seconds to wait', async (t) => {
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

t.test('what is down or full is a 503 that says when to try again', async (t) => {
  const kinds: [kind: Kind, code: string][] = [
    [ServiceUnavailable, 'service_unavailable'],
    [DatabaseUnavailable, 'database_unavailable'],
    [HashingOverloaded, 'service_unavailable']
  ]
  for (const [Kind, code] of kinds) {
    const error = new Kind()
    t.match(error, { statusCode: 503, code, name: Kind.name })
    t.strictSame(error.body, { detail: 'Service temporarily unavailable, try again later.' })
    t.strictSame(error.headers, { 'retry-after': '5' })
    t.ok(error instanceof ServiceUnavailable)
  }
})

t.test('a new kind of refusal is three lines', async (t) => {
  class Teapot extends AuthError {
    static override statusCode = 418
    static override code = 'teapot'
    static override detail = 'I am a teapot.'
  }
  t.match(new Teapot(), { statusCode: 418, code: 'teapot', name: 'Teapot', message: 'I am a teapot.' })
})

t.test('headers and bodies of two errors are two', async (t) => {
  const one = new NotAuthenticated()
  one.headers['www-authenticate'] = 'Bearer'
  t.strictSame(new NotAuthenticated().headers, {})
  t.not(one.body, new NotAuthenticated().body)
})

t.test('faults of the settings are told one a line, and are no answer to a request', async (t) => {
  const cause = new Error('why')
  const error = new ImproperlyConfigured(['PORT: no', 'HOST: no'], { cause })
  t.match(error, { name: 'ImproperlyConfigured', message: 'PORT: no\nHOST: no', faults: ['PORT: no', 'HOST: no'] })
  t.equal(error.cause, cause)
  t.notOk(error instanceof AuthError)
  t.notOk('statusCode' in error)
})

t.test('every kind of error that is exported is in the tests above', async (t) => {
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

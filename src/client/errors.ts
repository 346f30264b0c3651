/** The errors of the client, besides those that `fetch` itself throws. */

/** The server has rejected the login: invalid credentials, a missing field, or too many attempts. */
export class SignInError extends Error {
  /** The HTTP status, such as 400, 401 or 429. */
  readonly status: number
  /** The server's message; empty if there are only messages about fields. */
  readonly detail: string
  /** The server's messages by field, such as `{ username: ['This field is required.'] }`. */
  readonly fields: Record<string, string[]>
  /** `Retry-After` in seconds; null if the response has none. */
  readonly retryAfter: number | null
  /** True if the same credentials may be accepted later (429). */
  readonly retryable: boolean

  constructor(status: number, body: Record<string, unknown>, retryAfter: number | null) {
    const fields = parseFields(body)
    const detail = typeof body.detail === 'string' ? body.detail : (fields.non_field_errors?.join(' ') ?? '')
    super(detail || Object.values(fields).flat().join(' ') || `The server rejected the login with status ${status}.`)
    this.name = 'SignInError'
    this.status = status
    this.detail = detail
    this.fields = fields
    this.retryAfter = retryAfter
    this.retryable = status === 429
  }
}

function parseFields(body: Record<string, unknown>): Record<string, string[]> {
  const lists = Object.entries(body).filter(([, value]) => Array.isArray(value)) as [string, unknown[]][]
  return Object.fromEntries(lists.map(([name, messages]) => [name, messages.map(String)]))
}

/**
 * The user is not logged in, or the login session has ended. For requests that need no login, use the platform's
 * `fetch`.
 */
export class SignedOutError extends Error {
  readonly retryable = false

  constructor() {
    super('Not logged in.')
    this.name = 'SignedOutError'
  }
}

/** There was no usable response. The user remains logged in, and the next call tries again. */
export class NetworkError extends Error {
  /** The HTTP status of the response; null if there was none. */
  readonly status: number | null
  /** `Retry-After` in seconds; null if the response has none. */
  readonly retryAfter: number | null
  /** False if the same request will fail again, such as with a wrong `baseUrl`. */
  readonly retryable: boolean

  constructor(status: number | null, retryAfter: number | null = null, options?: ErrorOptions) {
    super(status === null ? 'The server cannot be reached.' : `Unexpected response with status ${status}.`, options)
    this.name = 'NetworkError'
    this.status = status
    this.retryAfter = retryAfter
    this.retryable = status === null || status < 400 || status === 408 || status === 429 || status >= 500
  }
}

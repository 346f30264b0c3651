/** The errors of the client, besides those that `fetch` itself throws. */

/** The server has refused a request: invalid credentials or input, a missing right, or too many attempts. */
export class ApiError extends Error {
  /** The HTTP status, such as 400, 401 or 429. */
  readonly status: number
  /** The server's message; empty if there are only messages about fields. */
  readonly detail: string
  /** The server's messages by field, such as `{ username: ['This field is required.'] }`. */
  readonly fields: Record<string, string[]>
  /** `Retry-After` in seconds; null if the response has none. */
  readonly retryAfter: number | null
  /** True if the same request may be accepted later (429). */
  readonly retryable: boolean

  constructor(status: number, { detail, fields }: Refusal, retryAfter: number | null) {
    super(detail || Object.values(fields).flat().join(' '))
    this.name = 'ApiError'
    this.status = status
    this.detail = detail
    this.fields = fields
    this.retryAfter = retryAfter
    this.retryable = status === 429
  }
}

/** The messages in an error response of the server. */
export interface Refusal {
  detail: string
  fields: Record<string, string[]>
}

/**
 * Reads the messages of an error response: `detail`, or a list of messages for each field.
 *
 * @returns null for any other body, such as `{"message":"Unauthorized"}`, because it comes from a gateway
 */
export function parseRefusal(body: unknown): Refusal | null {
  const { detail } = (body ?? {}) as { detail?: unknown }
  if (typeof detail === 'string') return { detail, fields: {} }
  const fields = Array.isArray(body) ? [] : Object.entries(body ?? {})
  if (fields.length === 0 || !fields.every(([, value]) => isMessages(value))) return null
  const messages = body as Record<string, string[]>
  return { detail: messages.non_field_errors?.join(' ') ?? '', fields: messages }
}

const isMessages = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length > 0 && value.every((message) => typeof message === 'string')

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

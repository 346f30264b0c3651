/** What a call of the client may fail with, besides what `fetch` itself throws. */

/** The server has refused to sign in: wrong credentials, a field that is missing, or too many attempts. */
export class SignInError extends Error {
  /** The HTTP status: 400, 401, 429 and the like. */
  readonly status: number
  /** What the server says of it all; empty if it speaks of single fields only. */
  readonly detail: string
  /** What the server says of single fields, such as `{ username: ['This field is required.'] }`. */
  readonly fields: Record<string, string[]>
  /** In how many seconds the next attempt is welcome, if the server says so. */
  readonly retryAfter: number | null
  /** True if the same credentials may do later. */
  readonly retryable: boolean

  constructor(status: number, body: Record<string, unknown>, retryAfter: number | null) {
    const fields = fieldsIn(body)
    const detail = typeof body.detail === 'string' ? body.detail : (fields.non_field_errors?.join(' ') ?? '')
    super(detail || Object.values(fields).flat().join(' ') || `The server has refused with ${status}.`)
    this.name = 'SignInError'
    this.status = status
    this.detail = detail
    this.fields = fields
    this.retryAfter = retryAfter
    this.retryable = status === 429
  }
}

function fieldsIn(body: Record<string, unknown>): Record<string, string[]> {
  const lists = Object.entries(body).filter(([, value]) => Array.isArray(value)) as [string, unknown[]][]
  return Object.fromEntries(lists.map(([name, texts]) => [name, texts.map(String)]))
}

/** Nobody is signed in: nobody was, or the session is over. What needs no login goes without the client. */
export class SignedOutError extends Error {
  readonly retryable = false

  constructor() {
    super('Nobody is signed in.')
    this.name = 'SignedOutError'
  }
}

/** No answer of the server that says anything of the session, which goes on: the next call tries again. */
export class NetworkError extends Error {
  /** The HTTP status of what came instead of an answer; null if nothing came. */
  readonly status: number | null
  /** In how many seconds the next attempt is welcome, if the server says so. */
  readonly retryAfter: number | null
  /** False if the server was reached and will not answer otherwise, as with a wrong `baseUrl`. */
  readonly retryable: boolean

  constructor(status: number | null, retryAfter: number | null = null, options?: ErrorOptions) {
    super(status === null ? 'The server cannot be reached.' : `The server is of no help: it says ${status}.`, options)
    this.name = 'NetworkError'
    this.status = status
    this.retryAfter = retryAfter
    this.retryable = status === null || status < 400 || status === 408 || status === 429 || status >= 500
  }
}

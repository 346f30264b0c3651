/** Requests to the server with JSON, and what their responses mean. */
import { ApiError, NetworkError, parseRefusal } from './errors.ts'

export type Fetch = typeof globalThis.fetch

export interface ApiRequest {
  /** Default: POST. */
  method?: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  body?: object
  /** The access token for the `Authorization` header. */
  access?: string
  /** Sends the request in cookie mode. */
  isCookieMode?: boolean
  /** Accepts a new pair in the response (RFC 7240). */
  prefersPair?: boolean
  /** Lets the request outlive its page. */
  keepalive?: boolean
}

export interface ApiResponse {
  status: number
  /** Undefined if the body is not a JSON object or array, or has the format of a gateway's errors (RFC 9457). */
  body: unknown
  /** In seconds. */
  retryAfter: number | null
}

const TIMEOUT_MS = 15_000

/** @throws {NetworkError} */
export async function sendRequest(fetch: Fetch, url: string, request: ApiRequest): Promise<ApiResponse> {
  const { method = 'POST', body, keepalive = false, isCookieMode = false } = request
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(new Error('the server did not respond in time')), TIMEOUT_MS)
  try {
    const response = await fetch(url, {
      method,
      headers: headersOf(request),
      // Another server must not receive tokens and passwords.
      redirect: 'error',
      signal: abort.signal,
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(keepalive && { keepalive }),
      ...(isCookieMode && { credentials: 'include' as const })
    })
    const retryAfter = response.headers.get('Retry-After') ?? ''
    const isProblem = response.headers.get('Content-Type')?.includes('problem+json') ?? false
    const text = await response.text()
    return {
      status: response.status,
      body: isProblem ? undefined : parseJson(text),
      retryAfter: /^\d+$/.test(retryAfter) ? Number(retryAfter) : null
    }
  } catch (cause) {
    throw new NetworkError(null, null, { cause })
  } finally {
    clearTimeout(timer)
  }
}

function headersOf({ body, access, isCookieMode, prefersPair }: ApiRequest): Record<string, string> {
  return {
    Accept: 'application/json',
    ...(body !== undefined && { 'Content-Type': 'application/json' }),
    ...(access !== undefined && { Authorization: `Bearer ${access}` }),
    ...(isCookieMode && { 'X-Latchkey-Mode': 'cookie' }),
    ...(prefersPair && { Prefer: 'return=representation' })
  }
}

/**
 * Returns the body of a successful response, undefined for a 204.
 *
 * @throws {ApiError} if the server has refused the request
 * @throws {NetworkError} if the response is not one of the server's
 */
export function readResponse({ status, body, retryAfter }: ApiResponse): unknown {
  if (status === 204 || (status >= 200 && status < 300 && body !== undefined)) return body
  const refusal = status >= 400 && status < 500 ? parseRefusal(body) : null
  throw refusal === null ? new NetworkError(status, retryAfter) : new ApiError(status, refusal, retryAfter)
}

/** Parses JSON. @returns undefined if the text is not a JSON object or array */
export function parseJson(text: string): object | undefined {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

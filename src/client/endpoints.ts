/** The server's endpoints of tokens, and what their answers mean. */
import { NetworkError, SignInError } from './errors.ts'

export type Mode = 'token' | 'cookie'
export type Fetch = typeof globalThis.fetch

/** Tokens as they have come. Times are of our own clock, in milliseconds; the server's may be another. */
export interface Tokens {
  access: string
  /** Absent in cookie mode, where no script sees it. */
  refresh?: string
  /** From when on the access token was good for certain, and until when; null if it does not say. */
  from: number
  until: number | null
}

interface Answer {
  status: number
  /** Null if it is no JSON object. */
  body: Record<string, unknown> | null
  retryAfter: number | null
  /** When it was asked for. */
  asked: number
}

/** For an answer, in milliseconds. */
const PATIENCE = 15_000
/** A refresh token goes to nobody but the server: a redirect is an error. */
const REQUEST = { method: 'POST', redirect: 'error' } as const
const HEADERS = { Accept: 'application/json', 'Content-Type': 'application/json' }

export class Endpoints {
  readonly #base: string
  readonly #mode: Mode
  readonly #fetch: Fetch
  readonly #now: () => number

  /** @param base with a slash at its end */
  constructor(base: string, mode: Mode, fetch: Fetch, now: () => number) {
    this.#base = base
    this.#mode = mode
    this.#fetch = fetch
    this.#now = now
  }

  /** @throws {SignInError | NetworkError} */
  async obtain(credentials: object): Promise<Tokens> {
    const answer = await this.#post('token/', credentials)
    const { status, body, retryAfter } = answer
    if (status >= 400 && status < 500 && body !== null) throw new SignInError(status, body, retryAfter)
    return tokensIn(answer)
  }

  /**
   * @param refresh the refresh token; none in cookie mode
   * @returns null if the session is over
   * @throws {NetworkError}
   */
  async refresh(refresh: string | undefined): Promise<Tokens | null> {
    const answer = await this.#post('token/refresh/', { refresh })
    // One without a body in JSON comes from somebody on the way.
    const isRefusal = answer.body !== null && (answer.status === 400 || answer.status === 401)
    return isRefusal ? null : tokensIn(answer)
  }

  /** @returns whether the session has ended for certain */
  async blacklist(refresh: string | undefined): Promise<boolean> {
    try {
      const { status, body } = await this.#post('token/blacklist/', { refresh }, { keepalive: true })
      return body !== null && (status === 200 || status === 401)
    } catch {
      return false
    }
  }

  /** @throws {NetworkError} */
  async #post(path: string, payload: object, extra: object = {}): Promise<Answer> {
    const cookie = this.#mode === 'cookie'
    const abort = new AbortController()
    const timer = setTimeout(() => abort.abort(new Error('no answer in time')), PATIENCE)
    const asked = this.#now()
    try {
      const response = await this.#fetch(this.#base + path, {
        ...{ ...REQUEST, ...extra, body: JSON.stringify(payload), signal: abort.signal },
        ...(cookie && { credentials: 'include' as const }),
        headers: { ...HEADERS, ...(cookie && { 'X-Latchkey-Mode': 'cookie' }) }
      })
      const retryAfter = response.headers.get('Retry-After') ?? ''
      return {
        ...{ asked, status: response.status, body: objectIn(await response.text()) },
        retryAfter: /^\d+$/.test(retryAfter) ? Number(retryAfter) : null
      }
    } catch (cause) {
      throw new NetworkError(null, null, { cause })
    } finally {
      clearTimeout(timer)
    }
  }
}

/** @throws {NetworkError} if there are none in it */
function tokensIn({ status, body, retryAfter, asked }: Answer): Tokens {
  const { access, refresh } = body ?? {}
  if (status !== 200 || typeof access !== 'string') throw new NetworkError(status, retryAfter)
  const lifetime = lifetimeOf(access)
  return {
    ...{ access, from: asked, until: lifetime === null ? null : asked + lifetime },
    ...(typeof refresh === 'string' && { refresh })
  }
}

/** By its own claims, so that it does not matter what our clock says; in milliseconds. */
function lifetimeOf(access: string): number | null {
  try {
    const payload = access.split('.')[1] as string
    const { exp, iat } = JSON.parse(atob(payload.replaceAll('-', '+').replaceAll('_', '/')))
    const lifetime = (exp - iat) * 1000
    return Number.isFinite(lifetime) ? lifetime : null
  } catch {
    return null
  }
}

export function objectIn(text: string): Record<string, unknown> | null {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}

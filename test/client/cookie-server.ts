/** A minimal server of cookie mode, and a `fetch` with a cookie jar. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { ClientOptions } from '../../src/client/client.ts'
import type { Scope } from '../support/build.ts'
import { mint, secondsNow } from '../support/tokens.ts'

const NAME = '__Host-refresh'
const COOKIE = `${NAME}=%; Path=/; Secure; HttpOnly; SameSite=Strict`

export interface CookieServer {
  origin: string
  /** Revokes all sessions. */
  forget(): void
}

/** Starts the server. `alice` can log in with any password; requests without cookie mode return 403. */
export async function cookieServer(scope: Scope): Promise<CookieServer> {
  const sessions = new Set<string>()
  const accesses = new Set<string>()
  const begin = (): Reply => {
    const session = randomUUID()
    const iat = secondsNow()
    const access = mint({ claims: { token_type: 'access', iat, exp: iat + 300 } })
    sessions.add(session)
    accesses.add(access)
    return [200, { access }, COOKIE.replace('%', session)]
  }
  const invalid: Reply = [401, { detail: 'Token is invalid', code: 'token_not_valid' }]
  const answers: Record<string, (session: string, body: Record<string, string>) => Reply> = {
    '/api/token/': (_session, { username }) => (username === 'alice' ? begin() : [401, { detail: 'Who?' }]),
    '/api/token/refresh/': (session) => (sessions.delete(session) ? begin() : invalid),
    '/api/token/blacklist/': (session) => {
      sessions.delete(session)
      return [200, {}, `${COOKIE.replace('%', '')}; Max-Age=0`]
    }
  }
  const server = createServer(async (request, response) => {
    const [status, body, cookie] = await replyTo(request)
    response.writeHead(status, cookie === undefined ? {} : { 'set-cookie': cookie }).end(JSON.stringify(body))
  })
  const replyTo = async (request: IncomingMessage): Promise<Reply> => {
    const { headers, url = '' } = request
    const answer = answers[url]
    if (answer === undefined) return accesses.has(`${headers.authorization}`.slice(7)) ? [200, {}] : invalid
    if (headers['x-latchkey-mode'] !== 'cookie') return [403, { detail: 'Not in cookie mode.' }]
    const [, session = ''] = new RegExp(`${NAME}=([^;]*)`).exec(headers.cookie ?? '') ?? []
    return answer(session, JSON.parse(await text(request)))
  }
  await once(server.listen(0, '127.0.0.1'), 'listening')
  scope.teardown(() => server.close().closeAllConnections())
  const { port } = server.address() as AddressInfo
  return { origin: `http://127.0.0.1:${port}`, forget: () => sessions.clear() }
}

type Reply = [status: number, body: object, cookie?: string]

export interface Browser {
  fetch: NonNullable<ClientOptions['fetch']>
  cookies: Map<string, string>
}

/** A `fetch` that stores cookies and sends them with `credentials: 'include'`. */
export function browser(): Browser {
  const cookies = new Map<string, string>()
  return {
    cookies,
    fetch: async (input, init = {}) => {
      if (init.credentials !== 'include') return fetch(input, init)
      const headers = new Headers(init.headers)
      headers.set('cookie', [...cookies].map((pair) => pair.join('=')).join('; '))
      const answer = await fetch(input, { ...init, headers })
      for (const line of answer.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
        if (/Max-Age=0/.test(line)) cookies.delete(name)
        else cookies.set(name, value)
      }
      return answer
    }
  }
}

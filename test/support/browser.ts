/** A browser that stores cookies and sends the CSRF token. */
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from 'fastify'
import { PASSWORD } from './journeys.ts'

export interface Browser {
  /** By name; tests can change them. */
  readonly cookies: Map<string, string>
  /** Sends a request, with the CSRF token for unsafe methods, and stores the cookies of the response. */
  send(options: InjectOptions): Promise<LightMyRequestResponse>
  /** Fetches a CSRF token and logs in, by default as alice. */
  signIn(username?: string, password?: string): Promise<LightMyRequestResponse>
}

export function openBrowser(app: FastifyInstance): Browser {
  const cookies = new Map<string, string>()

  async function send({ headers, ...options }: InjectOptions): Promise<LightMyRequestResponse> {
    const token = options.method && options.method !== 'GET' ? { 'x-csrftoken': cookies.get('csrftoken') ?? '' } : {}
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const answer = await app.inject({ ...options, headers: { ...token, ...(cookie && { cookie }), ...headers } })
    for (const { name, value, maxAge } of answer.cookies) {
      if (maxAge === 0) cookies.delete(name)
      else cookies.set(name, value)
    }
    return answer
  }

  return {
    cookies,
    send,
    signIn: async (username = 'alice', password = PASSWORD) => {
      await send({ url: '/api/session/' })
      return send({ method: 'POST', url: '/api/session/', payload: { username, password } })
    }
  }
}

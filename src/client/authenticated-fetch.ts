/** `client.fetch`: requests with the access token, which is refreshed and sent again after a 401. */
import { waitUnlessAborted } from './abort.ts'
import type { Fetch } from './requests.ts'
import type { Session } from './session.ts'
import { resolveUrl } from './urls.ts'

export function createAuthenticatedFetch(session: Session, send: Fetch, base: string, origins: string[]): Fetch {
  return async (input, init) => {
    const request = isRequest(input) ? input : null
    const url = request?.url ?? resolveUrl(String(input), base)
    // Compares the string that is sent, up to the slash after the origin, so that no other URL parser can see another
    // origin.
    if (!origins.some((origin) => url.startsWith(`${origin}/`))) return send(request ?? url, init)
    const sendWith = (access: string, target: Request | string) => {
      const headers = new Headers(init?.headers ?? request?.headers)
      headers.set('Authorization', `Bearer ${access}`)
      return send(target, { ...init, headers })
    }
    const signal = (init?.signal === undefined ? request?.signal : init.signal) ?? null
    const access = await waitUnlessAborted(signal, () => session.getAccessToken())
    const response = await sendWith(access, request?.clone() ?? url)
    if (response.status !== 401) return response
    const newAccess = await waitUnlessAborted(signal, () => session.refresh(access))
    if (isStream(init?.body)) return response
    // An unread body would block its connection.
    await response.body?.cancel().catch(() => undefined)
    return sendWith(newAccess, request ?? url)
  }
}

const isRequest = (input: Parameters<Fetch>[0]): input is Request => typeof input === 'object' && 'url' in input

/** True for a body that can only be sent once. */
const isStream = (body: unknown): boolean =>
  typeof body === 'object' && body !== null && ('getReader' in body || Symbol.asyncIterator in body)

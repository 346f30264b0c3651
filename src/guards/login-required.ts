/** Django's login_required, for pages that a browser shows. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { varyBy } from '../drf/vary.ts'
import { type Guard, isAuthenticated } from './guards.ts'

export interface LoginRequiredOptions {
  /** Where people sign in: a path or an address, Django's LOGIN_URL; by default `/accounts/login/`. */
  loginUrl?: string
}

/**
 * A guard for pages: who is not signed in is sent to sign in, with the way back as `?next=`. Who does not ask for HTML gets
 * the refusal of `isAuthenticated`; and so does everybody where it is combined with other guards, which have one answer.
 */
export function loginRequired({ loginUrl = '/accounts/login/' }: LoginRequiredOptions = {}): Guard {
  async function checkPermission(request: FastifyRequest, reply?: FastifyReply): Promise<void> {
    await request.authenticate(reply)
    if (reply) varyBy(reply, 'Accept')
    if (request.user !== null) return
    if (reply === undefined || !isForPage(request)) throw request.permissionDenied()
    const next = `${loginUrl.includes('?') ? '&' : '?'}next=${quote(pathOf(request.originalUrl))}`
    // Until it has been sent: Fastify would go on to the handler.
    await reply.header('cache-control', 'no-store').redirect(loginUrl + next)
  }
  return Object.assign(checkPermission, { permits: isAuthenticated.permits })
}

function isForPage({ headers }: FastifyRequest): boolean {
  if (headers['sec-fetch-mode'] === 'navigate') return true
  const accept = headers.accept?.toLowerCase() ?? ''
  const [html, json] = [accept.indexOf('text/html'), accept.indexOf('application/json')]
  return html >= 0 && (json < 0 || html < json)
}

/** On this host, whoever reads it: `//` begins an address to a browser, and so does a backslash or a tab in its place. */
function pathOf(url: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
  const path = url.replace(/[\x00-\x20\\]/g, encodeURIComponent)
  return path.startsWith('/') ? path.replace(/^\/\//, '/%2F') : '/'
}

/** As Python's quote, which leaves slashes and escapes more than we do. */
const quote = (text: string) =>
  encodeURIComponent(text)
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)

/** Django's login_required, for pages that a browser shows. */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { varyBy } from '../drf/vary.ts'
import { authenticatedUser } from './auth-core.ts'
import { type Guard, isAuthenticated } from './guards.ts'

export interface LoginRequiredOptions {
  /** Path or URL of the login page, Django's LOGIN_URL; by default `/accounts/login/`. */
  loginUrl?: string
}

/**
 * A guard for pages: redirects anonymous requests to the login page with `?next=`. A request that does not accept HTML gets
 * the error of `isAuthenticated`; so does every request if this guard is inside a combinator.
 */
export function loginRequired({ loginUrl = '/accounts/login/' }: LoginRequiredOptions = {}): Guard {
  async function checkPermission(request: FastifyRequest, reply?: FastifyReply): Promise<void> {
    await request.authenticate(reply)
    if (reply) varyBy(reply, 'Accept')
    if (authenticatedUser(request) !== null) return
    if (reply === undefined || !isForPage(request)) throw request.permissionDenied()
    const next = `${loginUrl.includes('?') ? '&' : '?'}next=${quote(pathOf(request.originalUrl))}`
    // Awaited until it is sent: otherwise Fastify would call the handler.
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

/** Prevents an open redirect: browsers read `//` as the start of a host, also with a backslash or tab in its place. */
function pathOf(url: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is replaced.
  const path = url.replace(/[\x00-\x20\\]/g, encodeURIComponent)
  return path.startsWith('/') ? path.replace(/^\/\//, '/%2F') : '/'
}

/** Python's urllib.parse.quote. */
const quote = (text: string) =>
  encodeURIComponent(text)
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)

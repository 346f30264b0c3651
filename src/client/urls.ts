/**
 * The URLs of requests, which are resolved as text: React Native's `URL` appends a path in place of resolving it, and
 * does not implement `origin`.
 */

const SCHEME = /^[a-z][a-z\d+.-]*:/i
/** The scheme and the host of a URL without credentials. */
const HTTP_ORIGIN = /^https?:\/\/[^\s/?#\\@]+(?=[/?#]|$)/i

/** Resolves the URL in a page, and adds a trailing slash. @throws {TypeError} like parseOrigin */
export function resolveBase(baseUrl: string): string {
  const { location } = globalThis as { location?: { href: string } }
  const isAbsolute = location === undefined || SCHEME.test(baseUrl)
  const url = normalizeOrigin(isAbsolute ? baseUrl : new URL(baseUrl, location.href).href)
  parseOrigin(url)
  return addSlash(url)
}

export const addSlash = (url: string): string => (url.endsWith('/') ? url : `${url}/`)

/** @param base URL with a trailing slash, from resolveBase */
export function resolveUrl(url: string, base: string): string {
  if (SCHEME.test(url)) return normalizeOrigin(url)
  if (url.startsWith('//')) return normalizeOrigin(`${SCHEME.exec(base)}${url}`)
  return url.startsWith('/') ? `${parseOrigin(base)}${url}` : `${base}${url}`
}

/**
 * @returns the origin, such as `https://api.example.com`
 * @throws {TypeError} for a URL that is not HTTP(S) or contains credentials; without the URL, which may be confidential
 */
export function parseOrigin(url: string): string {
  const [origin] = HTTP_ORIGIN.exec(url) ?? []
  if (origin === undefined) throw new TypeError('Expected an http:// or https:// URL without credentials.')
  const lowerCase = origin.toLowerCase()
  return lowerCase.replace(lowerCase.startsWith('https:') ? /:443$/ : /:80$/, '')
}

/** Returns the URL with its origin in lower case, without a default port, and with a slash after it. */
function normalizeOrigin(url: string): string {
  const [origin] = HTTP_ORIGIN.exec(url) ?? []
  if (origin === undefined) return url
  const rest = url.slice(origin.length)
  return `${parseOrigin(origin)}${rest.startsWith('/') ? '' : '/'}${rest}`
}

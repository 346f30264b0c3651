/** The URLs that the client requests, also on platforms whose `URL` does not resolve them. */
import t from 'tap'
import { createClient } from '../../src/client/client.ts'

/** React Native's class: it appends a path to the base, adds a slash to the end, and implements little else. */
class ReactNativeUrl {
  readonly href: string

  constructor(url: string, base?: string) {
    const isAbsolute = /^(?:[a-z]+:)?\/\//i.test(url)
    if (base === undefined || isAbsolute) this.href = url.endsWith('/') ? url : `${url}/`
    else this.href = base.replace(/\/$/, '') + (url.startsWith('/') ? url : `/${url}`)
  }

  get origin(): string {
    throw new Error('URL.origin is not implemented')
  }

  get host(): string {
    throw new Error('URL.host is not implemented')
  }

  toString(): string {
    return this.href
  }
}

/** The input of `fetch`, the URL that is requested, and whether the request has the access token. */
const REQUESTS: [input: string, url: string, hasToken: boolean][] = [
  ['/api/posts/', 'https://api.example.com/api/posts/', true],
  ['/posts', 'https://api.example.com/posts', true],
  ['/posts?next=https://x.example.com/', 'https://api.example.com/posts?next=https://x.example.com/', true],
  ['posts/', 'https://api.example.com/api/posts/', true],
  ['?page=2', 'https://api.example.com/api/?page=2', true],
  ['', 'https://api.example.com/api/', true],
  ['https://api.example.com/file.json', 'https://api.example.com/file.json', true],
  ['https://api.example.com/search?q=a', 'https://api.example.com/search?q=a', true],
  ['https://api.example.com', 'https://api.example.com/', true],
  ['https://api.example.com?q', 'https://api.example.com/?q', true],
  ['HTTPS://API.example.com:443/A', 'https://api.example.com/A', true],
  ['//api.example.com/x', 'https://api.example.com/x', true],
  ['https://files.example.com/x', 'https://files.example.com/x', true],
  ['//other.example.com/x', 'https://other.example.com/x', false],
  ['https://other.example.com/x.json', 'https://other.example.com/x.json', false],
  ['http://api.example.com/x', 'http://api.example.com/x', false],
  ['https://api.example.com:444/x', 'https://api.example.com:444/x', false],
  ['https://api.example.com\\@evil.example.com/', 'https://api.example.com\\@evil.example.com/', false],
  ['https://api.example.com:x@evil.example.com/', 'https://api.example.com:x@evil.example.com/', false],
  ['https:/evil.example.com/', 'https:/evil.example.com/', false],
  ['data:text/plain,x', 'data:text/plain,x', false],
  // Whatever a parser of URLs makes of these, the origin is that of the API.
  ['/\\evil.example.com/', 'https://api.example.com/\\evil.example.com/', true],
  ['\\\\evil.example.com/', 'https://api.example.com/api/\\\\evil.example.com/', true],
  [' https://evil.example.com/', 'https://api.example.com/api/ https://evil.example.com/', true]
]

for (const [platform, Url] of [
  ['Node.js', URL],
  ['React Native', ReactNativeUrl]
] as const) {
  t.test(`URLs are resolved as text with the URL class of ${platform}`, async (t) => {
    const seen: [url: string, hasToken: boolean][] = []
    const fetch = async (input: unknown, init?: RequestInit) => {
      seen.push([String(input), new Headers(init?.headers).has('Authorization')])
      return Response.json({ access: 'opaque', refresh: 'opaque' })
    }
    t.intercept(globalThis, 'URL', { value: Url as never })
    for (const baseUrl of ['https://api.example.com/api', 'HTTPS://API.example.com:443/api/']) {
      const client = createClient({ baseUrl, origins: ['https://FILES.example.com/some/path'], fetch })
      await client.signIn({ username: 'alice', password: 'x' })
      t.strictSame(seen.pop(), ['https://api.example.com/api/token/', false])
      for (const [input, url, hasToken] of REQUESTS) {
        await client.fetch(input)
        t.strictSame(seen.pop(), [url, hasToken], input)
      }
    }
    const plain = createClient({ baseUrl: 'http://127.0.0.1:80', fetch })
    await plain.signIn({ username: 'alice', password: 'x' })
    t.strictSame(seen.pop(), ['http://127.0.0.1/token/', false])
  })
}

/** Starts two servers: one for the page, and on another origin the API that the page calls. */
import { readdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import cors from '@fastify/cors'
import Fastify from 'fastify'
import latchkey, { authRoutes, errorHandler, isAuthenticated } from 'latchkey'

const { PAGE_PORT = '5173', API_PORT = '3000', DATABASE_URL = 'file:./data/spa.db', MODE = 'bearer' } = process.env
const ALICE = { username: 'alice', password: 's3cret-Pass!' }

const client = (name) => new URL(name, import.meta.resolve('latchkey/client'))
/** The files of the page by path. The client is served as npm has installed it, without a bundler. */
const files = {
  '/': [new URL('page/index.html', import.meta.url), 'text/html; charset=utf-8'],
  '/style.css': [new URL('page/style.css', import.meta.url), 'text/css; charset=utf-8'],
  '/app.js': [new URL('page/app.js', import.meta.url), 'text/javascript']
}
for (const name of await readdir(client('.'))) {
  if (name.endsWith('.js')) files[`/latchkey/${name}`] = [client(name), 'text/javascript']
}

let apiOrigin = ''

const page = createServer(async ({ url = '' }, response) => {
  const [file, type] = files[url.split('?', 1)[0]] ?? []
  if (file === undefined) return response.writeHead(404).end()
  const text = (await readFile(file, 'utf8')).replace('{api}', `${apiOrigin}/api`)
  const policy = [
    ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", `connect-src ${apiOrigin}`],
    ...["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"]
  ]
  const headers = {
    'content-type': type,
    'content-security-policy': policy.join('; '),
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-cache'
  }
  response.writeHead(200, headers).end(text)
})
await new Promise((resolve) => page.listen(Number(PAGE_PORT), '127.0.0.1', resolve))
const pageOrigin = `http://localhost:${page.address().port}`

const app = Fastify()
await app.register(cors, {
  origin: pageOrigin,
  methods: ['GET', 'POST', 'DELETE'],
  allowedHeaders: ['Authorization', 'Content-Type', 'X-Latchkey-Mode'],
  exposedHeaders: ['Retry-After'],
  // For cookie mode: the page may send cookies to the API.
  credentials: true
})
const cookieOrigins = MODE === 'cookie' ? [pageOrigin] : []
await app.register(latchkey, { databaseUrl: DATABASE_URL, stateless: false, cookieOrigins })
await app.register(authRoutes, { prefix: '/api' })
app.setErrorHandler(errorHandler)
app.get('/api/me/', { preHandler: isAuthenticated }, async ({ user }) => ({ username: user.username }))
if ((await app.auth.users.get('username', ALICE.username)) === null) await app.auth.users.createUser(ALICE)
await app.listen({ port: Number(API_PORT), host: '127.0.0.1' })
apiOrigin = `http://localhost:${app.server.address().port}`

console.log(`The page is at ${pageOrigin}/${MODE === 'cookie' ? '?mode=cookie' : ''} and the API at ${apiOrigin}/api/.`)
console.log(`Sign in as ${ALICE.username} with the password ${ALICE.password}`)

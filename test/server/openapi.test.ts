/** The OpenAPI document, which is generated from the schemas of the routes, and the documentation page. */
import t from 'tap'
import { version } from '../../src/version.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'
import { listening } from '../support/listening.ts'

type Json = Record<string, unknown>

interface Operation {
  summary?: string
  description?: string
  tags?: string[]
  security?: Record<string, string[]>[]
  parameters?: { name: string; in: string; schema: Json }[]
  requestBody?: { required?: boolean; content: Record<string, { schema: Json }> }
  responses: Record<string, { description?: string; content?: Record<string, { schema: Json }> }>
}

interface OpenApi {
  openapi: string
  info: Json
  components: { securitySchemes: Record<string, Json>; schemas?: Json }
  paths: Record<string, Record<string, Operation>>
}

const REFUSALS = ['400', '401', '403', '404']
const LOGIN = ['200', '400', '401', '429', '503']
const SEEN = ['200', ...REFUSALS, '429', '503']
const DONE = ['204', ...REFUSALS, '429', '503']
/** Optional fields end with a question mark. */
const ROUTES: [path: string, method: string, fields: string[], statuses: string[]][] = [
  ['/api/token/', 'post', ['username', 'password'], LOGIN],
  ['/api/token/refresh/', 'post', ['refresh'], ['200', '400', '401']],
  ['/api/token/verify/', 'post', ['token'], ['200', '400', '401']],
  ['/api/token/sliding/', 'post', ['username', 'password'], LOGIN],
  ['/api/token/sliding/refresh/', 'post', ['token'], ['200', '400', '401']],
  ['/api/token/blacklist/', 'post', ['refresh'], ['200', '400', '401']],
  ['/api/token/logout/', 'post', [], ['204', ...REFUSALS]],
  ['/api/sessions/', 'get', [], ['200', ...REFUSALS]],
  ['/api/sessions/', 'delete', [], ['204', ...REFUSALS]],
  ['/api/sessions/{id}/', 'get', [], ['200', ...REFUSALS]],
  ['/api/sessions/{id}/', 'patch', ['label?'], ['200', ...REFUSALS]],
  ['/api/sessions/{id}/', 'delete', [], ['204', ...REFUSALS]],
  ['/api/users/{id}/sessions/', 'get', [], ['200', ...REFUSALS]],
  ['/api/users/{id}/sessions/', 'delete', [], ['204', ...REFUSALS]],
  ['/api/users/{id}/sessions/{sid}/', 'delete', [], ['204', ...REFUSALS]],
  ['/api/protected/', 'get', [], ['200', '401']],
  ['/api/users/', 'get', [], ['200', ...REFUSALS]],
  ['/api/users/', 'post', ['username'], ['201', ...REFUSALS]],
  ['/api/users/{id}/', 'get', [], ['200', ...REFUSALS]],
  ['/api/users/{id}/', 'put', ['username'], ['200', ...REFUSALS]],
  ['/api/users/{id}/', 'patch', ['username?'], ['200', ...REFUSALS]],
  ['/api/users/{id}/', 'delete', [], ['204', ...REFUSALS]],
  ['/api/permissions/', 'get', [], ['200', ...REFUSALS]],
  ['/api/permissions/{id}/', 'get', [], ['200', ...REFUSALS]],
  ['/api/groups/{id}/users/', 'get', [], ['200', ...REFUSALS]],
  ['/api/groups/{id}/users/', 'post', ['user'], ['201', ...REFUSALS]],
  ['/api/groups/{id}/users/{user}/', 'delete', [], ['204', ...REFUSALS]],
  ['/api/groups/', 'get', [], ['200', ...REFUSALS]],
  ['/api/groups/', 'post', ['name'], ['201', ...REFUSALS]],
  ['/api/groups/{id}/', 'get', [], ['200', ...REFUSALS]],
  ['/api/groups/{id}/', 'put', ['name'], ['200', ...REFUSALS]],
  ['/api/groups/{id}/', 'patch', ['name?'], ['200', ...REFUSALS]],
  ['/api/groups/{id}/', 'delete', [], ['204', ...REFUSALS]],
  ['/api/session/', 'get', [], ['200', '503']],
  ['/api/session/', 'post', ['username', 'password'], ['200', '400', '403', '429', '503']],
  ['/api/session/', 'delete', [], ['204', '403', '503']],
  ['/api/api-token-auth/', 'post', ['username', 'password'], ['200', '400', '429', '503']],
  ['/.well-known/jwks.json', 'get', [], ['200']],
  ['/auth/users/', 'get', [], SEEN],
  ['/auth/users/', 'post', ['email?', 'username', 'password'], ['201', ...REFUSALS, '429', '503']],
  ...['/auth/users/me/', '/auth/users/{id}/'].flatMap((path): typeof ROUTES => [
    [path, 'get', [], SEEN],
    [path, 'put', ['email?'], SEEN],
    [path, 'patch', ['email?'], SEEN],
    [path, 'delete', ['current_password'], DONE]
  ]),
  ['/auth/users/set_password/', 'post', ['new_password', 'current_password'], ['200', ...DONE]],
  ['/auth/users/set_username/', 'post', ['current_password', 'new_username'], DONE],
  ['/auth/users/activation/', 'post', ['uid', 'token'], DONE],
  ['/auth/users/resend_activation/', 'post', ['email'], DONE],
  ['/auth/users/reset_password/', 'post', ['email'], DONE],
  ['/auth/users/reset_password_confirm/', 'post', ['uid', 'token', 'new_password'], DONE],
  ['/auth/users/reset_username/', 'post', ['email'], DONE],
  ['/auth/users/reset_username_confirm/', 'post', ['uid?', 'token?', 'new_username'], DONE],
  ['/auth/jwt/create/', 'post', ['username', 'password'], LOGIN],
  ['/auth/jwt/refresh/', 'post', ['refresh'], ['200', '400', '401']],
  ['/auth/jwt/verify/', 'post', ['token'], ['200', '400', '401']],
  ['/auth/token/login/', 'post', ['password?', 'username?'], ['200', '400', '429', '503']],
  ['/auth/token/logout/', 'post', [], ['204', '401']]
]
/** The operations that require authentication. */
const CLOSED = /protected|\/api\/users|permissions|groups|sessions|(get|put|patch|delete) \/auth\/users\/|\/set_|logout/
const MEDIA_TYPES = ['application/json', 'application/x-www-form-urlencoded', 'multipart/form-data']

t.test('/openapi.json describes all routes with fields, responses and security', async (t) => {
  const { origin } = await listening(t)
  const answer = await fetch(`${origin}/openapi.json`)
  t.match(answer.headers.get('content-type'), /^application\/json/)
  const document = (await answer.json()) as OpenApi

  t.match(document.openapi, /^3\.1\.\d+$/)
  t.match(document.info, { title: 'Latchkey', version })
  t.match(document.components.securitySchemes, {
    jwt: { type: 'http', scheme: 'bearer' },
    ...{ basic: {}, token: {}, session: { type: 'apiKey', in: 'cookie', name: 'sessionid' } }
  })
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method} ${path}`)
  )
  t.strictSame(operations.toSorted(), ROUTES.map(([path, method]) => `${method} ${path}`).toSorted())
  for (const [path, method, fields, statuses] of ROUTES) {
    const operation = document.paths[path]?.[method] as Operation
    t.match(operation, { summary: /\w/, description: /\w/ }, path)
    t.equal(operation.tags?.length, 1)
    t.strictSame(operation.security, CLOSED.test(`${method} ${path}`) ? [{ jwt: [] }] : undefined, path)
    t.strictSame(Object.keys(operation.responses).toSorted(), statuses)
    for (const [status, { description, content }] of Object.entries(operation.responses)) {
      t.type(description, 'string')
      if (status === '204') continue
      t.match(content?.['application/json']?.schema, { type: /^(object|array)$/ })
    }
    const content = operation.requestBody?.content ?? {}
    t.strictSame(Object.keys(content), fields.length > 0 ? MEDIA_TYPES : [])
    for (const { schema } of Object.values(content)) {
      const required = fields.filter((field) => !field.endsWith('?'))
      t.strictSame(schema.required ?? [], required)
      for (const field of fields) {
        const type = field === 'user' ? 'integer' : 'string'
        t.match((schema.properties as Json)[field.replace('?', '')], { type })
      }
    }
  }
})

t.test('all references, security schemes and path parameters of the document are defined', async (t) => {
  const { origin } = await listening(t)
  const text = await (await fetch(`${origin}/openapi.json`)).text()
  const document = JSON.parse(text) as OpenApi

  for (const [, reference = ''] of text.matchAll(/"\$ref":"([^"]+)"/g)) {
    const found = reference
      .replace(/^#\//, '')
      .split('/')
      .reduce<unknown>((part, name) => (part as Json)?.[name], document)
    t.ok(found, reference)
  }
  const operations = Object.values(document.paths).flatMap((item) => Object.values(item))
  for (const { security = [] } of operations) {
    for (const name of security.flatMap((schemes) => Object.keys(schemes)))
      t.ok(document.components.securitySchemes[name])
  }
  for (const [path, item] of Object.entries(document.paths)) {
    t.match(path, /^\/[^:*]*$/)
    for (const { parameters = [] } of Object.values(item)) {
      const named = parameters.filter((one) => one.in === 'path').map(({ name }) => `{${name}}`)
      t.strictSame(named, path.match(/\{\w+\}/g) ?? [], path)
    }
  }
  t.notMatch(text, /undefined|\[object /)
})

t.test('the document describes query parameters of lists and types of fields', async (t) => {
  const { origin } = await listening(t)
  const { paths } = (await (await fetch(`${origin}/openapi.json`)).json()) as OpenApi
  const asked = Object.entries(paths).flatMap(([path, { get }]) => {
    const names = get?.parameters?.filter((one) => one.in === 'query').map(({ name }) => name) ?? []
    return names.length > 0 ? [[path, names.sort().join(' ')]] : []
  })
  const pages = 'page page_size search'
  const users = `email groups is_active is_staff is_superuser ordering ${pages} username`
  t.strictSame(Object.fromEntries(asked), {
    '/api/users/': users,
    '/api/groups/': `ordering ${pages}`,
    '/api/groups/{id}/users/': users,
    '/api/permissions/': `app_label codename model ordering ${pages}`
  })
  const made = paths['/api/users/']?.post?.requestBody?.content['application/json']?.schema
  t.match(made?.properties, {
    id: { type: 'integer', readOnly: true },
    is_active: { type: 'boolean' },
    groups: { type: 'array', items: { type: 'integer' } },
    password: { type: 'string', writeOnly: true }
  })
})

t.test('a login with the fields of the document returns the properties of the document', async (t) => {
  const { app, origin } = await listening(t)
  const { username } = await addUser(app)
  const { paths } = (await (await fetch(`${origin}/openapi.json`)).json()) as OpenApi
  const operation = paths['/api/token/']?.post as Operation
  const form = new URLSearchParams()
  const schema = operation.requestBody?.content['application/x-www-form-urlencoded']?.schema
  for (const field of (schema?.required ?? []) as string[]) {
    form.set(field, field === 'username' ? username : PASSWORD)
  }

  const answer = await fetch(`${origin}/api/token/`, { method: 'POST', body: form })

  t.equal(answer.status, 200)
  const promised = operation.responses['200']?.content?.['application/json']?.schema.properties as Json
  t.strictSame(Object.keys((await answer.json()) as Json), Object.keys(promised))
})

t.test('/docs/ is a page with a strict CSP that loads all assets from the same origin', async (t) => {
  const { origin } = await listening(t)
  const page = await fetch(`${origin}/docs/`)
  t.equal(page.status, 200)
  t.match(page.headers.get('content-type'), /^text\/html/)
  const policy = page.headers.get('content-security-policy') ?? ''
  t.match(policy, /default-src 'self'/)
  t.match(policy, /script-src 'self'/)
  t.notMatch(policy, /script-src[^;]*(unsafe|\*|https?:)/)
  const html = await page.text()

  const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url = '']) => new URL(url, page.url))
  t.ok(assets.length >= 4, 'scripts and styles')
  for (const url of assets) {
    t.equal(url.origin, origin, 'same origin')
    const asset = await fetch(url)
    t.equal(asset.status, 200, url.pathname)
    t.ok((await asset.arrayBuffer()).byteLength > 0)
    const type = /\.js$/.test(url.pathname) ? /javascript/ : /\.css$/.test(url.pathname) ? /text\/css/ : /image/
    t.match(asset.headers.get('content-type'), type, url.pathname)
  }
  t.notMatch(html, /<script(?![^>]*src=)[^>]*>\s*\S/, 'no inline script, which the policy would block')
})

t.test('/docs/json is the same document, and /docs works without trailing slash', async (t) => {
  const { origin } = await listening(t)
  const document = await (await fetch(`${origin}/openapi.json`)).json()
  t.strictSame(await (await fetch(`${origin}/docs/json`)).json(), document)
  const page = await fetch(`${origin}/docs`)
  t.equal(page.status, 200)
  t.match(await page.text(), '<div id="swagger-ui">')
})

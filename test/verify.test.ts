/** `latchkey/verify`: a service without users that verifies the access tokens of another one. */
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { generateKeyText, publicJwk, readSigningKey, verifyingPart } from '../src/crypto/jwa.ts'
import { ImproperlyConfigured } from '../src/errors.ts'
import { accountRoutes, wellKnownRoutes } from '../src/index.ts'
import type { KeyRing } from '../src/keys/key-ring.ts'
import verify, {
  errorHandler,
  hasPermission,
  isAdminUser,
  isAuthenticated,
  type VerifierOptions
} from '../src/verify.ts'
import { SIGNING_KEY, worldOf } from './support/build.ts'
import { addUser, bearer, obtainPair, refreshWith } from './support/journeys.ts'
import { claimsOf, headerOf, mint } from './support/tokens.ts'

const RING = {
  signingKey: undefined,
  keyEncryptionKey: 'a-key-for-keys-0123456789-abcdefghijklmnop',
  algorithm: 'ES256'
}
const ISSUED = { issuer: 'https://auth.example.com', audience: 'example' }
const { build } = worldOf('sqlite')

/** Creates the service that issues tokens. */
async function issuer(t: Test, claims = {}): Promise<FastifyInstance> {
  const options = { ...RING, ...ISSUED, claims: () => claims, freshClaims: true }
  const app = await build(t, options, (app) => app.register(wellKnownRoutes, { prefix: '/.well-known' }))
  await addUser(app)
  return app
}

/** Creates a service that only verifies tokens. */
async function service(t: Test, options: VerifierOptions): Promise<FastifyInstance> {
  const app = Fastify()
  t.teardown(() => app.close())
  app.setErrorHandler(errorHandler)
  await app.register(verify, { ...ISSUED, ...options })
  app.get('/me/', { preHandler: isAuthenticated }, async ({ user }) => ({ id: user?.id }))
  app.get('/staff/', { preHandler: isAdminUser }, async () => 'ok')
  app.get('/blog/', { preHandler: hasPermission('blog.add_post') }, async () => 'ok')
  await app.ready()
  return app
}

const ask = (app: FastifyInstance, url: string, access?: string) =>
  app.inject({ url, headers: access === undefined ? {} : bearer(access) })

interface KeyServer {
  url: string
  asked: () => number
  answer: (respond: (request: IncomingMessage, response: ServerResponse) => void) => void
}

/** Starts a server of a key set, whose responses can be replaced and are counted. */
async function keyServer(t: Test, set: () => unknown): Promise<KeyServer> {
  let count = 0
  let respond = (_: IncomingMessage, response: ServerResponse): void => void response.end(JSON.stringify(set()))
  const server = createServer((request, response) => {
    count++
    respond(request, response)
  })
  t.teardown(() => server.close().closeAllConnections())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/jwks.json`,
    asked: () => count,
    answer: (other) => {
      respond = other
    }
  }
}

t.test('with a key set (JWKS) guards work as in the issuing service', async (t) => {
  const claims = { is_staff: true, permissions: ['blog.add_post'] }
  const users = await issuer(t, claims)
  const { url, asked } = await keyServer(t, () => ({ keys: users.auth.keys.published() }))
  const app = await service(t, { jwkUrl: url })
  const { access, refresh } = await obtainPair(users)
  const plain = (await obtainPair(await issuer(t))).access

  for (const path of ['/me/', '/staff/', '/blog/']) t.equal((await ask(app, path, access)).statusCode, 200, path)
  t.strictSame((await ask(app, '/me/', access)).json(), { id: '1' })
  t.equal(asked(), 1)
  const anonymous = await ask(app, '/me/')
  t.equal(anonymous.statusCode, 401)
  t.equal(anonymous.headers['www-authenticate'], 'Bearer realm="api"')
  t.match((await ask(app, '/me/', refresh)).json(), { code: 'token_not_valid' })
  t.equal((await ask(app, '/me/', plain)).statusCode, 401, 'signed by another service')
})

t.test('claims of the wrong type grant neither staff status nor permissions (403)', async (t) => {
  const users = await issuer(t, { is_staff: 'true', permissions: 'blog.add_post' })
  const { url } = await keyServer(t, () => ({ keys: users.auth.keys.published() }))
  const app = await service(t, { jwkUrl: url })
  const { access } = await obtainPair(users)

  t.equal((await ask(app, '/me/', access)).statusCode, 200)
  t.equal((await ask(app, '/staff/', access)).statusCode, 403)
  t.equal((await ask(app, '/blog/', access)).statusCode, 403)
})

t.test('an unknown kid causes a refetch of the key set, at most every half minute', async (t) => {
  const users = await issuer(t)
  const { url, asked } = await keyServer(t, () => ({ keys: users.auth.keys.published() }))
  const app = await service(t, { jwkUrl: url })
  const ring = users.auth.keys as KeyRing
  await ask(app, '/me/', (await obtainPair(users)).access)
  await ring.rotate()
  t.equal((await ask(app, '/me/', (await obtainPair(users)).access)).statusCode, 200, 'the next key was published')
  t.equal(asked(), 1)

  await ring.generate()
  await ring.rotate()
  const { access } = await obtainPair(users)
  const statuses = await Promise.all([1, 2, 3].map(async () => (await ask(app, '/me/', access)).statusCode))

  t.strictSame(statuses, [401, 401, 401], 'no refetch within half a minute')
  t.equal(asked(), 1)
  const now = performance.now()
  t.intercept(performance, 'now', { value: () => now + 31_000 })
  const later = await Promise.all([1, 2, 3].map(async () => (await ask(app, '/me/', access)).statusCode))
  t.strictSame(later, [200, 200, 200])
  t.equal(asked(), 2, 'one fetch for concurrent requests')
})

t.test('cached keys remain valid if the key server is down, and without cached keys requests return 503', async (t) => {
  const users = await issuer(t)
  const server = await keyServer(t, () => ({ keys: users.auth.keys.published() }))
  const app = await service(t, { jwkUrl: server.url })
  const { access } = await obtainPair(users)
  t.equal((await ask(app, '/me/', access)).statusCode, 200)

  server.answer((request) => request.socket.destroy())
  const now = performance.now()
  t.intercept(performance, 'now', { value: () => now + 600_000 })
  t.equal((await ask(app, '/me/', (await obtainPair(users)).access)).statusCode, 200)

  const early = await service(t, { jwkUrl: server.url })
  const answer = await ask(early, '/me/', access)
  t.equal(answer.statusCode, 503)
  t.ok(answer.headers['retry-after'])
})

t.test('invalid responses of the key server return 503, and their keys are not used', async (t) => {
  const { access } = await obtainPair(await issuer(t))
  const server = await keyServer(t, () => null)
  const good = (response: ServerResponse, text: string) => response.end(text)
  const jwk = publicJwk(verifyingPart(readSigningKey(generateKeyText('ES256'), 'ES256')), 'x', 'ES256')
  const answers: Record<string, (request: IncomingMessage, response: ServerResponse) => unknown> = {
    'not JSON': (_, response) => good(response, '<html>'),
    empty: (_, response) => good(response, ''),
    null: (_, response) => good(response, 'null'),
    'an empty set': (_, response) => good(response, '{"keys":[]}'),
    'keys that are no list': (_, response) => good(response, '{"keys":{"a":1}}'),
    'keys that are no keys': (_, response) =>
      good(response, '{"keys":[1,null,"x",{},{"kty":"EC"},{"kty":"oct","k":"AAAA"}]}'),
    'a secret': (_, response) =>
      good(
        response,
        JSON.stringify({ keys: [{ kty: 'oct', alg: 'HS256', k: Buffer.from(SIGNING_KEY).toString('base64url') }] })
      ),
    'two keys of one name': (_, response) => good(response, JSON.stringify({ keys: [jwk, jwk] })),
    'a hundred and one keys': (_, response) =>
      good(
        response,
        JSON.stringify({ keys: Array.from({ length: 101 }, (_, index) => ({ ...jwk, kid: `${index}` })) })
      ),
    huge: (_, response) => good(response, `{"keys":[],"x":"${'x'.repeat(300_000)}"}`),
    'invalid UTF-8': (_, response) => response.end(Buffer.from([0x7b, 0xff, 0x7d])),
    'a 500': (_, response) => response.writeHead(500).end('{}'),
    'a redirect': (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    'an end in the middle': (_, response) => {
      response.writeHead(200, { 'content-length': 1000 }).write('{')
      response.destroy()
    }
  }

  for (const [name, respond] of Object.entries(answers)) {
    server.answer(respond)
    const app = await service(t, { jwkUrl: server.url })
    t.equal((await ask(app, '/me/', access)).statusCode, 503, name)
    const forged = mint({ claims: { token_type: 'access' }, header: { kid: 'x' } })
    t.equal((await ask(app, '/me/', forged)).statusCode, 401, `${name}, forged token`)
  }
})

t.test('a key server that does not respond returns 503, with one fetch for concurrent requests', async (t) => {
  const { access } = await obtainPair(await issuer(t))
  const server = await keyServer(t, () => null)
  server.answer(() => undefined)
  const app = await service(t, { jwkUrl: server.url })

  const answers = await Promise.all([ask(app, '/me/', access), ask(app, '/me/', access)])

  t.strictSame(
    answers.map(({ statusCode }) => statusCode),
    [503, 503]
  )
  t.equal(server.asked(), 1)
})

t.test('with verifyingKey tokens are verified by the public key, which is not accepted as HMAC secret', async (t) => {
  const text = generateKeyText('EdDSA')
  const pem = verifyingPart(readSigningKey(text, 'EdDSA')).export({ type: 'spki', format: 'pem' }).toString()
  const users = await build(t, { ...ISSUED, signingKey: text, algorithm: 'EdDSA' })
  const { access } = await obtainPair(users, await addUser(users))
  const app = await service(t, { verifyingKey: pem.replaceAll('\n', '\\n'), algorithm: 'EdDSA' })

  t.strictSame(headerOf(access), { alg: 'EdDSA', typ: 'JWT' })
  t.equal((await ask(app, '/me/', access)).statusCode, 200)
  const confused = mint({ claims: { token_type: 'access' }, key: pem })
  t.equal((await ask(app, '/me/', confused)).statusCode, 401, 'algorithm confusion')
})

t.test('tokens without kid are verified by the published key of their algorithm', async (t) => {
  const text = generateKeyText('ES256')
  const users = await build(t, { ...ISSUED, signingKey: text, algorithm: 'ES256' })
  const { access } = await obtainPair(users, await addUser(users))
  const { url } = await keyServer(t, () => ({ keys: users.auth.keys.published() }))

  t.equal((await ask(await service(t, { jwkUrl: url }), '/me/', access)).statusCode, 200)
})

t.test('invalid options reject the registration, all at once', async (t) => {
  const start = (options: object) => service(t, options as VerifierOptions)

  await t.rejects(start({}), ImproperlyConfigured)
  await t.rejects(start({}), { message: 'verifyingKey: is needed, or jwkUrl: where the public keys are published' })
  await t.rejects(start({ jwkUrl: 'ftp://x', leeway: 'x' }), { message: /^jwkUrl: must be .*\nleeway: must be / })
  await t.rejects(start({ jwkUrl: 'https://x', databaseUrl: 'file:x' }), {
    message: 'databaseUrl: unknown setting'
  })
  await t.rejects(start({ verifyingKey: 'x', algorithm: 'RS256' }), {
    message: 'verifyingKey: must be a public key in PEM for RS256'
  })
  const faults = /^issuer: is required; .*\naudience: is required; /
  await t.rejects(start({ signingKey: SIGNING_KEY, issuer: undefined, audience: undefined }), { message: faults })
  const jwkUrl = 'http://keys.example.com/jwks.json'
  await t.rejects(start({ jwkUrl }), { message: 'jwkUrl: must begin with https://, unless the host is this machine' })
})

t.test('tokens of another issuer or for another audience are rejected (401)', async (t) => {
  const app = await service(t, { signingKey: SIGNING_KEY })
  const { issuer: iss, audience: aud } = ISSUED
  const claims = { token_type: 'access', iss, aud, user_id: 'auth0|5f7c8ec7' }
  t.strictSame((await ask(app, '/me/', mint({ claims }))).json(), { id: 'auth0|5f7c8ec7' }, 'user ids are opaque')
  for (const jti of ['AT.x9-_~/=+', 'é'.repeat(255)]) {
    t.equal((await ask(app, '/me/', mint({ claims: { ...claims, jti } }))).statusCode, 200, 'so are ids of tokens')
  }
  for (const other of [
    { jti: 'x'.repeat(256) },
    { jti: 1 },
    { iss: 'https://other.example.com' },
    { aud: 'other' },
    { user_id: ['1'] },
    { user_id: '' }
  ]) {
    t.equal((await ask(app, '/me/', mint({ claims: { ...claims, ...other } }))).statusCode, 401, JSON.stringify(other))
  }
  for (const name of ['iss', 'aud']) {
    t.equal((await ask(app, '/me/', mint({ claims, omit: [name] }))).statusCode, 401, `no ${name}`)
  }
})

t.test(
  'a user of another service is never a local user, whatever its id, and its tokens are not refreshed',
  async (t) => {
    const claims = { is_staff: true, is_superuser: true, permissions: ['blog.add_post'] }
    const users = await issuer(t, claims)
    const { url } = await keyServer(t, () => ({ keys: users.auth.keys.published() }))
    for (const stateless of [true, false]) {
      const app = await build(t, { ...ISSUED, jwkUrl: url, stateless }, (app) => {
        app.register(accountRoutes, { prefix: '/auth' })
        app.get('/me/', { preHandler: isAuthenticated }, async ({ user }) => ({ id: user?.id }))
        app.get('/staff/', { preHandler: isAdminUser }, async () => 'ok')
      })
      const root = await addUser(app, { username: 'root', isSuperuser: true, isStaff: true })
      const { access, refresh } = await obtainPair(users)
      t.strictSame([claimsOf(access).user_id, root.id], ['1', 1])

      t.strictSame((await ask(app, '/me/', access)).json(), { id: '1' })
      t.equal((await ask(app, '/staff/', access)).statusCode, 403)
      t.equal((await ask(app, '/api/users/', access)).statusCode, 403)
      t.equal((await ask(app, '/auth/users/me/', access)).statusCode, 401)
      t.equal((await ask(app, '/api/sessions/', access)).statusCode, 401)
      const own = await obtainPair(app, root)
      const copied = { ...claimsOf(access), sid: claimsOf(own.access).sid }
      const key = users.auth.keys.signing
      const input = `${key.header}.${Buffer.from(JSON.stringify(copied)).toString('base64url')}`
      const logoutUrl = '/api/token/logout/'
      const foreign = bearer(`${input}.${key.sign(input)}`)
      t.equal((await app.inject({ method: 'POST', url: logoutUrl, headers: foreign })).statusCode, 400)
      t.equal((await refreshWith(app, own.refresh)).statusCode, 200, "a session id in it ends nobody's session")
      t.equal((await refreshWith(app, refresh)).statusCode, 401)
      const logout = await app.inject({ method: 'POST', url: '/api/token/blacklist/', payload: { refresh } })
      t.equal(logout.statusCode, 401)
    }
  }
)

t.test('latchkey/verify does not load Prisma, database drivers or password hashers', async (t) => {
  const seen = new Map<string, string[]>()
  const visit = (file: URL): void => {
    if (seen.has(file.href)) return
    const found = importsOf(readFileSync(file, 'utf8'))
    seen.set(file.href, found)
    for (const specifier of found.filter((one) => one.startsWith('.'))) visit(new URL(specifier, file))
  }
  visit(new URL('../src/verify.ts', import.meta.url))

  const packages = [...seen.values()].flat().filter((specifier) => !specifier.startsWith('.'))
  t.ok(packages.includes('@fastify/jwt') && seen.size > 15, 'all imports have been visited')
  t.notMatch(packages.join(), /prisma|bcrypt|argon2|libsql|pg\b/)
})

/** The modules that a file imports, except for types. */
function importsOf(text: string): string[] {
  const statements = text.matchAll(/^(?:import|export)\s+([^'"()=]*?)\s*from '([^']+)'/gm)
  return [...statements].filter(([, what = '']) => !isOfTypes(what)).map(([, , specifier = '']) => specifier)
}

const isOfTypes = (what: string) => what.startsWith('type ') || /^\{\s*(type \w+( as \w+)?,?\s*)+\}/.test(what)

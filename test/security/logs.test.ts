/** Logs at level trace, during attacks and with a failing database. */
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import latchkey, { accountRoutes, authRoutes } from '../../src/index.ts'
import { type Environment, emptyFolder, type Server, serve } from '../cli/command-line.ts'
import { onEachDatabase, SIGNING_KEY, worldOf } from '../support/build.ts'
import { addUser, PASSWORD } from '../support/journeys.ts'
import { CHEAP } from '../support/settings.ts'
import { mint } from '../support/tokens.ts'
import { exchange, request } from './wire.ts'

const SECRET = 'in-no-log'
const JSON_TYPE = { 'content-type': 'application/json' }

const post = ({ origin }: Server, url: string, body: unknown, headers: Record<string, string> = JSON_TYPE) =>
  fetch(origin + url, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), headers })

/** Sends secrets in all places, expected and unexpected. @returns the issued tokens and cookies */
async function attack(server: Server): Promise<string[]> {
  const port = Number(new URL(server.origin).port)
  const pair = (await (await post(server, '/api/token/', { username: 'alice', password: PASSWORD })).json()) as Record<
    string,
    string
  >
  const { access = '', refresh = '' } = pair
  await fetch(`${server.origin}/api/protected/?token=${access}`, { headers: { authorization: `Bearer ${access}` } })
  await fetch(`${server.origin}/none?password=${SECRET}`, {
    headers: { cookie: SECRET, authorization: `Basic ${SECRET}` }
  })
  await fetch(`${server.origin}/%zz?password=${SECRET}`, { headers: { referer: SECRET, 'user-agent': SECRET } })
  await post(server, '/api/token/refresh/', { refresh })
  await post(server, '/api/token/refresh/', { refresh })
  await post(server, '/api/token/blacklist/', { refresh: mint({ claims: { jti: SECRET, secret: SECRET } }) })
  for (const password of [SECRET, `${SECRET}\0`, SECRET.repeat(5000)]) {
    await post(server, '/api/token/', { username: 'alice', password })
    await post(server, '/api/token/', { username: `${SECRET}\r\n{"level":60}`, password })
  }
  await post(server, '/api/token/', `{"password":"${SECRET}`)
  await post(server, '/api/token/', `password=${SECRET}%ff`, { 'content-type': 'application/x-www-form-urlencoded' })
  await post(server, '/api/token/', SECRET, { 'content-type': `multipart/form-data; boundary=${SECRET}` })
  const cookies = await signIn(server)
  await exchange(port, `GET / HTTP/1.1\r\nAuthorization ${SECRET}\r\n\r\n`)
  await exchange(port, request(`GET /%0d%0a{"level":60}`))
  return [access, refresh, ...cookies]
}

/** Logs in and out like a browser. @returns the values of its cookies */
async function signIn(server: Server): Promise<string[]> {
  const valuesOf = ({ headers }: Response) => headers.getSetCookie().map((cookie) => /=(\w+)/.exec(cookie)?.[1] ?? '')
  const [token = ''] = valuesOf(await fetch(`${server.origin}/api/session/`))
  const headers = { ...JSON_TYPE, 'x-csrftoken': token, cookie: `csrftoken=${token}` }
  const login = await post(server, '/api/session/', { username: 'alice', password: PASSWORD }, headers)
  const [key = '', fresh = ''] = valuesOf(login)
  await fetch(`${server.origin}/api/session/`, {
    method: 'DELETE',
    headers: { cookie: `sessionid=${key}`, referer: SECRET }
  })
  return [token, key, fresh]
}

/** Runs a server during `work`. @returns the lines of its stdout and stderr */
async function writtenBy(
  t: Test,
  environment: Environment,
  work: (server: Server) => Promise<unknown>
): Promise<string[]> {
  const server = await serve(t, emptyFolder(t), environment)
  await work(server)
  server.kill('SIGTERM')
  const { stdout, stderr } = await server.ended
  return `${stdout}${stderr}`.split('\n').filter(Boolean)
}

onEachDatabase(t, (t, { provider, build }) => {
  t.test('logs contain no password, token, hash, key, header, query or body', async (t) => {
    const app = await build(t)
    const { id } = await addUser(app)
    const { password: hash } = await app.auth.database.user.findUniqueOrThrow({ where: { id } })
    const databaseUrl = app.auth.settings.databaseUrl
    const tokens: string[] = []
    const lines = await writtenBy(
      t,
      {
        ...{ DATABASE_URL: databaseUrl, JWT_SIGNING_KEY: SIGNING_KEY, LOG_LEVEL: 'trace', LOGIN_RATE: 'off' },
        ...{ PASSWORD_HASHERS: 'md5', JWT_STATELESS: 'off' }
      },
      async (server) => {
        tokens.push(...(await attack(server)))
        await app.auth.database.$executeRawUnsafe('DROP TABLE token_blacklist_blacklistedtoken')
        await app.auth.database.$executeRawUnsafe('ALTER TABLE auth_user RENAME TO elsewhere')
        for (const url of ['/api/token/', '/api/token/refresh/', '/api/token/blacklist/']) {
          const answer = await post(server, url, { username: 'alice', password: PASSWORD, refresh: mint() })
          t.strictSame([answer.status, await answer.text()], [500, '{"detail":"A server error occurred."}'])
        }
      }
    )
    const written = lines.join('\n')
    t.match(written, '"level":50', 'server errors are logged')
    t.match(written, /"path":"\/api\/token\/refresh\/"/)
    const secrets = [
      ...tokens,
      ...tokens.flatMap((token) => token.split('.')[2] ?? []),
      PASSWORD,
      hash,
      SIGNING_KEY,
      SECRET
    ]
    for (const secret of [
      ...secrets,
      'eyJ',
      'Bearer',
      'authorization',
      'cookie',
      ...(provider === 'postgresql' ? [databaseUrl] : [])
    ]) {
      t.notOk(secret === '' || written.includes(secret), secret.slice(0, 20))
    }
    t.notMatch(written, '"level":60', 'no line is injected')
    for (const line of lines.filter((it) => it.startsWith('{'))) t.type(JSON.parse(line).level, 'number')
  })
})

t.test(
  'each check of a password for a login is an event with user, request and client, without the username',
  async (t) => {
    const lines: Record<string, unknown>[] = []
    const app = Fastify({ logger: { stream: { write: (line) => void lines.push(JSON.parse(line)) } } })
    t.teardown(() => app.close())
    const { databaseUrl } = worldOf('sqlite')
    const settings = { ...CHEAP, databaseUrl: await databaseUrl(t) }
    await app.register(latchkey, { ...settings, authenticationSchemes: ['jwt', 'basic'] })
    await app.register(authRoutes, { prefix: '/api' })
    await app.register(accountRoutes, { prefix: '/auth' })
    const { id } = await addUser(app)
    const payload = { username: 'alice', password: PASSWORD }
    const headers = { 'user-agent': 'curl/8' }
    const doors = ['/api/token/', '/api/api-token-auth/', '/auth/token/login/', '/auth/jwt/create/']
    for (const url of doors) {
      t.equal((await app.inject({ method: 'POST', url, payload, headers })).statusCode, 200, url)
      await app.inject({ method: 'POST', url, payload: { ...payload, password: SECRET }, headers })
      await app.inject({ method: 'POST', url, payload: { ...payload, username: SECRET }, headers })
    }
    const basic = (password: string) => `Basic ${Buffer.from(`alice:${password}`).toString('base64')}`
    for (const password of [PASSWORD, SECRET]) {
      await app.inject({ url: '/api/protected/', headers: { ...headers, authorization: basic(password) } })
    }
    await app.auth.users.updateUser(id, { isStaff: true })

    const events = lines.filter(({ event }) => event !== undefined)
    const logins = events.filter(({ event }) => event !== 'rights_changed')
    t.strictSame(
      logins.map(({ event, userId }) => [event, userId]),
      [
        ...doors.flatMap(() => [
          ['login', id],
          ['login_failed', id],
          ['login_failed', null]
        ]),
        ['login', id],
        ['login_failed', id]
      ]
    )
    for (const { reqId, address, userAgent } of logins) {
      t.match({ reqId, address, userAgent }, { reqId: /^req-/, address: '127.0.0.1', userAgent: 'curl/8' })
    }
    t.match(events.at(-1), { event: 'rights_changed', users: { id } })
    t.notMatch(JSON.stringify(lines), SECRET)
  }
)

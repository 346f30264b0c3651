/** One count of failed logins for everything that checks a password. */
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { accountRoutes, isAuthenticated } from '../../src/index.ts'
import { worldOf } from '../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../support/journeys.ts'

const { build } = worldOf('sqlite')

const basic = (password: string) => `Basic ${Buffer.from(`alice:${password}`).toString('base64')}`
const credentials = { username: 'alice', password: 'wrong' }

type Attempt = (app: FastifyInstance, access: string, csrf: Record<string, string>) => Promise<{ statusCode: number }>

/** Each checks one wrong password. */
const ATTEMPTS: Record<string, Attempt> = {
  '/api/token/': (app) => app.inject({ method: 'POST', url: '/api/token/', payload: credentials }),
  '/api/token/sliding/': (app) => app.inject({ method: 'POST', url: '/api/token/sliding/', payload: credentials }),
  '/api/api-token-auth/': (app) => app.inject({ method: 'POST', url: '/api/api-token-auth/', payload: credentials }),
  '/api/session/': (app, _access, headers) =>
    app.inject({ method: 'POST', url: '/api/session/', payload: credentials, headers }),
  '/auth/token/login/': (app) => app.inject({ method: 'POST', url: '/auth/token/login/', payload: credentials }),
  '/auth/jwt/create/': (app) => app.inject({ method: 'POST', url: '/auth/jwt/create/', payload: credentials }),
  'HTTP Basic': (app) => app.inject({ url: '/basic', headers: { authorization: basic('wrong') } }),
  current_password: (app, access) =>
    app.inject({
      method: 'POST',
      url: '/auth/users/set_password/',
      headers: bearer(access),
      payload: { current_password: 'wrong', new_password: 'another-pass-77' }
    })
}

const start = (loginRate: string) =>
  build(t, { loginRate, authenticationSchemes: ['jwt', 'basic'] }, async (app) => {
    await app.register(accountRoutes, { prefix: '/auth' })
    app.get('/basic', { preHandler: isAuthenticated }, async () => ({}))
  })

async function csrfHeaders(app: FastifyInstance): Promise<Record<string, string>> {
  const { cookies } = await app.inject('/api/session/')
  const token = cookies.find(({ name }) => name === 'csrftoken')?.value ?? ''
  return { cookie: `csrftoken=${token}`, 'x-csrftoken': token }
}

t.test('a wrong password anywhere counts everywhere', async (t) => {
  const names = Object.keys(ATTEMPTS)
  const app = await start(`${names.length}/day`)
  const { access } = await obtainPair(app, await addUser(app))
  const csrf = await csrfHeaders(app)

  for (const name of names)
    t.ok([400, 401].includes((await ATTEMPTS[name]?.(app, access, csrf))?.statusCode ?? 0), name)
  for (const name of names) t.equal((await ATTEMPTS[name]?.(app, access, csrf))?.statusCode, 429, name)
  const correct = await app.inject({ url: '/basic', headers: { authorization: basic(PASSWORD) } })
  t.equal(correct.statusCode, 429, 'nor is a correct password checked')
})

t.test('of 100 concurrent requests with Basic, only as many as the limit are checked', async (t) => {
  const app = await start('20/minute')
  await addUser(app)
  const send = (password: string) => app.inject({ url: '/basic', headers: { authorization: basic(password) } })

  const answers = await Promise.all(Array.from({ length: 100 }, (_, at) => send(at === 99 ? PASSWORD : 'wrong')))

  const statuses = answers.map(({ statusCode }) => statusCode)
  t.equal(statuses.filter((status) => status === 401).length, 20)
  t.equal(statuses.filter((status) => status === 429).length, 80)
})

t.test('correct passwords do not use up the limit of a shared address', async (t) => {
  const app = await start('2/day')
  await addUser(app)
  for (let round = 0; round < 5; round++) {
    const login = { method: 'POST', url: '/api/token/', payload: { username: 'alice', password: PASSWORD } } as const
    t.equal((await app.inject(login)).statusCode, 200)
    t.equal((await app.inject({ url: '/basic', headers: { authorization: basic(PASSWORD) } })).statusCode, 200)
  }
})

/** An app in plain JavaScript, as in the README. Prints status and body of its responses. */
import Fastify from 'fastify'
import latchkey, { authRoutes, hasPermission, isAuthenticated } from 'latchkey'

const app = Fastify()
await app.register(latchkey, { databaseUrl: 'file:./host.db', bcryptRounds: 4 })
await app.register(authRoutes, { prefix: '/api' })
app.get('/hello/', { preHandler: isAuthenticated }, async ({ user }) => ({ hello: user.id }))
app.get('/posts/', { preHandler: hasPermission('blog.add_post') }, async () => ({ posts: [] }))
await app.auth.users.createUser({ username: 'alice', password: 's3cret-Pass!' })

const post = (url, payload) => app.inject({ method: 'POST', url, payload })
const { access } = (await post('/api/token/', { username: 'alice', password: 's3cret-Pass!' })).json()
const headers = { authorization: `Bearer ${access}` }
const answers = [
  await app.inject('/hello/'),
  await app.inject({ url: '/hello/', headers }),
  await app.inject({ url: '/posts/', headers }),
  await app.inject({ url: '/api/protected/', headers }),
  await post('/api/token/verify/', { token: access })
]
await app.close()
console.log(JSON.stringify(answers.map(({ statusCode, body }) => [statusCode, body])))

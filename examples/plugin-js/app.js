/** A Fastify app with Latchkey as a plugin, in JavaScript. */
import Fastify from 'fastify'
import latchkey, { authRoutes, errorHandler, isAuthenticated } from 'latchkey'

const { PORT = '3000', DATABASE_URL = 'file:./data/app.db' } = process.env
const ALICE = { username: 'alice', password: 's3cret-Pass!' }

const app = Fastify()
await app.register(latchkey, { databaseUrl: DATABASE_URL })
await app.register(authRoutes, { prefix: '/api' })
app.setErrorHandler(errorHandler)

app.get('/hello/', { preHandler: isAuthenticated }, async ({ user }) => ({ hello: user.id }))

if ((await app.auth.users.get('username', ALICE.username)) === null) await app.auth.users.createUser(ALICE)
console.log(`Listening on ${await app.listen({ port: Number(PORT), host: '127.0.0.1' })}`)

/** A Fastify app with Latchkey as a plugin, in TypeScript: the type of `request.user`, and a guard of the app. */
import Fastify, { type FastifyRequest } from 'fastify'
import latchkey, {
  authRoutes,
  errorHandler,
  guard,
  isAuthenticated,
  NotAuthenticated,
  TokenUser,
  type User
} from 'latchkey'

const { PORT = '3000', DATABASE_URL = 'file:./data/app.db' } = process.env
const ALICE = { username: 'alice', password: 's3cret-Pass!' }

const app = Fastify()
// Each request reads the user from the database, so that handlers know more than the id in the token.
await app.register(latchkey, { databaseUrl: DATABASE_URL, stateless: false })
await app.register(authRoutes, { prefix: '/api' })
app.setErrorHandler(errorHandler)

/** The type of `request.user` is `User | TokenUser | null`: with `stateless: false` and a guard, it is a `User`. */
function userOf({ user }: FastifyRequest): User {
  if (user === null || user instanceof TokenUser) throw new NotAuthenticated()
  return user
}

/** Allows users to read only what is below their own username. */
const isOwner = guard(({ params, user }) => user?.username === (params as { username: string }).username, {
  message: 'These are notes of another user.'
})

app.get('/me/', { preHandler: isAuthenticated }, async (request) => {
  const { username, email, dateJoined } = userOf(request)
  return { username, email, joined: dateJoined }
})
app.get<{ Params: { username: string } }>(
  '/notes/:username/',
  { preHandler: [isAuthenticated, isOwner] },
  async ({ params }) => ({ notes: [`A note of ${params.username}`] })
)

if ((await app.auth.users.get('username', ALICE.username)) === null) await app.auth.users.createUser(ALICE)
console.log(`Listening on ${await app.listen({ port: Number(PORT), host: '127.0.0.1' })}`)

/** A service without users and database, which accepts the access tokens of a Latchkey server. */
import Fastify from 'fastify'
import verify, { errorHandler, isAuthenticated } from 'latchkey/verify'

const { PORT = '4000', ISSUER = 'http://127.0.0.1:3000' } = process.env

const app = Fastify()
await app.register(verify, {
  jwkUrl: `${ISSUER}/.well-known/jwks.json`,
  issuer: ISSUER,
  audience: 'resource-server'
})
app.setErrorHandler(errorHandler)

app.get('/hello/', { preHandler: isAuthenticated }, async ({ user }) => ({ hello: user.id }))

console.log(`Listening on ${await app.listen({ port: Number(PORT), host: '127.0.0.1' })}`)

/** `/.well-known/jwks.json`: the public keys of the service. */
import type { FastifyInstance } from 'fastify'
import Type from 'typebox'
import { JWKS_MAX_AGE_MS } from '../../keys/key-set.ts'
import { assertPlugin } from '../assert-plugin.ts'

const JwkSet = Type.Object({ keys: Type.Array(Type.Record(Type.String(), Type.Unknown())) })

/**
 * Adds `GET /jwks.json` (RFC 7517): the public keys that verify this service's tokens. Secrets are never in it.
 *
 * Register it with the prefix where clients look for it: `app.register(wellKnownRoutes, { prefix: '/.well-known' })`.
 */
export async function wellKnownRoutes(app: FastifyInstance): Promise<void> {
  assertPlugin(app, 'wellKnownRoutes')
  const schema = {
    summary: 'Read the public keys',
    description: 'The JSON Web Key Set that verifies the tokens of this service.',
    tags: ['token'],
    response: { 200: JwkSet }
  }
  // The host may have a serializer compiler for other schemas.
  app.get('/jwks.json', { schema, serializerCompiler: () => JSON.stringify }, async (_request, reply) => {
    reply.header('cache-control', `public, max-age=${JWKS_MAX_AGE_MS / 1000}`).type('application/jwk-set+json')
    return { keys: app.auth.keys.published() }
  })
}

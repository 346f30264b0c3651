/** Checks signatures with @fastify/jwt. */
import type { KeyObject } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import type { Algorithm } from '../crypto/jwa.ts'
import type { VerifySignature } from './key-set.ts'

/**
 * What checks the signatures of one key by its one algorithm.
 *
 * On an app of its own: on the host's it would be in the way of the host's own @fastify/jwt, and has one key only.
 */
export async function createVerifier(algorithm: Algorithm, key: KeyObject): Promise<VerifySignature> {
  const app = Fastify()
  await app.register(fastifyJwt, {
    secret: key.type === 'secret' ? key.export() : { public: key.export({ type: 'spki', format: 'pem' }).toString() },
    verify: { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true }
  })
  return (token) => void app.jwt.verify(token)
}

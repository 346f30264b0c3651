/** Verifies signatures with @fastify/jwt. */
import type { KeyObject } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import type { Algorithm } from '../crypto/jwa.ts'

/** Throws if the token's signature is wrong. Does not check claims. */
export type VerifySignature = (token: string) => void

/**
 * Creates a function that verifies signatures by one key with its one algorithm.
 *
 * @fastify/jwt is registered on a Fastify instance of its own: it supports one key per instance, and on the host's instance it
 * would conflict with the host's own registration.
 */
export async function createVerifier(algorithm: Algorithm, key: KeyObject): Promise<VerifySignature> {
  const app = Fastify()
  await app.register(fastifyJwt, {
    secret: key.type === 'secret' ? key.export() : { public: key.export({ type: 'spki', format: 'pem' }).toString() },
    verify: { algorithms: [algorithm], ignoreExpiration: true, ignoreNotBefore: true }
  })
  return (token) => void app.jwt.verify(token)
}

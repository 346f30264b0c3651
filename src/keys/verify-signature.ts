/** Verifies signatures with @fastify/jwt. */
import type { KeyObject } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import type { Algorithm } from '../crypto/jwa.ts'
import { InvalidToken } from '../errors.ts'

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
  const length = Math.ceil((signatureBytes(algorithm, key) * 4) / 3)
  return (token) => {
    // OpenSSL accepts an RSA signature without its leading zero bytes; RFC 8017 §8.1.2 and §8.2.2 do not.
    if (token.length - token.lastIndexOf('.') - 1 !== length) throw new InvalidToken()
    app.jwt.verify(token)
  }
}

/** RFC 7518 §3.2 to §3.5 and RFC 8037 §3.1. */
function signatureBytes(algorithm: Algorithm, key: KeyObject): number {
  switch (algorithm) {
    case 'HS256':
      return 32
    case 'HS384':
      return 48
    case 'HS512':
    case 'ES256':
    case 'EdDSA':
      return 64
    case 'ES384':
      return 96
    case 'ES512':
      return 132
    default:
      return Math.ceil((key.asymmetricKeyDetails?.modulusLength as number) / 8)
  }
}

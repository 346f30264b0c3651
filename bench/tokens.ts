/** Measures signing and verification of tokens by algorithm, compared with @fastify/jwt alone and jose. */
import { createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import { jwtVerify, SignJWT } from 'jose'
import { ALGORITHMS, type Algorithm, generateKeyText, isSymmetric } from '../src/crypto/jwa.ts'
import { loadConfiguredKeys } from '../src/keys/configured-keys.ts'
import { loadSettings } from '../src/settings/load.ts'
import { Jwt } from '../src/tokens/jwt.ts'
import { compare } from './measure.ts'

const claims = (jti: number) => ({
  token_type: 'access',
  exp: Math.floor(Date.now() / 1000) + 3600,
  iat: Math.floor(Date.now() / 1000),
  jti: String(jti).padStart(32, '0'),
  user_id: '1'
})

export async function tokens(): Promise<void> {
  for (const algorithm of ALGORITHMS) await compareBy(algorithm)
}

async function compareBy(algorithm: Algorithm): Promise<void> {
  const text = generateKeyText(algorithm)
  const settings = loadSettings({ signingKey: text, algorithm })
  const keys = await loadConfiguredKeys(settings)
  const { app, signing, verifying } = await peers(algorithm, text)
  const isFast = isSymmetric(algorithm)
  const maker = new Jwt(settings, keys)
  const many = Array.from({ length: isFast ? 10_000 : 500 }, (_, jti) => maker.encode(claims(jti)))
  let next = 0
  const one = () => many[next++ % many.length] as string
  // A new verifier for each pass over the tokens, whose cache is empty.
  let reader = maker
  let seen = 0
  const unseen = () => {
    if (seen++ % many.length === 0) reader = new Jwt(settings, keys)
    return reader.decode(many[seen % many.length] as string)
  }
  const known = one()
  const rounds = isFast ? {} : { rounds: 9, calls: 100 }

  await compare(
    `Verifying an access token (${algorithm})`,
    {
      '@fastify/jwt alone': () => app.jwt.verify(one()),
      jose: () => jwtVerify(one(), verifying, { algorithms: [algorithm] }),
      'Latchkey, token not in the cache (checks, then @fastify/jwt)': unseen,
      'Latchkey, token in the cache': () => maker.decode(known)
    },
    rounds
  )
  await compare(
    `Signing an access token (${algorithm})`,
    {
      '@fastify/jwt alone': () => app.jwt.sign(claims(1)),
      jose: () => new SignJWT(claims(1)).setProtectedHeader({ alg: algorithm, typ: 'JWT' }).sign(signing),
      Latchkey: () => maker.encode(claims(1))
    },
    rounds
  )
}

async function peers(algorithm: Algorithm, text: string) {
  const app = Fastify()
  if (isSymmetric(algorithm)) {
    await app.register(fastifyJwt, { secret: text, sign: { algorithm }, verify: { algorithms: [algorithm] } })
    const key = createSecretKey(text, 'utf8')
    return { app, signing: key, verifying: key }
  }
  const signing: KeyObject = createPrivateKey(text)
  const verifying = createPublicKey(signing)
  const secret = { private: text, public: verifying.export({ type: 'spki', format: 'pem' }).toString() }
  await app.register(fastifyJwt, { secret, sign: { algorithm }, verify: { algorithms: [algorithm] } })
  return { app, signing, verifying }
}

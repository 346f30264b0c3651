/** What does it cost to check a token, and what does the gate in front of @fastify/jwt add? */
import { createHmac, createSecretKey, timingSafeEqual } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import { loadSettings } from '../src/config.ts'
import { Jwt } from '../src/tokens/jwt.ts'
import { compare } from './measure.ts'

const secret = 'a-secret-for-measuring-0123456789-abcdefghijklmnop'
const settings = loadSettings({ signingKey: secret })
const claims = (jti: number) => ({
  token_type: 'access',
  exp: Math.floor(Date.now() / 1000) + 3600,
  iat: Math.floor(Date.now() / 1000),
  jti: String(jti).padStart(32, '0'),
  user_id: '1'
})

export async function tokens(): Promise<void> {
  const app = Fastify()
  await app.register(fastifyJwt, { secret, verify: { algorithms: ['HS256'] } })
  const jwt = new Jwt(settings, secret, (token) => void app.jwt.verify(token))
  const key = createSecretKey(Buffer.from(secret))
  const bare = new Jwt(settings, secret, (token) => {
    const cut = token.lastIndexOf('.')
    const mac = createHmac('sha256', key).update(token.slice(0, cut)).digest()
    if (!timingSafeEqual(mac, Buffer.from(token.slice(cut + 1), 'base64url'))) throw new Error('wrong')
  })
  // More of them than are remembered, so that each is new when its turn comes again.
  const many = Array.from({ length: 20_000 }, (_, jti) => jwt.encode(claims(jti)))
  let next = 0
  const one = () => many[next++ % many.length] as string
  const known = one()

  await compare('Checking an access token (HS256)', {
    '@fastify/jwt alone': () => app.jwt.verify(one()),
    'Latchkey, a token not seen before: the gate, then @fastify/jwt': () => jwt.decode(one()),
    'the same on node:crypto in place of @fastify/jwt': () => bare.decode(one()),
    'Latchkey, a token seen before': () => jwt.decode(known)
  })
  await compare('Making an access token (HS256)', {
    '@fastify/jwt alone': () => app.jwt.sign(claims(1)),
    Latchkey: () => jwt.encode(claims(1))
  })
}

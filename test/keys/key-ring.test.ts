/** Key rotation with signing keys in the database, revocation, and several processes. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { thumbprintOf } from '../../src/crypto/jwa.ts'
import { ImproperlyConfigured } from '../../src/errors.ts'
import type { KeyRing } from '../../src/keys/key-ring.ts'
import { onEachDatabase, SIGNING_KEY, type TestWorld } from '../support/build.ts'
import { addUser, bearer, obtainPair, refreshWith } from '../support/journeys.ts'
import { claimsOf, headerOf, mint } from '../support/tokens.ts'

const RING = {
  signingKey: undefined,
  keyEncryptionKey: 'a-key-for-keys-0123456789-abcdefghijklmnop',
  algorithm: 'ES256'
}
const PROTECTED = '/api/protected/'

const ringOf = ({ auth }: FastifyInstance) => auth.keys as KeyRing
const statusOf = async (app: FastifyInstance, access: string) =>
  (await app.inject({ url: PROTECTED, headers: bearer(access) })).statusCode
const statesOf = async (app: FastifyInstance) => (await ringOf(app).list()).map(({ state }) => state)

/** Waits up to 15 s until a condition holds. */
async function eventually(t: Test, holds: () => Promise<boolean>, promise: string): Promise<void> {
  const deadline = performance.now() + 15_000
  while (!(await holds()) && performance.now() < deadline) await sleep(100)
  t.ok(await holds(), promise)
}

onEachDatabase(t, (t, { build, databaseUrl }: TestWorld) => {
  t.test("the kid of tokens is the thumbprint of the key, in a header with PyJWT's order", async (t) => {
    const app = await build(t, RING)
    const [current, next] = await ringOf(app).list()

    const { access, refresh } = await obtainPair(app, await addUser(app))

    t.strictSame(headerOf(access), { alg: 'ES256', kid: current?.kid, typ: 'JWT' })
    t.strictSame(Object.keys(headerOf(refresh)), ['alg', 'kid', 'typ'])
    t.match(current, { state: 'current', algorithm: 'ES256', activatedAt: Date, expiresAt: null })
    t.match(next, { state: 'next', algorithm: 'ES256', activatedAt: null, expiresAt: null })
    t.equal(await statusOf(app, access), 200)
    t.equal((await refreshWith(app, refresh)).statusCode, 200)
  })

  t.test('private keys in the database are encrypted and cannot be used with another keyEncryptionKey', async (t) => {
    const url = await databaseUrl(t)
    const app = await build(t, { ...RING, databaseUrl: url })
    const rows = await app.auth.database.signingKey.findMany()

    t.notMatch(JSON.stringify(rows), /PRIVATE KEY|"d"/)
    for (const { kid, publicJwk } of rows)
      t.match(JSON.parse(`${publicJwk}`), { kid, kty: 'EC', use: 'sig', alg: 'ES256' })
    const other = build(t, { ...RING, databaseUrl: url, keyEncryptionKey: `${RING.keyEncryptionKey}-not` })
    await t.rejects(other, ImproperlyConfigured)
    await t.rejects(other, { message: /^keyEncryptionKey: cannot decrypt the signing key [\w-]{43}$/ })
  })

  t.test('after a rotation the next key signs, and the previous one verifies until its tokens expire', async (t) => {
    const app = await build(t, RING)
    const before = await obtainPair(app, await addUser(app))
    const [, next] = await ringOf(app).list()

    const rotated = await ringOf(app).rotate()

    const after = await obtainPair(app)
    t.equal(rotated, next?.kid)
    t.equal(headerOf(after.access).kid, next?.kid)
    t.strictSame(await statesOf(app), ['current', 'next', 'previous'])
    t.equal(await statusOf(app, before.access), 200)
    t.equal((await refreshWith(app, before.refresh)).statusCode, 200)
    const previous = (await ringOf(app).list()).at(-1)
    t.ok(
      Number(previous?.expiresAt) / 1000 >= Number(claimsOf(before.refresh).exp),
      'not before the refresh token expires'
    )
    const retired = await app.auth.database.signingKey.findUnique({ where: { kid: previous?.kid as string } })
    t.equal(retired?.encryptedKey, null, 'the private key is deleted')
  })

  t.test('an expired previous key is rejected and not published, and the next rotation deletes it', async (t) => {
    const app = await build(t, RING)
    const { access } = await obtainPair(app, await addUser(app))
    await ringOf(app).rotate()
    await app.auth.database.signingKey.updateMany({
      where: { role: null },
      data: { expiresAt: new Date(Date.now() - 1) }
    })
    await ringOf(app).reload()

    t.equal(await statusOf(app, access), 401)
    t.equal(ringOf(app).published().length, 2)
    await ringOf(app).rotate()
    t.strictSame(await statesOf(app), ['current', 'next', 'previous'], 'the expired row is deleted')
  })

  t.test('tokens signed by one process right after a rotation are valid in another', async (t) => {
    const url = await databaseUrl(t)
    const [one, two] = await Promise.all([
      build(t, { ...RING, databaseUrl: url }),
      build(t, { ...RING, databaseUrl: url })
    ])
    await addUser(one)

    for (let round = 0; round < 3; round++) {
      const [signer, reader] = round % 2 ? [two, one] : [one, two]
      await ringOf(signer).generate()
      await ringOf(signer).rotate()
      const { access, refresh } = await obtainPair(signer)
      t.equal(await statusOf(reader, access), 200)
      t.equal((await refreshWith(reader, refresh)).statusCode, 200)
    }
  })

  t.test('all processes reject tokens of a revoked key within seconds, also cached ones', async (t) => {
    const url = await databaseUrl(t)
    const one = await build(t, { ...RING, databaseUrl: url })
    const two = await build(t, { ...RING, databaseUrl: url })
    const { access } = await obtainPair(one, await addUser(one))
    t.equal(await statusOf(two, access), 200)

    t.equal(await ringOf(one).revoke(String(headerOf(access).kid)), true)

    t.equal(await statusOf(one, access), 401)
    await eventually(t, async () => (await statusOf(two, access)) === 401, 'rejected by another process')
    t.strictSame(await statesOf(two), ['current', 'next', 'revoked'])
    t.equal(await statusOf(two, (await obtainPair(one)).access), 200, 'the next key signs')
    t.equal(ringOf(one).published().length, 2, 'the revoked key is not published')
    t.equal(await ringOf(one).revoke(String(headerOf(access).kid)), false, 'already revoked')
    t.equal(await ringOf(one).revoke('x'), false)
  })

  t.test('next and previous keys can be revoked', async (t) => {
    const app = await build(t, RING)
    const { access } = await obtainPair(app, await addUser(app))
    const [, next] = await ringOf(app).list()

    t.equal(await ringOf(app).revoke(`${next?.kid}`), true)
    await ringOf(app).rotate()
    t.equal(await statusOf(app, access), 200)
    t.equal(await ringOf(app).revoke(String(headerOf(access).kid)), true)

    t.equal(await statusOf(app, access), 401)
    t.strictSame(await statesOf(app), ['current', 'next', 'revoked', 'revoked'])
  })

  t.test('concurrent rotations each promote another key and leave one current and one next key', async (t) => {
    const url = await databaseUrl(t)
    const apps = await Promise.all([1, 2, 3].map(() => build(t, { ...RING, databaseUrl: url })))
    t.strictSame(await statesOf(apps[0] as FastifyInstance), ['current', 'next'], 'after concurrent starts')

    const rotated = await Promise.all(apps.map((app) => ringOf(app).rotate()))

    const won = rotated.filter((kid) => kid !== null)
    t.ok(won.length >= 1)
    t.equal(new Set(won).size, won.length)
    const states = await statesOf(apps[0] as FastifyInstance)
    t.strictSame(states, ['current', 'next', ...won.map(() => 'previous')])
  })

  t.test('a change of algorithm applies from the next rotation, and earlier tokens remain valid', async (t) => {
    const url = await databaseUrl(t)
    const before = await build(t, { ...RING, databaseUrl: url })
    const { access } = await obtainPair(before, await addUser(before))
    const app = await build(t, { ...RING, databaseUrl: url, algorithm: 'EdDSA' })

    await ringOf(app).generate()
    await ringOf(app).rotate()

    t.equal(headerOf((await obtainPair(app)).access).alg, 'EdDSA')
    t.equal(await statusOf(app, access), 200)
    t.equal(await statusOf(before, (await obtainPair(app)).access), 200)
  })

  t.test('HMAC secrets are supported and not published', async (t) => {
    const app = await build(t, { ...RING, algorithm: 'HS512' })
    const { access } = await obtainPair(app, await addUser(app))
    await ringOf(app).rotate()

    t.match(headerOf(access), { alg: 'HS512', kid: /^[\w-]{43}$/ })
    t.equal(await statusOf(app, access), 200)
    t.strictSame(ringOf(app).published(), [])
  })

  t.test('fallback keys verify earlier tokens and do not sign', async (t) => {
    const app = await build(t, { ...RING, signingKeyFallbacks: [`HS256:${SIGNING_KEY}`] })
    const { id } = await addUser(app)
    const old = mint({ claims: { token_type: 'access', user_id: String(id) } })

    t.equal(await statusOf(app, old), 200)
    t.equal(headerOf((await obtainPair(app)).access).alg, 'ES256')
    const stranger = mint({ claims: { token_type: 'access', user_id: String(id) }, key: `${SIGNING_KEY}x` })
    t.equal(await statusOf(app, stranger), 401)
  })

  t.test('tokens with an unknown or malformed kid are rejected (401)', async (t) => {
    const app = await build(t, RING)
    const { access } = await obtainPair(app, await addUser(app))
    const [, payload, signature] = access.split('.')
    const [current] = await ringOf(app).list()
    const kids = ['x'.repeat(3000), '../../etc/passwd', 'a\0b', "' OR 1=1 --", '', `${current?.kid} `, 'A'.repeat(43)]

    for (const kid of [...kids, 'x'.repeat(10_000), null, 1, {}, ['x']]) {
      const header = Buffer.from(JSON.stringify({ alg: 'ES256', kid, typ: 'JWT' })).toString('base64url')
      t.equal(await statusOf(app, `${header}.${payload}.${signature}`), 401, JSON.stringify(kid).slice(0, 40))
    }
  })

  t.test('automatic rotation after keyRotationAge, once the next key has been published long enough', async (t) => {
    const url = await databaseUrl(t)
    const app = await build(t, { ...RING, databaseUrl: url, keyRotationAge: '1d' })
    const [current] = await ringOf(app).list()
    const long = new Date(Date.now() - 2 * 86_400_000)

    await app.auth.database.signingKey.updateMany({ data: { activatedAt: long } })
    await sleep(3000)
    t.strictSame(await statesOf(app), ['current', 'next'], 'the next key is too new')
    await app.auth.database.signingKey.updateMany({ data: { createdAt: long } })

    await eventually(t, async () => (await ringOf(app).list())[0]?.kid !== current?.kid, 'the next key signs')
    t.strictSame(await statesOf(app), ['current', 'next', 'previous'])
  })
})

t.test('the thumbprint of a key is that of RFC 7638', async (t) => {
  const { createPublicKey } = await import('node:crypto')
  // The example of RFC 7638 §3.1.
  const key = createPublicKey({
    key: {
      kty: 'RSA',
      n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
      e: 'AQAB'
    },
    format: 'jwk'
  })
  t.equal(thumbprintOf(key), 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs')
})

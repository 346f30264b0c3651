/** Signatures that OpenSSL accepts and the RFCs do not. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import t from 'tap'
import { sign } from '../../src/crypto/jwa.ts'
import { InvalidToken } from '../../src/errors.ts'
import { createVerifier } from '../../src/keys/verify-signature.ts'

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })

for (const algorithm of ['RS256', 'PS256'] as const) {
  t.test(`${algorithm}: a signature without its leading zero byte is rejected`, async (t) => {
    const verify = await createVerifier(algorithm, publicKey)
    const [input, signature] = signatureWithZero(algorithm, privateKey)

    t.doesNotThrow(() => verify(`${input}.${signature.toString('base64url')}`))
    t.throws(() => verify(`${input}.${signature.subarray(1).toString('base64url')}`), InvalidToken)
    const longer = Buffer.concat([Buffer.alloc(1), signature])
    t.throws(() => verify(`${input}.${longer.toString('base64url')}`), InvalidToken)
  })
}

/** Signs until the first byte is zero: one signature in 256. */
function signatureWithZero(algorithm: 'RS256' | 'PS256', key: KeyObject): [input: string, signature: Buffer] {
  const header = Buffer.from(JSON.stringify({ alg: algorithm, typ: 'JWT' })).toString('base64url')
  for (let n = 0; ; n++) {
    const input = `${header}.${Buffer.from(JSON.stringify({ n })).toString('base64url')}`
    const signature = Buffer.from(sign(algorithm, key, input), 'base64url')
    if (signature[0] === 0) return [input, signature]
  }
}

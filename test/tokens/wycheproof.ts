/**
 * Valid tokens of one key, and tokens manipulated like Wycheproof's vectors. Where the signed content is manipulated,
 * it is signed again, so that the manipulation is the only reason to reject the token.
 */
import { createHmac, createSecretKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { ALGORITHMS, type Algorithm, sign, verifyingPart } from '../../src/crypto/jwa.ts'
import { encoded, type Part } from './signed.ts'

export interface Signer {
  algorithm: Algorithm
  key: KeyObject
}

/** Tokens by description. */
export type Tokens = Record<string, string>

const CLAIMS = { token_type: 'access', exp: 4_102_444_800, iat: 1_700_000_000, jti: 'a1', user_id: '1' }
const CLAIMS_TEXT = JSON.stringify(CLAIMS)

const headerOf = ({ algorithm }: Signer) => ({ alg: algorithm, typ: 'JWT' })

function signedText({ algorithm, key }: Signer, header: string, payload: string): string {
  const input = `${header}.${payload}`
  return `${input}.${sign(algorithm, key, input)}`
}

/** Returns a token of these parts with a valid signature. */
const tokenOf = (signer: Signer, header: Part = headerOf(signer), payload: Part = CLAIMS) =>
  signedText(signer, encoded(header), encoded(payload))

export const inputOf = (signer: Signer) => `${encoded(headerOf(signer))}.${encoded(CLAIMS)}`
export const signatureOf = (signer: Signer) =>
  Buffer.from(sign(signer.algorithm, signer.key, inputOf(signer)), 'base64url')

/** Returns the valid token with each of these signatures instead of its own. */
export const withSignatures = (signer: Signer, signatures: Record<string, Buffer>): Tokens =>
  mapped(signatures, (signature) => `${inputOf(signer)}.${signature.toString('base64url')}`)

const withHeaders = (signer: Signer, headers: Record<string, Part>) => mapped(headers, (part) => tokenOf(signer, part))
const withMembers = (signer: Signer, members: object[]): Tokens =>
  Object.fromEntries(members.map((one) => [JSON.stringify(one), tokenOf(signer, { ...headerOf(signer), ...one })]))

const mapped = <T>(record: Record<string, T>, change: (value: T) => string): Tokens =>
  Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value)]))

/** Returns unusual valid tokens: RFC 7515 restricts few header parameters, and key references are ignored. */
export function goodTokens(signer: Signer): Tokens {
  const alg = JSON.stringify(signer.algorithm)
  const { jwk, jku, x5u, x5c } = pointersTo(strangerTo(signer))
  return {
    plain: tokenOf(signer),
    ...withMembers(signer, [{ jwk }, { jku }, { x5u }, { x5c }, { kid: 'unknown' }, { typ: 'at+jwt' }, { typ: null }]),
    'whitespace in the JSON': tokenOf(signer, `\n{ "alg" :\t${alg} }\r `, ` ${CLAIMS_TEXT}\n`),
    'alg in escapes': tokenOf(signer, `{"\\u0061lg":${alg}}`),
    'alg twice, the last one valid': tokenOf(signer, `{"alg":"none","alg":${alg}}`)
  }
}

/** Returns tokens that must all be rejected. */
export function bentTokens(signer: Signer): Tokens {
  const bends = {
    ...{ signature: bentSignatures, parts: bentParts, letters: bentLetters, 'JSON serialization': inJson },
    ...{ header: bentHeaders, text: bentTexts, algorithm: otherNames, none: unsigned },
    ...{ sibling: ofSiblings, secret: ofKnownSecrets, pointer: ofStrangers }
  }
  const found = Object.entries(bends).map(([group, bend]) =>
    Object.entries(bend(signer)).map(([name, token]) => [`${group}: ${name}`, token])
  )
  return Object.fromEntries(found.flat())
}

export function changed(bytes: Buffer, index: number, mask = 0x10): Buffer {
  const copy = Buffer.from(bytes)
  copy[index] = (bytes.at(index) ?? 0) ^ mask
  return copy
}

function bentSignatures(signer: Signer): Tokens {
  const good = signatureOf(signer)
  const zero = Buffer.alloc(1)
  const signed = (text: string) => Buffer.from(sign(signer.algorithm, signer.key, text), 'base64url')
  return withSignatures(signer, {
    'first byte': changed(good, 0),
    'byte in the middle': changed(good, good.length >> 1),
    'last byte': changed(good, good.length - 1),
    'last byte missing': good.subarray(0, -1),
    'first byte missing': good.subarray(1),
    half: good.subarray(0, good.length >> 1),
    'one byte': good.subarray(0, 1),
    'zero after': Buffer.concat([good, zero]),
    'zero before': Buffer.concat([zero, good]),
    'three hundred zeros before': Buffer.concat([Buffer.alloc(300), good]),
    zeros: Buffer.alloc(good.length),
    reversed: Buffer.from(good).reverse(),
    'as hex': Buffer.from(good.toString('hex')),
    'of nothing': signed(''),
    'of the claims': signed(encoded(CLAIMS)),
    'of the decoded parts': signed(`${JSON.stringify(headerOf(signer))}.${CLAIMS_TEXT}`),
    'of another user': signed(`${encoded(headerOf(signer))}.${encoded({ ...CLAIMS, user_id: '2' })}`),
    'of another key': signatureOf(strangerTo(signer))
  })
}

function bentParts(signer: Signer): Tokens {
  const good = tokenOf(signer)
  const [header = '', payload = '', signature = ''] = good.split('.')
  const other = encoded({ ...CLAIMS, user_id: '2' })
  return {
    'no signature': `${header}.${payload}.`,
    'no signature nor its dot': `${header}.${payload}`,
    'no payload': signedText(signer, header, ''),
    'no payload nor its dot': `${header}.${signature}`,
    'no header': signedText(signer, '', payload),
    'no header nor its dot': `${payload}.${signature}`,
    'payload alone': payload,
    'payload between dots': `.${payload}.`,
    nothing: '',
    'two dots': '..',
    'other header': `${encoded({ ...headerOf(signer), kid: 'x' })}.${payload}.${signature}`,
    'other payload': `${header}.${other}.${signature}`,
    'header and payload swapped': signedText(signer, payload, header),
    'payload and signature swapped': `${header}.${signature}.${payload}`,
    'dot after': `${good}.`,
    'dot before': `.${good}`,
    'dot in the middle': signedText(signer, header, `.${payload}`),
    'part after': `${good}.Zm8`,
    'part before': `Zm8.${good}`,
    'part in the middle': signedText(signer, `${header}.${payload}`, payload),
    'five parts': `${good}.Zm8.Zm8`,
    'not encoded': signedText(signer, JSON.stringify(headerOf(signer)), CLAIMS_TEXT),
    'a scheme before': `Bearer ${good}`,
    'percent-encoded dots': good.replaceAll('.', '%2E'),
    'too long': tokenOf(signer, headerOf(signer), { ...CLAIMS, filler: 'x'.repeat(4096) })
  }
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
/** Replaces the last character by the next one: the same bytes, if the last character has unused bits. */
const respelled = (text: string) => text.slice(0, -1) + (LETTERS[LETTERS.indexOf(text.slice(-1)) + 1] ?? 'A')
/** Appends spaces, which JSON allows, until the base64url text has unused bits. */
const spareBits = (text: string): string => (text.length % 3 === 0 ? spareBits(`${text} `) : text)

function bentLetters(signer: Signer): Tokens {
  const header = encoded(spareBits(JSON.stringify(headerOf(signer))))
  const payload = encoded(spareBits(CLAIMS_TEXT))
  const signature = sign(signer.algorithm, signer.key, `${header}.${payload}`)
  const tokens = Object.entries(SPELLINGS).map(([name, bend]) => [
    [`${name}, header`, signedText(signer, bend(header), payload)],
    [`${name}, payload`, signedText(signer, header, bend(payload))],
    [`${name}, signature`, `${header}.${payload}.${bend(signature)}`]
  ])
  return Object.fromEntries(tokens.flat())
}

const SPELLINGS: Record<string, (text: string) => string> = {
  'unused bits': respelled,
  'a surplus character': (text) => `${text}${'A'.repeat(1 + ((4 - (text.length % 4)) % 4))}`,
  'one =': (text) => `${text}=`,
  'two =': (text) => `${text}==`,
  'leading spaces': (text) => `    ${text}`,
  'trailing spaces': (text) => `${text}    `,
  'trailing characters': (text) => `${text}####`,
  ...Object.fromEntries(
    [' ', '\n', '\r\n', '\t', '\0', '?', '+', '/', '%', 'é', '\u200b'].map((odd) => [
      `${JSON.stringify(odd)} inside`,
      (text: string) => `${text.slice(0, 8)}${odd}${text.slice(8)}`
    ])
  )
}

function inJson(signer: Signer): Tokens {
  const [header = '', payload = '', signature = ''] = tokenOf(signer).split('.')
  const general = { payload, signatures: [{ protected: header, signature }] }
  return { flat: JSON.stringify({ protected: header, payload, signature }), general: JSON.stringify(general) }
}

function bentHeaders(signer: Signer): Tokens {
  const crits = [null, [], ['exp'], ['alg'], ['b64'], ['typ'], [''], 'exp', '', {}, false, true, 0]
  const kids = [null, 1, true, [], ['a'], {}]
  const others = [{ zip: 'DEF' }, { zip: null }, { b64: false }, { b64: true }, { b64: null }]
  const both = { crit: ['b64'], b64: false }
  return withMembers(signer, [...crits.map((crit) => ({ crit })), ...kids.map((kid) => ({ kid })), ...others, both])
}

/** Returns malformed JSON, JSON of other types, and text in other encodings than UTF-8. */
function oddTexts(text: string): Record<string, Part> {
  const odd = ['null', 'true', '1', '"a"', '[]', `[${text}]`, JSON.stringify(text), '{', `${text}${text}`, `${text}\0`]
  const withByte = (...bytes: number[]) =>
    Buffer.concat([Buffer.from(`${text.slice(0, -1)},"a":"`), Buffer.from(bytes), Buffer.from('"}')])
  return {
    ...Object.fromEntries([...odd, `${text.slice(0, -1)},}`, text.replaceAll('"', "'")].map((one) => [one, one])),
    'a comment': `${text.slice(0, -1)}/**/}`,
    NaN: `${text.slice(0, -1)},"a":NaN}`,
    'a byte order mark': `\ufeff${text}`,
    'UTF-16': Buffer.from(text, 'utf16le'),
    'invalid UTF-8': withByte(0xff),
    'Latin-1': withByte(0xe9),
    'truncated character': withByte(0xc3),
    'overlong encoding': withByte(0xc0, 0xaf),
    'lone surrogate': withByte(0xed, 0xa0, 0x80),
    'beyond Unicode': withByte(0xf4, 0x90, 0x80, 0x80)
  }
}

function bentTexts(signer: Signer): Tokens {
  const header = headerOf(signer)
  const alg = JSON.stringify(signer.algorithm)
  const tokens = Object.entries(oddTexts(CLAIMS_TEXT)).map(([name, part]) => [name, tokenOf(signer, header, part)])
  return {
    ...Object.fromEntries(tokens),
    ...withHeaders(signer, oddTexts(JSON.stringify(header))),
    ...withHeaders(signer, { 'alg twice': `{"alg":${alg},"alg":"none"}`, inherited: `{"__proto__":{"alg":${alg}}}` })
  }
}

function otherNames(signer: Signer): Tokens {
  const { algorithm: own } = signer
  const spellings = [own.toLowerCase(), own.toUpperCase(), ` ${own}`, `${own} `, `${own}\0`]
  const unknown = ['Ed25519', 'Ed448', 'ES256K', 'RS1', 'HS1', '', [own], { alg: own }, [], 0, null, true]
  const names = [...ALGORITHMS, ...spellings, ...unknown].filter((alg) => alg !== own)
  const headers = names.map((alg) => [JSON.stringify(alg), { alg, typ: 'JWT' }])
  return withHeaders(signer, { ...Object.fromEntries(headers), missing: { typ: 'JWT' }, ALG: { ALG: own } })
}

function unsigned(signer: Signer): Tokens {
  const tokens = ['none', 'None', 'NONE', 'nOnE'].map((alg) => {
    const signed = tokenOf(signer, { alg, typ: 'JWT' })
    const input = signed.slice(0, signed.lastIndexOf('.'))
    return { [alg]: `${input}.`, [`${alg} without the dot`]: input, [`${alg} signed`]: signed }
  })
  return Object.assign({}, ...tokens)
}

/** Returns the other algorithms that the key supports. */
const siblingsOf = ({ algorithm }: Signer) =>
  ALGORITHMS.filter((one) => one !== algorithm && familyOf(one) === familyOf(algorithm))
const familyOf = (algorithm: string) => algorithm.slice(0, 2).replace('PS', 'RS')

function ofSiblings(signer: Signer): Tokens {
  const input = inputOf(signer)
  const tokens = siblingsOf(signer).map((algorithm) => [
    [`named ${algorithm}`, tokenOf({ ...signer, algorithm })],
    [`signed by ${algorithm}`, `${input}.${sign(algorithm, signer.key, input)}`]
  ])
  return Object.fromEntries(tokens.flat())
}

/** Algorithm confusion: tokens signed with a public key, or a guessable text, as HMAC secret. */
function ofKnownSecrets(signer: Signer): Tokens {
  const tokens = Object.entries({ ...publicTexts(signer.key), nothing: '', secret: 'secret' }).flatMap(
    ([name, secret]) =>
      ['HS256', 'HS384', 'HS512', signer.algorithm].map((alg) => {
        const input = `${encoded({ alg, typ: 'JWT', kid: '../../../dev/null' })}.${encoded(CLAIMS)}`
        const hash = `sha${alg.replace(/^\D+/, '') || '512'}`
        return [`${name}, ${alg}`, `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`]
      })
  )
  return Object.fromEntries(tokens)
}

function publicTexts(key: KeyObject): Record<string, string | Buffer> {
  if (key.type === 'secret') return { 'its own, encoded': key.export().toString('base64url') }
  const own = verifyingPart(key)
  const pem = own.export({ type: 'spki', format: 'pem' }).toString()
  const jwk = own.export({ format: 'jwk' })
  const texts = { 'its PEM': pem, 'its PEM without the final newline': pem.trim(), 'its JWK': JSON.stringify(jwk) }
  const number = Buffer.from(jwk.n ?? jwk.x ?? '', 'base64url')
  return { ...texts, 'its DER': own.export({ type: 'spki', format: 'der' }), 'its number': number }
}

/** Returns tokens that embed or reference the foreign key by which they are signed. */
function ofStrangers(signer: Signer): Tokens {
  const stranger = strangerTo(signer)
  const members = Object.entries(pointersTo(stranger)).map(([name, value]) => ({ [name]: value }))
  return withMembers(stranger, [...members, pointersTo(stranger)])
}

function pointersTo({ key }: Signer) {
  const address = 'https://attacker.example/keys'
  const own = verifyingPart(key)
  const der = own.type === 'secret' ? own.export() : own.export({ type: 'spki', format: 'der' })
  return { jwk: own.export({ format: 'jwk' }), jku: address, x5u: address, x5c: [der.toString('base64')] }
}

const strangers = new Map<string, KeyObject>()

/** Returns a signer with another key of the same type, generated once per type. */
function strangerTo({ algorithm, key }: Signer): Signer {
  const { namedCurve = '' } = key.asymmetricKeyDetails ?? {}
  const kind = `${key.asymmetricKeyType} ${namedCurve}`
  const other = strangers.get(kind) ?? newKey(key.asymmetricKeyType, namedCurve)
  strangers.set(kind, other)
  return { algorithm, key: other }
}

function newKey(type: string | undefined, namedCurve: string): KeyObject {
  if (type === 'rsa') return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  if (type === 'ec') return generateKeyPairSync('ec', { namedCurve }).privateKey
  return type === 'ed25519' ? generateKeyPairSync('ed25519').privateKey : createSecretKey(randomBytes(64))
}

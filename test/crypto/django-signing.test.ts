/** django.core.signing: verification of recorded and forged data. */
import { createHash, createHmac } from 'node:crypto'
import { deflateSync } from 'node:zlib'
import t from 'tap'
import { SignedData } from '../../src/crypto/django-signing.ts'
import { SIGNING_KEY } from '../support/settings.ts'

const SALT = 'django.contrib.sessions.SessionStore'
const OTHER = 'another-secret-0123456789-abcdefghijklmnopqrstuvwxyz'
const signed = new SignedData([SIGNING_KEY], SALT)

/** Signed by Django 5.2 at the Unix time 1700000000. */
const VECTORS: [data: Record<string, unknown>, text: string][] = [
  [{}, 'e30:1r31eq:xjkvbTp7FlPOq-7p362H_eR8lrUmnlfEEBNgzimdUNo'],
  [{ a: 1 }, 'eyJhIjoxfQ:1r31eq:m2in9xTkYLzVffKjkAThU2SSknpkL6ipsU-OUSBK80A'],
  [
    {
      _auth_user_id: '1',
      _auth_user_backend: 'django.contrib.auth.backends.ModelBackend',
      _auth_user_hash: '0'.repeat(64)
    },
    '.eJyrVopPLC3JiC8tTi2Kz0xRslIyVNJBFktKTM5OzQNJpGQl5qXn6yXn55UUZSbpgZToQWWL9XzzU1JznKBqUQzISCzOAOo2oBAo1QIAIvYyTQ:1r31eq:_TBtlEFElqh8MCFTtenEhOxGDvsAk8eY0M34sNirQDM'
  ],
  [{ k: 'ééé' }, '.eJyrVspWslKKKTUwSLVEJpVqAWU7B5M:1r31eq:lfmhi3rCPSEYxq1qPnCacDcelW1Flavl-b9MrEJXJHw']
]

/** Signs arbitrary content, such as Django would not create. */
function sign(content: string): string {
  const key = createHash('sha256').update(`${SALT}signer${SIGNING_KEY}`).digest()
  const value = `${content}:1r31eq`
  return `${value}:${createHmac('sha256', key).update(value).digest('base64url')}`
}

t.test("data signed by Django are read, and written identically except for zlib's output", async (t) => {
  t.intercept(Date, 'now', { value: () => 1_700_000_000_000 })
  for (const [data, text] of VECTORS) {
    t.strictSame(signed.loads(text), data)
    const written = signed.dumps(data)
    if ('_auth_user_id' in data) t.match(written, /^\.eJ[\w-]{100,170}:1r31eq:[\w-]{43}$/)
    else t.equal(written, text)
    t.strictSame(signed.loads(written), data)
  }
})

t.test('all secrets verify, the first one signs, and another salt is rejected', async (t) => {
  const both = new SignedData([OTHER, SIGNING_KEY], SALT)
  t.strictSame(both.loads(VECTORS[1]?.[1] ?? ''), { a: 1 })
  t.strictSame(new SignedData([OTHER], SALT).loads(both.dumps({ b: '😀\x7f\n' })), { b: '😀\x7f\n' })
  t.equal(signed.loads(both.dumps({})), null)
  t.equal(new SignedData([SIGNING_KEY], 'another salt').loads(signed.dumps({})), null)
})

t.test('altered, truncated and malformed data are rejected', async (t) => {
  const [, text = ''] = VECTORS[1] ?? []
  for (const [at, character] of [...text].entries()) {
    const other = character === 'A' ? 'B' : 'A'
    t.equal(signed.loads(text.slice(0, at) + other + text.slice(at + 1)), null, `changed at ${at}`)
    t.equal(signed.loads(text.slice(0, at)), null, `truncated at ${at}`)
  }
  for (const odd of ['', ':', '::', ':::', 'é:1:é', 'a:b:c', '\ud800:1:1', text.repeat(2)])
    t.equal(signed.loads(odd), null)
})

t.test('signed values that are not objects or decompress to over a megabyte are rejected', async (t) => {
  const plain = (text: string) => Buffer.from(text).toString('base64url')
  const packed = (text: string) => `.${deflateSync(text).toString('base64url')}`
  for (const content of ['', '.', plain('[]'), plain('null'), plain('1'), plain('{'), '.AAAA', packed('[1]'), '!!']) {
    t.equal(signed.loads(sign(content)), null, content)
  }
  t.equal(signed.loads(sign(packed(`{"a":"${'a'.repeat(2 ** 20)}"}`))), null)
  t.match(signed.loads(sign(packed(`{"a":"${'a'.repeat(2 ** 19)}"}`))), { a: /^a+$/ })
  const key = createHash('sha256').update(`${SALT}signer${SIGNING_KEY}`).digest()
  t.equal(
    signed.loads(`e30:${createHmac('sha256', key).update('e30').digest('base64url')}`),
    null,
    'without a timestamp'
  )
})

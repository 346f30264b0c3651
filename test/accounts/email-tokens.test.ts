/** Reset tokens are Django's, byte for byte. */
import t from 'tap'
import { idOf, ResetTokens, uidOf } from '../../src/accounts/email-tokens.ts'
import { SIGNING_KEY } from '../support/build.ts'

/** Made by Django 5.2; times are seconds from 2001. */
const VECTORS = [
  {
    owner: { id: 1, password: 'md5$abc$def', lastLogin: null, email: 'alice@example.com' },
    ...{ seconds: 800_000_000, token: 'd8ary8-f3d60a1cb475557b1ce1765d136188d2', uid: 'MQ' }
  },
  {
    owner: {
      id: 42,
      password: 'pbkdf2_sha256$1000000$abcdefghijklmnopqrstuv$ESUkIq3XvMIs+R/ZmdQSkE1EDQIVk18SzognBfgBuPQ=',
      lastLogin: new Date('2024-05-06T07:08:09.123Z'),
      email: 'bob@example.com'
    },
    ...{ seconds: 817_000_123, token: 'dif5bv-1631132a00c2d0bca09aa89214e6cdc5', uid: 'NDI' }
  },
  {
    owner: { id: 7, password: `!${'a'.repeat(40)}`, lastLogin: null, email: '' },
    ...{ seconds: 1, token: '1-568714b0f7f5ee8b78253a0a5f50aabb', uid: 'Nw' }
  }
]
const EPOCH = Date.UTC(2001, 0, 1)
const THREE_DAYS = 259_200

t.test('tokens and ids are written and read as Django does', async (t) => {
  let now = 0
  t.intercept(Date, 'now', { value: () => now })
  const tokens = new ResetTokens([SIGNING_KEY], THREE_DAYS)
  for (const { owner, seconds, token, uid } of VECTORS) {
    now = EPOCH + seconds * 1000
    t.equal(tokens.make(owner), token)
    t.ok(tokens.check(owner, token))
    t.equal(uidOf(owner), uid)
    t.equal(idOf(uid), owner.id)
    now += THREE_DAYS * 1000
    t.ok(tokens.check(owner, token), 'for three days')
    now += 1000
    t.notOk(tokens.check(owner, token), 'and no longer')
  }
})

t.test('a change of password, address or login ends a token; being deactivated does not', async (t) => {
  const tokens = new ResetTokens([SIGNING_KEY], THREE_DAYS)
  const owner = { id: 1, password: 'md5$a$b', lastLogin: null, email: 'a@b.cd', isActive: true }
  const token = tokens.make(owner)
  t.ok(tokens.check({ ...owner, isActive: false } as typeof owner, token))
  for (const change of [{ password: 'md5$a$c' }, { email: 'A@b.cd' }, { lastLogin: new Date() }, { id: 2 }]) {
    t.notOk(tokens.check({ ...owner, ...change } as typeof owner, token), JSON.stringify(change))
  }
})

t.test('tokens of an older secret are taken as long as it is named, and new ones are of the first', async (t) => {
  const owner = { id: 1, password: 'x', lastLogin: null, email: '' }
  const old = new ResetTokens(['an older secret'], THREE_DAYS).make(owner)
  t.ok(new ResetTokens([SIGNING_KEY, 'an older secret'], THREE_DAYS).check(owner, old))
  t.notOk(new ResetTokens([SIGNING_KEY], THREE_DAYS).check(owner, old))
})

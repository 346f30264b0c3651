/** Checks docs/simplejwt.md, the guide for teams that migrate, against the settings, options and routes. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { LatchkeyOptions } from '../../src/index.ts'
import { environmentName, loadEnvironment } from '../../src/settings/load.ts'
import { SETTING_NAMES, settingOf } from '../../src/settings/schema.ts'
import { worldOf } from '../support/build.ts'

/** SimpleJWT's settings with plain values, and their defaults in environment syntax; null for Django's SECRET_KEY. */
const VALUES: Record<string, string | null> = {
  ACCESS_TOKEN_LIFETIME: '5m',
  REFRESH_TOKEN_LIFETIME: '1d',
  ROTATE_REFRESH_TOKENS: 'off',
  BLACKLIST_AFTER_ROTATION: 'off',
  UPDATE_LAST_LOGIN: 'off',
  ALGORITHM: 'HS256',
  SIGNING_KEY: null,
  VERIFYING_KEY: '',
  AUDIENCE: '',
  ISSUER: '',
  JWK_URL: '',
  LEEWAY: '0',
  AUTH_HEADER_TYPES: 'Bearer',
  AUTH_HEADER_NAME: 'HTTP_AUTHORIZATION',
  USER_ID_FIELD: 'id',
  USER_ID_CLAIM: 'user_id',
  AUTH_TOKEN_CLASSES: 'AccessToken',
  TOKEN_TYPE_CLAIM: 'token_type',
  JTI_CLAIM: 'jti',
  SLIDING_TOKEN_REFRESH_EXP_CLAIM: 'refresh_exp',
  SLIDING_TOKEN_LIFETIME: '5m',
  SLIDING_TOKEN_REFRESH_LIFETIME: '1d',
  CHECK_REVOKE_TOKEN: 'off',
  REVOKE_TOKEN_CLAIM: 'hash_password',
  CHECK_USER_IS_ACTIVE: 'on'
}
const FUNCTIONS = [
  ...['JSON_ENCODER', 'USER_AUTHENTICATION_RULE', 'ON_LOGIN_SUCCESS', 'ON_LOGIN_FAILED', 'TOKEN_USER_CLASS'],
  ...['TOKEN_OBTAIN_SERIALIZER', 'TOKEN_REFRESH_SERIALIZER', 'TOKEN_VERIFY_SERIALIZER', 'TOKEN_BLACKLIST_SERIALIZER'],
  ...['SLIDING_TOKEN_OBTAIN_SERIALIZER', 'SLIDING_TOKEN_REFRESH_SERIALIZER']
]
const REMOVED = ['AUTH_HEADER_TYPE', 'AUTH_TOKEN_CLASS', 'SECRET_KEY', 'TOKEN_BACKEND_CLASS']

const PATHS = ['', 'refresh/', 'verify/', 'blacklist/', 'sliding/', 'sliding/refresh/'].map((to) => `/api/token/${to}`)

const page = readFileSync(new URL('../../docs/simplejwt.md', import.meta.url), 'utf8')
const SETTINGS = new Map(SETTING_NAMES.map((name) => [environmentName(name), name]))

/** Excludes the settings that SimpleJWT has removed, one of which has the name of a setting of Django. */
const isOurs = (name: string) => SETTINGS.has(name) && !REMOVED.includes(name)

const sectionOf = (title: string) => page.split(/^## /m).find((section) => section.startsWith(`${title}\n`)) ?? ''

/** Returns the cells of the rows that begin with a name, without backticks. */
const rowsOf = (section: string): string[][] =>
  section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.slice(1, -1).split('|'))
    .map((cells) => cells.map((cell) => cell.replaceAll('`', '').trim()))

/** Returns the environment variables that the page sets for the defaults of SimpleJWT. */
const linesBesideDjango = (): [name: string, value: string][] => {
  const [, block = ''] = /```sh\n(.*?)```/s.exec(sectionOf('Running beside a live Django')) ?? []
  return block
    .trim()
    .split('\n')
    .map((line) => line.split('=', 2) as [string, string])
}

t.test('every setting of SimpleJWT, current or removed, has exactly one row', async (t) => {
  const wanted = [...Object.keys(VALUES), ...FUNCTIONS, ...REMOVED]
  t.equal(wanted.length, 36 + 4)
  const named = rowsOf(sectionOf('Settings')).map(([name = '']) => name)
  t.strictSame(named.filter((name) => !isOurs(name)).toSorted(), wanted.toSorted())
})

t.test('settings with values are listed under JWT_ and their names, with the defaults of both packages', async (t) => {
  const rows = new Map(rowsOf(sectionOf('Settings')).map(([name = '', ...cells]) => [name, cells]))
  for (const [name, fallback] of Object.entries(VALUES)) {
    const [theirs, here = '', ours = '?'] = rows.get(name) ?? []
    const setting = SETTINGS.get(here)
    t.equal(here, `JWT_${name}`)
    if (fallback !== null) t.equal(theirs, fallback, name)
    if (ours === '') t.equal(setting && settingOf(setting).default, null, `${here} has no default`)
    else t.strictSame(loadEnvironment({ [here]: ours }), loadEnvironment({}), `${here} is ${ours} by default`)
  }
})

t.test('settings of Latchkey only are listed with their defaults, and no JWT_ setting is missing', async (t) => {
  const own = rowsOf(sectionOf('Settings')).filter(([name = '']) => isOurs(name))
  for (const [name = '', fallback] of own) {
    t.strictSame(loadEnvironment({ [name]: fallback }), loadEnvironment({}), name)
  }
  const told = [...own.map(([name]) => name), ...Object.keys(VALUES).map((name) => `JWT_${name}`)]
  const ours = [...SETTINGS.keys()].filter((name) => name.startsWith('JWT_'))
  t.strictSame(
    ours.filter((name) => !told.includes(name)),
    []
  )
})

t.test('every JWT_ name on the page is a setting', async (t) => {
  const named = page.match(/\bJWT_[A-Z0-9_]+/g) ?? []
  t.ok(named.length > 40)
  t.strictSame(
    named.filter((name) => !SETTINGS.has(name)),
    []
  )
})

t.test('a removed setting is rejected with the replacement that the page names', async (t) => {
  const rows = new Map(rowsOf(sectionOf('Settings')).map(([name = '', here]) => [name, here]))
  for (const name of REMOVED) {
    const message = `JWT_${name}: was removed from SimpleJWT; use ${rows.get(name)}`
    t.throws(() => loadEnvironment({ [`JWT_${name}`]: 'x' }), { message }, name)
  }
})

t.test('every path on the page is a route, and the page has all token routes', async (t) => {
  const app = await worldOf('sqlite').build(t)
  const named = [...new Set(page.match(/\/api\/[\w/-]*/g))]
  t.strictSame(named.toSorted(), PATHS.toSorted())
  for (const url of named) {
    t.equal((await app.inject({ method: 'OPTIONS', url })).statusCode, 200, url)
    t.equal((await app.inject({ method: 'POST', url: url.slice(0, -1) })).statusCode, 400, `${url} without its slash`)
  }
  t.equal((await app.inject({ method: 'OPTIONS', url: '/api/token/nonesuch/' })).statusCode, 404)
})

t.test('every option and function on the page exists', async (t) => {
  const { build } = worldOf('sqlite')
  const cells = rowsOf(sectionOf('Settings')).flat()
  const named = cells.flatMap((cell) => /^options? (.*)$/.exec(cell)?.[1]?.split(', ') ?? [])
  t.ok(named.length > 5)
  const options: LatchkeyOptions = Object.fromEntries(named.map((name) => [name, () => true]))
  const { auth } = await build(t, options)
  await t.rejects(build(t, { ...options, nonesuch: () => true } as LatchkeyOptions), /nonesuch: unknown setting/)

  const functions = new Set([...page.matchAll(/app\.auth\.(?:tokens|verifier)\.\w+(?=\()/g)].map(([name]) => name))
  t.equal(functions.size, 6)
  for (const path of functions) {
    const [, , part, name] = path.split('.') as ['app', 'auth', 'tokens' | 'verifier', string]
    t.type((auth[part] as unknown as Record<string, unknown>)[name], 'function', path)
  }
})

t.test('every variable for running beside Django is a setting and differs from its default', async (t) => {
  const lines = linesBesideDjango()
  t.ok(lines.length > 3)
  for (const [name, value] of lines) {
    t.ok(SETTINGS.has(name), name)
    const settings = loadEnvironment({ [name]: value })
    // This line shows one of two cases, which may be the default.
    if (name !== 'JWT_REFRESH_STORE') t.strictNotSame(settings, loadEnvironment({}), `${name} has another default`)
  }
})

t.test('with the variables for running beside Django all settings have the defaults of SimpleJWT', async (t) => {
  const settings = loadEnvironment(Object.fromEntries(linesBesideDjango()))
  const theirs = Object.entries(VALUES).flatMap(([name, value]) => (value ? [[`JWT_${name}`, value]] : []))
  const theirSettings = loadEnvironment(Object.fromEntries(theirs))
  for (const name of Object.keys(VALUES)) {
    const setting = SETTINGS.get(`JWT_${name}`)
    t.ok(setting && Object.hasOwn(settings, setting), name)
    if (setting) t.strictSame(settings[setting], theirSettings[setting], name)
  }
  t.match(settings, { stateless: false, refreshStore: 'blacklist', loginRate: 'off', passwordTrim: true })
  t.equal(settings.passwordHashers[0], 'pbkdf2_sha256', "Django's first hasher that needs no package")
})

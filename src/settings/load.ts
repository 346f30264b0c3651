/** Settings from the options of a plugin or from the environment: read, checked, all faults told at once, frozen. */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import Value from 'typebox/value'
import {
  ALGORITHMS,
  type Algorithm,
  InvalidKey,
  isSymmetric,
  readSigningKey,
  readVerifyingKey,
  thumbprintOf,
  verifyingPart,
  weaknessOfSecret
} from '../crypto/jwa.ts'
import { deepFreeze } from '../deep-freeze.ts'
import { ImproperlyConfigured } from '../errors.ts'
import { parseDuration, type Reader } from './fields.ts'
import { SETTING_NAMES, SETTINGS, type SettingName, type Settings, type SettingsInput } from './schema.ts'

/** `accessTokenLifetime` is `JWT_ACCESS_TOKEN_LIFETIME`. */
export function environmentName(name: SettingName): string {
  const snake = name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
  return SETTINGS[name].jwt ? `JWT_${snake}` : snake
}

const SWITCHES: Record<string, boolean> = {
  on: true,
  true: true,
  yes: true,
  1: true,
  off: false,
  false: false,
  no: false,
  0: false
}

const READERS: Record<Reader, (value: string) => unknown> = {
  boolean: (value) => SWITCHES[value.toLowerCase()] ?? value,
  claim: (value) => (value === 'none' ? null : value),
  duration: parseDuration,
  list: (value) => (value === 'off' || value === 'none' ? [] : value.split(',').map((item) => item.trim())),
  number: (value) => (/^\d+$/.test(value) ? Number(value) : Number.NaN),
  text: (value) => value,
  texts: (value) => (value.includes(',') ? value.split(',').map((item) => item.trim()) : value)
}

/**
 * Checks the settings of a plugin or server and fills in the defaults.
 *
 * @throws {ImproperlyConfigured} naming every fault at once, without showing a value
 */
export function loadSettings(input: SettingsInput): Settings {
  return check(input, (name) => name)
}

/**
 * The same for an app that signs no tokens, and so needs no key to sign with.
 *
 * @throws {ImproperlyConfigured} naming every fault at once, without showing a value
 */
export function loadVerifierSettings(input: SettingsInput): Settings {
  const { signingKey: _, ...checks } = CHECKS
  return check(input, (name) => name, [], checks)
}

/**
 * Reads the settings from environment variables. An empty one counts as absent; a misspelt `JWT_…` is a fault.
 *
 * @throws {ImproperlyConfigured} naming every fault at once, without showing a value
 */
export function loadEnvironment(environment: Record<string, string | undefined>): Settings {
  const input: Record<string, string> = {}
  for (const name of SETTING_NAMES) {
    const value = environment[environmentName(name)]?.trim()
    if (value) input[name] = value
  }
  const known = new Set(SETTING_NAMES.map(environmentName))
  const unknown = Object.keys(environment).filter((name) => name.startsWith('JWT_') && !known.has(name))
  return check(input, environmentName, unknown.map(complain))
}

/** SimpleJWT's own, long gone, which it refuses by name; what they have become. */
const REMOVED: Record<string, string> = {
  JWT_AUTH_HEADER_TYPE: 'JWT_AUTH_HEADER_TYPES',
  JWT_AUTH_TOKEN_CLASS: 'JWT_AUTH_TOKEN_CLASSES',
  JWT_SECRET_KEY: 'JWT_SIGNING_KEY',
  JWT_TOKEN_BACKEND_CLASS: 'JWT_ALGORITHM and JWT_SIGNING_KEY'
}

const complain = (name: string) =>
  name in REMOVED ? `${name}: has been removed; there is ${REMOVED[name]} now` : `${name}: there is no such setting`

function check(
  input: SettingsInput,
  nameOf: (name: SettingName) => string,
  faults: string[] = [],
  checks: Checks = CHECKS
): Settings {
  const values: Record<string, unknown> = {}
  for (const [name, given] of Object.entries(input)) {
    if (given === undefined) continue
    if (!Object.hasOwn(SETTINGS, name)) faults.push(`${name}: there is no such setting`)
    else values[name] = typeof given === 'string' ? READERS[SETTINGS[name as SettingName].reads](given) : given
  }
  const unread = KEYS.filter((name) => {
    try {
      if (name in values) values[name] = contentOf(values[name])
      return false
    } catch (error) {
      faults.push(`${nameOf(name)}: ${(error as Error).message}`)
      return true
    }
  })
  const settings = { ...DEFAULTS, ...values } as Settings
  const mistyped = SETTING_NAMES.filter((name) => !Value.Check(SETTINGS[name], settings[name]))
  for (const name of mistyped) faults.push(`${nameOf(name)}: must be ${SETTINGS[name].expects}`)
  const wrong = [...unread, ...mistyped]
  // What is wrong has been said, and has no say in the rest.
  const sound = { ...settings, ...Object.fromEntries(wrong.map((name) => [name, DEFAULTS[name]])) }
  for (const [name, fault] of Object.entries(checks)) {
    const complaint = wrong.includes(name as SettingName) ? undefined : fault(sound)
    if (complaint) faults.push(`${nameOf(name as SettingName)}: ${complaint}`)
  }
  if (faults.length > 0) throw new ImproperlyConfigured(faults)
  // A copy: neither the caller's own lists nor the schema's defaults are to be frozen.
  return deepFreeze(structuredClone(settings))
}

const DEFAULTS = Object.fromEntries(SETTING_NAMES.map((name) => [name, SETTINGS[name].default]))

/** Those that may be in a file of their own, as secrets are handed to containers. */
const KEYS = [
  ...(['signingKey', 'verifyingKey', 'keyEncryptionKey', 'signingKeyFallbacks'] as const),
  ...(['secretKey', 'secretKeyFallbacks'] as const)
]

/** `file:PATH`, also behind an algorithm's name, becomes what is in that file. */
function contentOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(contentOf)
  const [, name = '', path] = (typeof value === 'string' && /^(\w+:)?file:(.+)$/s.exec(value)) || []
  return path === undefined ? value : name + readFileSync(path, 'utf8').trim()
}

type Checks = Partial<Record<SettingName, (settings: Settings) => string | undefined>>

/** What a type cannot say of a value. */
const CHECKS: Checks = {
  signingKey: ({ signingKey, algorithm, databaseUrl, keyEncryptionKey }) => {
    if (signingKey !== null && keyEncryptionKey !== null) {
      return 'signs nothing where the database has the keys; to keep its tokens good, name it in the fallbacks'
    }
    if (signingKey !== null) return complaintAbout(() => readSigningKey(signingKey, algorithm))
    if (keyEncryptionKey !== null) return undefined
    if (databaseUrl.startsWith('file:') && isSymmetric(algorithm)) return undefined
    const [why, option] = isSymmetric(algorithm) ? ['PostgreSQL', ''] : [algorithm, ` --algorithm ${algorithm}`]
    return `is needed with ${why}; make one with \`latchkey generatekey${option}\`, or have keys in the database`
  },
  verifyingKey: ({ verifyingKey, signingKey, keyEncryptionKey, algorithm }) => {
    if (verifyingKey === null) return undefined
    if (keyEncryptionKey !== null) return 'has no use where the database has the keys; name it in the fallbacks'
    if (isSymmetric(algorithm)) return `has no use with ${algorithm}, whose one key signs and verifies`
    return complaintAbout(() => {
      const thumbprint = thumbprintOf(readVerifyingKey(verifyingKey, algorithm))
      const own = signingKey === null ? null : verifyingPart(readSigningKey(signingKey, algorithm))
      if (own && thumbprintOf(own) !== thumbprint) throw new InvalidKey('does not go with the signing key')
    })
  },
  signingKeyFallbacks: ({ signingKeyFallbacks, algorithm }) => {
    for (const [index, text] of signingKeyFallbacks.entries()) {
      const { algorithm: own, key } = fallbackOf(text, algorithm)
      const complaint = complaintAbout(() => readVerifyingKey(key, own))
      if (complaint) return `key ${index + 1} ${complaint}`
    }
    return undefined
  },
  keyEncryptionKey: ({ keyEncryptionKey }) =>
    keyEncryptionKey === null ? undefined : weaknessOfSecret(keyEncryptionKey),
  keyRotationAge: ({ keyRotationAge, keyEncryptionKey }) =>
    keyRotationAge !== null && keyEncryptionKey === null
      ? 'is of keys in the database, which are there with JWT_KEY_ENCRYPTION_KEY only'
      : undefined,
  secretKey: ({ secretKey }) => (secretKey === null ? undefined : weaknessOfSecret(secretKey)),
  secretKeyFallbacks: ({ secretKeyFallbacks }) => {
    const weaknesses = secretKeyFallbacks.map((secret) => weaknessOfSecret(secret))
    const first = weaknesses.findIndex((weakness) => weakness !== undefined)
    return first < 0 ? undefined : `secret ${first + 1} ${weaknesses[first]}`
  },
  csrfTrustedOrigins: ({ csrfTrustedOrigins }) =>
    csrfTrustedOrigins.every((origin) => /^https?:/.test(origin) && isOrigin(origin.replace('://*.', '://')))
      ? undefined
      : 'must be a list with commas of origins such as https://app.example.com or https://*.example.com',
  trustProxy: ({ trustProxy }) =>
    trustProxy.every(isNetwork) ? undefined : 'must be a list with commas of addresses or networks such as 10.0.0.0/8',
  cookieOrigins: ({ cookieOrigins }) =>
    cookieOrigins.every(isOrigin) ? undefined : 'must be a list with commas of origins such as https://app.example.com',
  cookieSamesite: ({ cookieSamesite, refreshCookieName }) =>
    cookieSamesite === 'none' && !refreshCookieName.startsWith('__')
      ? 'cannot be none but for a cookie whose name begins with __Host- or __Secure-'
      : undefined,
  corsOrigins: ({ corsOrigins }) =>
    corsOrigins.every(isOrigin) ? undefined : 'must be a list with commas of origins such as https://app.example.com',
  audience: ({ audience }) =>
    Array.isArray(audience) && audience.length === 0 ? 'must name at least one audience' : undefined,
  authHeaderTypes: ({ authHeaderTypes }) =>
    authHeaderTypes.every((type) => /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(type))
      ? undefined
      : 'must be a list with commas of scheme names',
  jtiClaim: (settings) => {
    if (settings.jtiClaim === null && settings.refreshStore !== 'none') {
      return 'is what refresh tokens are remembered by; without it nothing can be remembered'
    }
    // A `jti` is never handed on to an access token, whatever the id's own claim is called.
    const ids = new Set(['jti', settings.jtiClaim])
    const own = [settings.tokenTypeClaim, settings.userIdClaim, settings.revokeTokenClaim]
    const sid = settings.refreshStore === 'session' ? ['sid'] : []
    const names = ['exp', 'iat', 'nbf', 'aud', 'iss', ...sid, settings.slidingTokenRefreshExpClaim, ...ids, ...own]
    const given = names.filter((name) => name !== null)
    return new Set(given).size === given.length ? undefined : 'the names of the claims must differ from each other'
  }
}

function complaintAbout(read: () => unknown): string | undefined {
  try {
    read()
    return undefined
  } catch (error) {
    if (error instanceof InvalidKey) return error.message
    throw error
  }
}

/** An older key with its algorithm: `ES256:…`, or without a name of the one that is set. */
export function fallbackOf(text: string, algorithm: Algorithm): { algorithm: Algorithm; key: string } {
  const own = ALGORITHMS.find((name) => text.startsWith(`${name}:`))
  return own ? { algorithm: own, key: text.slice(own.length + 1) } : { algorithm, key: text }
}

/** Not /0: to believe everybody is to believe nobody. */
function isNetwork(value: string): boolean {
  const [, address = '', bits = '1'] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(value) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128)
}

/** Without a wildcard, which would match no page at all. */
const isOrigin = (value: string) => URL.canParse(value) && new URL(value).origin === value && !value.includes('*')

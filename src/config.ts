/** Settings from the options of a plugin or from the environment: read, checked, all faults told at once, frozen. */
import { isIP } from 'node:net'
import Value from 'typebox/value'
import { ImproperlyConfigured } from './errors.ts'
import {
  parseDuration,
  type Reader,
  SETTING_NAMES,
  SETTINGS,
  type SettingName,
  type Settings,
  type SettingsInput
} from './settings.ts'

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

function check(input: SettingsInput, nameOf: (name: SettingName) => string, faults: string[] = []): Settings {
  const values: Record<string, unknown> = {}
  for (const [name, given] of Object.entries(input)) {
    if (given === undefined) continue
    if (!Object.hasOwn(SETTINGS, name)) faults.push(`${name}: there is no such setting`)
    else values[name] = typeof given === 'string' ? READERS[SETTINGS[name as SettingName].reads](given) : given
  }
  const settings = { ...DEFAULTS, ...values } as Settings
  const wrong = SETTING_NAMES.filter((name) => !Value.Check(SETTINGS[name], settings[name]))
  for (const name of wrong) faults.push(`${nameOf(name)}: must be ${SETTINGS[name].expects}`)
  // What is wrong has been said, and has no say in the rest.
  const sound = { ...settings, ...Object.fromEntries(wrong.map((name) => [name, DEFAULTS[name]])) }
  for (const [name, fault] of Object.entries(CHECKS)) {
    const complaint = wrong.includes(name as SettingName) ? undefined : fault(sound)
    if (complaint) faults.push(`${nameOf(name as SettingName)}: ${complaint}`)
  }
  if (faults.length > 0) throw new ImproperlyConfigured(faults)
  // A copy: neither the caller's own lists nor the schema's defaults are to be frozen.
  return deepFreeze(structuredClone(settings))
}

const DEFAULTS = Object.fromEntries(SETTING_NAMES.map((name) => [name, SETTINGS[name].default]))

/** What a type cannot say of a value. */
const CHECKS: Partial<Record<SettingName, (settings: Settings) => string | undefined>> = {
  signingKey: ({ signingKey, databaseUrl }) => {
    if (signingKey !== null) return weaknessOfSecret(signingKey)
    if (databaseUrl.startsWith('file:')) return undefined
    return 'is needed with PostgreSQL; make one with `latchkey generatekey`'
  },
  trustProxy: ({ trustProxy }) =>
    trustProxy.every(isNetwork) ? undefined : 'must be a list with commas of addresses or networks such as 10.0.0.0/8',
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
    const names = ['exp', 'iat', 'nbf', 'aud', 'iss', settings.slidingTokenRefreshExpClaim, ...ids, ...own]
    const given = names.filter((name) => name !== null)
    return new Set(given).size === given.length ? undefined : 'the names of the claims must differ from each other'
  }
}

/** An HMAC secret that can be guessed lets anybody sign tokens; RFC 8725 §3.5 asks for the hash's length. */
export function weaknessOfSecret(secret: string): string | undefined {
  if (Buffer.byteLength(secret) < 32) return 'must have at least 32 bytes; make one with `latchkey generatekey`'
  if (/-----BEGIN |^ssh-/.test(secret)) return 'is a PEM or SSH key, where an HMAC algorithm needs a secret'
  if (new Set(secret).size < 10) return 'can be guessed; make one with `latchkey generatekey`'
  return undefined
}

/** Not /0: to believe everybody is to believe nobody. */
function isNetwork(value: string): boolean {
  const [, address = '', bits = '1'] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(value) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128)
}

/** Without a wildcard, which would match no page at all. */
const isOrigin = (value: string) => URL.canParse(value) && new URL(value).origin === value && !value.includes('*')

/** Freezes what came out of JSON or a schema, all the way down. */
export function deepFreeze<Value extends object>(value: Value): Value {
  for (const part of Object.values(value)) if (part && typeof part === 'object') deepFreeze(part)
  return Object.freeze(value)
}

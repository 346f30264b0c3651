/** Loads settings from the options of a plugin or from environment variables: converts, checks, fills in defaults, freezes. */
import { readFileSync } from 'node:fs'
import { Check } from 'typebox/schema'
import { deepFreeze } from '../deep-freeze.ts'
import { ImproperlyConfigured } from '../errors.ts'
import { CHECKS, type Checks, SERVER_CHECKS, VERIFIER_CHECKS } from './checks.ts'
import { parseDuration, type Reader } from './fields.ts'
import { SETTING_NAMES, SETTINGS, type SettingName, type Settings, type SettingsInput, TOPICS } from './schema.ts'

/**
 * Loads the settings of a plugin or server from options.
 *
 * @throws {ImproperlyConfigured} with one message for each invalid setting; none contains a value
 */
export function loadSettings(input: SettingsInput): Settings {
  return load(input)
}

/**
 * Loads the settings of an app that verifies tokens but does not sign any, from options. No signing key is required.
 *
 * @throws {ImproperlyConfigured} with one message for each invalid setting; none contains a value
 */
export function loadVerifierSettings(input: SettingsInput): Settings {
  return load(input, { checks: VERIFIER_CHECKS })
}

/**
 * Loads the settings from environment variables. An empty or blank variable counts as not set; an unknown variable whose
 * name begins with `JWT_` is an error, other unknown variables are ignored.
 *
 * @param options `needsSigningKey`: false for a command that signs nothing, such as `migrate`
 * @throws {ImproperlyConfigured} with one message for each invalid variable; none contains a value
 */
export function loadEnvironment(
  environment: Record<string, string | undefined>,
  { needsSigningKey = true } = {}
): Settings {
  const input: Record<string, string> = {}
  for (const name of SETTING_NAMES) {
    const value = environment[environmentName(name)]?.trim()
    if (value) input[name] = value
  }
  const { signingKey, ...others } = SERVER_CHECKS
  const checks = needsSigningKey ? SERVER_CHECKS : others
  const known = new Set(SETTING_NAMES.map(environmentName))
  const unknown = Object.keys(environment).filter((name) => name.startsWith('JWT_') && !known.has(name))
  return load(input, { nameOf: environmentName, faults: unknown.map(faultOfUnknown), checks })
}

const PREFIXED = new Set(TOPICS.filter(({ hasPrefix }) => hasPrefix).flatMap(({ names }) => names))

/** Returns the environment variable of a setting: `JWT_ACCESS_TOKEN_LIFETIME` for `accessTokenLifetime`. */
export function environmentName(name: SettingName): string {
  const snake = name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
  return PREFIXED.has(name) ? `JWT_${snake}` : snake
}

/** The settings that SimpleJWT has removed and rejects by name, with their replacements here. */
const REMOVED: Record<string, string> = {
  JWT_AUTH_HEADER_TYPE: 'JWT_AUTH_HEADER_TYPES',
  JWT_AUTH_TOKEN_CLASS: 'JWT_AUTH_TOKEN_CLASSES',
  JWT_SECRET_KEY: 'JWT_SIGNING_KEY',
  JWT_TOKEN_BACKEND_CLASS: 'JWT_ALGORITHM and JWT_SIGNING_KEY'
}

const faultOfUnknown = (name: string) =>
  name in REMOVED ? `${name}: was removed from SimpleJWT; use ${REMOVED[name]}` : `${name}: unknown setting`

const BOOLEANS: Record<string, boolean> = {
  on: true,
  true: true,
  yes: true,
  1: true,
  off: false,
  false: false,
  no: false,
  0: false
}

const splitList = (value: string) => value.split(',').map((item) => item.trim())

/** Convert text; the result for invalid text is not valid for the setting's type. */
const READERS: Record<Reader, (value: string) => unknown> = {
  boolean: (value) => BOOLEANS[value.toLowerCase()] ?? value,
  claim: (value) => (value === 'none' ? null : value),
  duration: parseDuration,
  list: (value) => (value === 'off' || value === 'none' ? [] : splitList(value)),
  number: (value) => (/^\d+$/.test(value) ? Number(value) : Number.NaN),
  text: (value) => value,
  textOrList: (value) => (value.includes(',') ? splitList(value) : value)
}

const DEFAULTS = Object.fromEntries(SETTING_NAMES.map((name) => [name, SETTINGS[name].default]))

/** These can be `file:PATH`, as orchestrators mount secrets into containers as files. */
const FILE_SETTINGS = [
  ...(['signingKey', 'verifyingKey', 'keyEncryptionKey', 'signingKeyFallbacks'] as const),
  ...(['secretKey', 'secretKeyFallbacks'] as const)
]

interface LoadOptions {
  /** The name of a setting in error messages. */
  nameOf?: (name: SettingName) => string
  /** Messages about names that are not settings. */
  faults?: string[]
  checks?: Checks
}

function load(input: SettingsInput, { nameOf = String, faults = [], checks = CHECKS }: LoadOptions = {}): Settings {
  const given = Object.entries(input).filter(([, value]) => value !== undefined)
  const unknown = given.filter(([name]) => !Object.hasOwn(SETTINGS, name)).map(([name]) => `${name}: unknown setting`)
  const values = Object.fromEntries(given.map(([name, value]) => [name, convert(name as SettingName, value)]))
  const invalid: Faults = new Map()
  readFiles(values, invalid)
  const settings = { ...DEFAULTS, ...values } as Settings
  checkTypes(settings, invalid)
  runChecks(settings, checks, invalid)
  const messages = [...invalid].map(([name, fault]) => `${nameOf(name)}: ${fault}`)
  if (faults.length + unknown.length + messages.length > 0) {
    throw new ImproperlyConfigured([...faults, ...unknown, ...messages])
  }
  // A copy, because neither the caller's lists nor the defaults in the schema may be frozen.
  return deepFreeze(structuredClone(settings))
}

/** Error messages by setting, without the setting's name. */
type Faults = Map<SettingName, string>

function convert(name: SettingName, value: unknown): unknown {
  return typeof value === 'string' && Object.hasOwn(SETTINGS, name) ? READERS[SETTINGS[name].reads](value) : value
}

function readFiles(values: Record<string, unknown>, faults: Faults): void {
  for (const name of FILE_SETTINGS) {
    try {
      if (name in values) values[name] = resolveFiles(values[name])
    } catch (error) {
      faults.set(name, `cannot read the file (${(error as NodeJS.ErrnoException).code})`)
    }
  }
}

function checkTypes(settings: Settings, faults: Faults): void {
  for (const name of SETTING_NAMES) {
    if (!Check(SETTINGS[name], settings[name])) faults.set(name, `must be ${SETTINGS[name].expects}`)
  }
}

/** Runs the checks with defaults in place of invalid values, so that one mistake is not reported as several. */
function runChecks(settings: Settings, checks: Checks, faults: Faults): void {
  const defaults = Object.fromEntries([...faults.keys()].map((name) => [name, DEFAULTS[name]]))
  const checkable = { ...settings, ...defaults }
  for (const name of SETTING_NAMES) {
    const fault = faults.has(name) ? undefined : checks[name]?.(checkable)
    if (fault !== undefined) faults.set(name, fault)
  }
}

/** Replaces `file:PATH`, also after an algorithm as in `ES256:file:PATH`, by the content of the file. */
function resolveFiles(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(resolveFiles)
  const [, prefix = '', path] = (typeof value === 'string' && /^(\w+:)?file:(.+)$/s.exec(value)) || []
  return path === undefined ? value : prefix + readFileSync(path, 'utf8').trim()
}

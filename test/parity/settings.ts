/** Converts the configuration of a case to Latchkey's settings. */
import type { LatchkeyOptions } from '../../src/index.ts'
import type { Config, Json } from './case.ts'

/** SimpleJWT's defaults where Latchkey's are stricter. */
const SIMPLEJWT_DEFAULTS: LatchkeyOptions = {
  rotateRefreshTokens: false,
  blacklistAfterRotation: false,
  stateless: false,
  accountsEmailChangePassword: false
}

/** @throws {Error} for a setting that Latchkey does not have */
export function settingsOf({ blacklist_app = true, simple_jwt = {}, backends, djoser }: Config = {}): LatchkeyOptions {
  const settings: Record<string, unknown> = {
    ...SIMPLEJWT_DEFAULTS,
    refreshStore: blacklist_app ? 'blacklist' : 'none'
  }
  for (const [name, value] of Object.entries(simple_jwt)) settings[camelCase(name)] = translated(name, value)
  for (const [name, value] of Object.entries(djoser ?? {})) settings[djoserSetting(name)] = value
  if (backends) settings.authenticationBackends = backends.map(lastPart)
  return settings
}

const DJOSER: Record<string, keyof LatchkeyOptions> = {
  USER_CREATE_PASSWORD_RETYPE: 'accountsPasswordRetype',
  PASSWORD_RESET_SHOW_EMAIL_NOT_FOUND: 'accountsShowEmailNotFound',
  SEND_ACTIVATION_EMAIL: 'accountsSendActivationEmail'
}

function djoserSetting(name: string): string {
  const ours = DJOSER[name]
  if (ours === undefined) throw new Error(`there is no setting yet for djoser's ${name}`)
  return ours
}

/** Converts `ACCESS_TOKEN_LIFETIME` to `accessTokenLifetime`. */
const camelCase = (name: string) => name.toLowerCase().replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

const translated = (name: string, value: Json) =>
  name === 'AUTH_TOKEN_CLASSES' ? (value as string[]).map(lastPart) : value

/** The class name of a dotted path. */
const lastPart = (path: string) => path.slice(path.lastIndexOf('.') + 1)

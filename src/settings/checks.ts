/** Checks of settings that their types cannot express: keys, formats, and settings that depend on each other. */
import { isIP } from 'node:net'
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
import { SETTINGS, type SettingName, type Settings } from './schema.ts'

/** @returns an error message without the setting's name and value, or undefined if the setting is valid */
type Check = (settings: Settings) => string | undefined

export type Checks = Partial<Record<SettingName, Check>>

/** The checks for an app that verifies tokens but does not sign any, and therefore needs no signing key. */
export const VERIFIER_CHECKS: Checks = {
  verifyingKey: ({ verifyingKey, signingKey, keyEncryptionKey, algorithm }) => {
    if (verifyingKey === null) return undefined
    if (keyEncryptionKey !== null) {
      return 'cannot be combined with JWT_KEY_ENCRYPTION_KEY; move it to JWT_SIGNING_KEY_FALLBACKS'
    }
    if (isSymmetric(algorithm)) return `cannot be used with ${algorithm}, which has one key for signing and verifying`
    return faultOfKey(() => {
      const thumbprint = thumbprintOf(readVerifyingKey(verifyingKey, algorithm))
      const own = signingKey === null ? null : verifyingPart(readSigningKey(signingKey, algorithm))
      if (own && thumbprintOf(own) !== thumbprint) throw new InvalidKey('does not match the signing key')
    })
  },
  signingKeyFallbacks: ({ signingKeyFallbacks, algorithm }) =>
    firstFault(signingKeyFallbacks, 'key', (text) => {
      const { algorithm: own, key } = fallbackOf(text, algorithm)
      return faultOfKey(() => readVerifyingKey(key, own))
    }),
  keyEncryptionKey: ({ keyEncryptionKey }) =>
    keyEncryptionKey === null ? undefined : weaknessOfSecret(keyEncryptionKey),
  keyRotationAge: ({ keyRotationAge, keyEncryptionKey }) =>
    keyRotationAge !== null && keyEncryptionKey === null
      ? 'requires JWT_KEY_ENCRYPTION_KEY: only keys in the database rotate'
      : undefined,
  secretKey: ({ secretKey }) => (secretKey === null ? undefined : weaknessOfSecret(secretKey)),
  secretKeyFallbacks: ({ secretKeyFallbacks }) => firstFault(secretKeyFallbacks, 'secret', weaknessOfSecret),
  jwkUrl: ({ jwkUrl, issuer, audience }) => {
    if (jwkUrl === null) return undefined
    if (!isHttpsOrLoopback(jwkUrl)) return 'must begin with https://, unless the host is this machine'
    return issuer === null || audience === null
      ? 'requires JWT_ISSUER and JWT_AUDIENCE: a key server may serve several issuers and audiences'
      : undefined
  },
  trustProxy: checkItems('trustProxy', isNetwork),
  corsOrigins: checkItems('corsOrigins', isOrigin),
  cookieOrigins: checkItems('cookieOrigins', isOrigin),
  csrfTrustedOrigins: checkItems('csrfTrustedOrigins', isOriginOrWildcard),
  authHeaderTypes: checkItems('authHeaderTypes', isHttpToken),
  cookieSamesite: ({ cookieSamesite, refreshCookieName }) =>
    cookieSamesite === 'none' && !refreshCookieName.startsWith('__')
      ? 'can be none only if JWT_REFRESH_COOKIE_NAME begins with __Host- or __Secure-'
      : undefined,
  audience: ({ audience }) =>
    Array.isArray(audience) && audience.length === 0 ? 'must contain at least one audience' : undefined,
  jtiClaim: (settings) => {
    if (settings.jtiClaim === null && settings.refreshStore !== 'none') {
      return 'can be none only with JWT_REFRESH_STORE=none: refresh tokens are stored by their id'
    }
    const names = claimNames(settings)
    return new Set(names).size === names.length ? undefined : 'two claims have the same name; all names must differ'
  }
}

export const CHECKS: Checks = { ...VERIFIER_CHECKS, signingKey: checkSigningKey }

/** The checks for the server, whose own address is no page that a link in an email could lead to. */
export const SERVER_CHECKS: Checks = {
  ...CHECKS,
  accountsSiteUrl: ({ mailUrl, accountsSiteUrl }) =>
    mailUrl !== null && isOwnAddress(accountsSiteUrl)
      ? 'is required with MAIL_URL: links in e-mails begin with it'
      : undefined
}

function checkSigningKey({ signingKey, algorithm, databaseUrl, keyEncryptionKey }: Settings): string | undefined {
  if (signingKey !== null && keyEncryptionKey !== null) {
    return 'cannot be combined with JWT_KEY_ENCRYPTION_KEY; to accept its tokens, move it to JWT_SIGNING_KEY_FALLBACKS'
  }
  if (signingKey !== null) return faultOfKey(() => readSigningKey(signingKey, algorithm))
  if (keyEncryptionKey !== null) return undefined
  if (databaseUrl.startsWith('file:') && isSymmetric(algorithm)) return undefined
  const [reason, option] = isSymmetric(algorithm) ? ['PostgreSQL', ''] : [algorithm, ` --algorithm ${algorithm}`]
  return `is required with ${reason}; generate one with \`latchkey generatekey${option}\`, or set JWT_KEY_ENCRYPTION_KEY`
}

/** The names of all claims that Latchkey writes; `jti` is never copied to an access token, even if the id has another name. */
function claimNames(settings: Settings): string[] {
  const { tokenTypeClaim, jtiClaim, userIdClaim, revokeTokenClaim, slidingTokenRefreshExpClaim, refreshStore } =
    settings
  const registered = ['exp', 'iat', 'nbf', 'aud', 'iss', 'jti']
  const configured = [tokenTypeClaim, userIdClaim, revokeTokenClaim, slidingTokenRefreshExpClaim]
  const id = jtiClaim === 'jti' ? [] : [jtiClaim]
  const sid = refreshStore === 'session' ? ['sid'] : []
  return [...registered, ...configured, ...id, ...sid].filter((name) => name !== null)
}

/** Splits a fallback key such as `ES256:…` into algorithm and key. @param algorithm of a key without such a prefix */
export function fallbackOf(text: string, algorithm: Algorithm): { algorithm: Algorithm; key: string } {
  const own = ALGORITHMS.find((name) => text.startsWith(`${name}:`))
  return own ? { algorithm: own, key: text.slice(own.length + 1) } : { algorithm, key: text }
}

/** @throws what `read` throws, unless it is an InvalidKey */
function faultOfKey(read: () => unknown): string | undefined {
  try {
    read()
    return undefined
  } catch (error) {
    if (error instanceof InvalidKey) return error.message
    throw error
  }
}

function firstFault(
  items: readonly string[],
  noun: string,
  faultOf: (item: string) => string | undefined
): string | undefined {
  for (const [index, item] of items.entries()) {
    const fault = faultOf(item)
    if (fault !== undefined) return `${noun} ${index + 1} ${fault}`
  }
  return undefined
}

type ListName = 'trustProxy' | 'corsOrigins' | 'cookieOrigins' | 'csrfTrustedOrigins' | 'authHeaderTypes'

function checkItems(name: ListName, isValid: (item: string) => boolean): Check {
  return (settings) => (settings[name].every(isValid) ? undefined : `must be ${SETTINGS[name].expects}`)
}

function isHttpsOrLoopback(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)
}

/** True for the default of `accountsSiteUrl`, in any spelling. */
function isOwnAddress(url: string): boolean {
  return ['http://127.0.0.1:3000', 'http://localhost:3000'].includes(new URL(url).origin)
}

/** An IP address, or a network that is not the whole Internet: to trust every proxy is to trust every client. */
function isNetwork(value: string): boolean {
  const [, address = '', bits = '1'] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(value) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits) >= 1 && Number(bits) <= (family === 4 ? 32 : 128)
}

/** An origin as browsers send it. Wildcards are invalid: the comparison with them would never match. */
function isOrigin(value: string): boolean {
  return URL.canParse(value) && new URL(value).origin === value && !value.includes('*')
}

function isOriginOrWildcard(value: string): boolean {
  return /^https?:/.test(value) && isOrigin(value.replace('://*.', '://'))
}

/** RFC 9110 §5.6.2. */
function isHttpToken(value: string): boolean {
  return /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(value)
}

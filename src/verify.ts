/**
 * A plugin for services without users: verifies the access tokens of another service with its public keys. Guards use
 * the claims of the tokens. It needs no database.
 */
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { decorateRequests } from './authentication/authenticate.ts'
import { jwtAuthenticator } from './authentication/jwt.ts'
import { readVerifyingKey } from './crypto/jwa.ts'
import { ImproperlyConfigured, ServiceUnavailable } from './errors.ts'
import { AUTH_CORE, type AuthCore } from './guards/auth-core.ts'
import { loadFallbackKeys } from './keys/configured-keys.ts'
import type { KeySet, VerifyingKey } from './keys/key-set.ts'
import { RemoteKeys, withRemoteKeys } from './keys/remote-jwks.ts'
import { createVerifier } from './keys/verify-signature.ts'
import { TokenPermissions } from './permissions/token-permissions.ts'
import { loadVerifierSettings } from './settings/load.ts'
import type { Settings, SettingsInput } from './settings/schema.ts'
import { Jwt } from './tokens/jwt.ts'
import { TokenVerifier } from './tokens/verifier.ts'
import type { TokenUser } from './users/token-user.ts'

export { authenticateWith } from './authentication/authenticate.ts'
export { errorHandler } from './drf/error-handler.ts'
export * from './errors.ts'
export type { Guard, GuardOptions, Predicate } from './guards/guards.ts'
export {
  allowAny,
  and,
  guard,
  hasPermission,
  isAdminUser,
  isAuthenticated,
  isAuthenticatedOrReadOnly,
  not,
  or
} from './guards/guards.ts'
export type { Caller } from './users/token-user.ts'
export { TokenUser } from './users/token-user.ts'

const NAMES = [
  ...(['jwkUrl', 'verifyingKey', 'signingKeyFallbacks', 'algorithm', 'audience', 'issuer', 'leeway'] as const),
  ...(['authHeaderTypes', 'authHeaderName', 'userIdField', 'userIdClaim', 'tokenTypeClaim', 'jtiClaim'] as const),
  ...(['authTokenClasses', 'slidingTokenRefreshExpClaim', 'revokeTokenClaim'] as const)
] as const

/**
 * The settings for verifying tokens. `issuer`, `audience`, and a key (such as `jwkUrl` or `verifyingKey`) are
 * required.
 */
export interface VerifierOptions extends Pick<SettingsInput, (typeof NAMES)[number]> {
  /** An HMAC secret shared with the service that signs. Every service that has it can also sign. */
  signingKey?: string
  /** SimpleJWT's TOKEN_USER_CLASS. */
  tokenUserClass?: typeof TokenUser
}

async function verify(app: FastifyInstance, options: VerifierOptions): Promise<void> {
  const settings = settingsOf(options)
  const jwt = new Jwt(settings, await keysOf(app, settings))
  const verifier = new TokenVerifier(settings, jwt)
  const authenticator = jwtAuthenticator({ settings, verifier, tokenUserClass: options.tokenUserClass })
  const core: AuthCore = {
    settings,
    verifier,
    permissions: new TokenPermissions(),
    authenticators: { jwt: authenticator }
  }
  app.decorate(AUTH_CORE, core)
  decorateRequests(app, [authenticator])
}

function settingsOf(options: VerifierOptions): Settings {
  const { tokenUserClass, prefix, logLevel, logSerializers, ...input } = options as VerifierOptions &
    Record<string, never>
  const known = new Set<string>([...NAMES, 'signingKey'])
  const unknown = Object.keys(input).filter((name) => !known.has(name))
  if (unknown.length > 0) throw new ImproperlyConfigured(unknown.map((name) => `${name}: unknown setting`))
  // Without a store of tokens, a token needs no id.
  const settings = loadVerifierSettings({ ...input, stateless: true, refreshStore: 'none' })
  const { jwkUrl, verifyingKey, signingKey, signingKeyFallbacks } = settings
  const faults = []
  if (jwkUrl === null && verifyingKey === null && signingKey === null && signingKeyFallbacks.length === 0) {
    faults.push('verifyingKey: is needed, or jwkUrl: where the public keys are published')
  }
  // Otherwise tokens for other services, or of another issuer with the same key, would be accepted.
  if (settings.issuer === null) faults.push('issuer: is required; set the JWT_ISSUER of the service that signs')
  if (settings.audience === null)
    faults.push('audience: is required; set one of the JWT_AUDIENCE of the service that signs')
  if (faults.length > 0) throw new ImproperlyConfigured(faults)
  return settings
}

/** Loads the keys of the options, and those that are fetched. None of them signs. */
async function keysOf({ log }: FastifyInstance, settings: Settings): Promise<KeySet> {
  const { algorithm, jwkUrl } = settings
  const fixed: VerifyingKey[] = (await loadFallbackKeys(settings)).map((key) => ({ ...key, isForeign: true }))
  const text = settings.verifyingKey ?? settings.signingKey
  if (text !== null) {
    const verify = await createVerifier(algorithm, readVerifyingKey(text, algorithm))
    fixed.unshift({ algorithm, verify, acceptedUntil: Number.POSITIVE_INFINITY, isForeign: true })
  }
  const own: KeySet = {
    get signing(): never {
      throw new ServiceUnavailable('No signing key is available.')
    },
    find: async (wanted) => fixed.filter((key) => key.algorithm === wanted),
    published: () => [],
    close: () => undefined
  }
  if (jwkUrl === null) return own
  const onFault = (error: unknown) => log.warn(error, 'could not fetch signing keys; continuing with cached keys')
  return withRemoteKeys(own, new RemoteKeys(jwkUrl, algorithm, onFault))
}

export default fp(verify, { name: 'latchkey/verify', fastify: '5.x' })

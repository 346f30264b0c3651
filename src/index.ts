/** Latchkey: Django's authentication for Fastify. */
export { authenticateWith } from './authentication/authenticate.ts'
export type { BrowserSession, BrowserSessions } from './authentication/browser-sessions.ts'
export { csrfProtect, csrfToken } from './authentication/csrf.ts'
export { login, logout, updateSessionAuthHash } from './authentication/session.ts'
export { errorHandler } from './drf/error-handler.ts'
export * from './errors.ts'
export type { AuthCore, Authenticator, PermissionSource, Scheme } from './guards/auth-core.ts'
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
export type { LoginRequiredOptions } from './guards/login-required.ts'
export { loginRequired } from './guards/login-required.ts'
export type { ModelPermissionsOptions, ObjectPermissionsOptions, PermissionMap } from './guards/model-permissions.ts'
export { modelPermissions, objectPermissions } from './guards/model-permissions.ts'
export { anonRateThrottle, userRateThrottle } from './guards/throttles.ts'
export { KeyRing } from './keys/key-ring.ts'
export type { Passwords } from './passwords/passwords.ts'
export type { Action, ModelDefinition } from './permissions/content-types.ts'
export { AUTH_MODELS } from './permissions/content-types.ts'
export type { GroupChanges, Groups } from './permissions/groups.ts'
export type { Permissions, WithPermOptions } from './permissions/permissions.ts'
export { modelsOfSchema } from './permissions/prisma-schema.ts'
export type { Auth, LatchkeyOptions } from './plugin.ts'
export { default } from './plugin.ts'
export { accountRoutes, authRoutes } from './routes/routes.ts'
export { wellKnownRoutes } from './routes/well-known/jwks.ts'
export type { Sessions } from './sessions/sessions.ts'
export type { Settings, SettingsInput } from './settings/schema.ts'
export type { RequestInfo } from './tokens/request-info.ts'
export type { Credentials, Pair, Tokens } from './tokens/tokens.ts'
export type { TokenVerifier } from './tokens/verifier.ts'
export type { Permit, UserWithKeys } from './users/changes.ts'
export type { Caller } from './users/token-user.ts'
export { TokenUser } from './users/token-user.ts'
export type { User } from './users/user.ts'
export type { NewUser, UserChanges, Users } from './users/users.ts'

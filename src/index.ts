/** Latchkey: Django's authentication for Fastify. */
export type { Authenticator, Scheme } from './authentication/authenticate.ts'
export { authenticateWith } from './authentication/authenticate.ts'
export { csrfProtect, csrfToken } from './authentication/csrf.ts'
export type { LoginRequiredOptions } from './authentication/login-required.ts'
export { loginRequired } from './authentication/login-required.ts'
export { login, logout, updateSessionAuthHash } from './authentication/session.ts'
export { anonRateThrottle, userRateThrottle } from './authentication/throttles.ts'
export * from './errors.ts'
export { errorHandler } from './http/error-handler.ts'
export type { Action, ModelDefinition } from './permissions/content-types.ts'
export { AUTH_MODELS } from './permissions/content-types.ts'
export type { GroupChanges, Groups } from './permissions/groups.ts'
export type { Guard, GuardOptions, Predicate } from './permissions/guards.ts'
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
} from './permissions/guards.ts'
export type { ModelPermissionsOptions, ObjectPermissionsOptions, PermissionMap } from './permissions/model-guards.ts'
export { modelPermissions, objectPermissions } from './permissions/model-guards.ts'
export type { Permissions, WithPermOptions } from './permissions/permissions.ts'
export { modelsOfSchema } from './permissions/prisma-schema.ts'
export type { Auth, LatchkeyOptions } from './plugin.ts'
export { default } from './plugin.ts'
export { accountRoutes, authRoutes } from './routes.ts'
export type { BrowserSession, BrowserSessions } from './sessions/browser-sessions.ts'
export type { Settings, SettingsInput } from './settings.ts'
export { KeyRing } from './tokens/ring.ts'
export { wellKnownRoutes } from './tokens/routes.ts'
export type { Credentials, Pair, Tokens } from './tokens/tokens.ts'
export type { Permit, UserWithKeys } from './users/changes.ts'
export type { Caller } from './users/token-user.ts'
export { TokenUser } from './users/token-user.ts'
export type { User } from './users/user.ts'
export type { NewUser, UserChanges, Users } from './users/users.ts'

/** The permissions of a caller from the claims of its token, for an app without a database. */
import type { Caller } from '../users/token-user.ts'

export class TokenPermissions {
  /** True with the claim `is_superuser`, or with `app_label.codename` in the claim `permissions`. */
  async hasPerm(caller: Caller, permission: string): Promise<boolean> {
    if (caller.isSuperuser) return true
    const { permissions } = 'claims' in caller ? caller.claims : {}
    return Array.isArray(permissions) && permissions.includes(permission)
  }

  /** True with the claim `is_staff`. */
  async isStaff(caller: Caller): Promise<boolean> {
    return caller.isStaff
  }
}

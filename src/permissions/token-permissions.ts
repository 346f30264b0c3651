/** What a caller may do where there is no database to ask: what its token says. */
import type { Caller } from '../users/token-user.ts'

export class TokenPermissions {
  /** The `is_superuser` claim, or `app_label.codename` among those of the `permissions` claim. */
  async hasPerm(caller: Caller, permission: string): Promise<boolean> {
    if (caller.isSuperuser) return true
    const { permissions } = 'claims' in caller ? caller.claims : {}
    return Array.isArray(permissions) && permissions.includes(permission)
  }

  /** The `is_staff` claim. */
  async isStaff(caller: Caller): Promise<boolean> {
    return caller.isStaff
  }
}

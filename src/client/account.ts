/** Calls of the server's endpoints for accounts and login sessions. Fields have the names of the endpoints. */
import { type ApiRequest, type Fetch, readResponse, sendRequest } from './requests.ts'
import type { Session } from './session.ts'

export interface Account {
  id: number
  username: string
  email: string
}

export interface NewAccount {
  username: string
  password: string
  /** Required if users log in with it (`LOGIN_FIELD=email`). */
  email?: string
  /** With `ACCOUNTS_PASSWORD_RETYPE`. */
  re_password?: string
}

export interface AccountChanges {
  email?: string
  /** Required for another email address, unless `ACCOUNTS_EMAIL_CHANGE_PASSWORD` is off. */
  current_password?: string
}

export interface PasswordReset {
  /** From the link of the email, like `token`. */
  uid: string
  token: string
  new_password: string
  /** With `ACCOUNTS_PASSWORD_RETYPE`. */
  re_new_password?: string
}

export interface PasswordChange {
  current_password: string
  new_password: string
  /** With `ACCOUNTS_PASSWORD_RETYPE`. */
  re_new_password?: string
}

/** A login on one device. Times are in ISO 8601. */
export interface LoginSession {
  id: string
  label: string
  /** Of the login, like `address`. */
  user_agent: string
  address: string
  /** Of the last refresh, like `last_address`. */
  last_user_agent: string
  last_address: string
  created_at: string
  last_refresh: string
  expires_at: string
  is_current: boolean
}

/**
 * All calls throw `ApiError` if the server refuses the request, and `NetworkError` without a usable response. Those of
 * a user also throw `SignedOutError` if nobody is logged in.
 */
export interface AccountCalls {
  /** Creates an account. It does not log in. */
  signUp(account: NewAccount): Promise<Account>
  /** Sends an email with a link, if an active user has this address. */
  requestPasswordReset(email: string): Promise<void>
  /** Sets a new password with the values of the link. */
  confirmPasswordReset(reset: PasswordReset): Promise<void>
  /**
   * Changes the user's password, which ends all other login sessions. This client stays logged in, unless the server
   * has `ACCOUNTS_LOGOUT_ON_PASSWORD_CHANGE`.
   */
  changePassword(passwords: PasswordChange): Promise<void>
  /** The user's own account. */
  me: {
    get(): Promise<Account>
    update(changes: AccountChanges): Promise<Account>
  }
  /** The user's login sessions. */
  sessions: {
    /** The most recently used first. */
    list(): Promise<LoginSession[]>
    /** @param label at most 100 characters */
    rename(id: string, label: string): Promise<LoginSession>
    end(id: string): Promise<void>
    /** Ends all sessions but the current one, and all other credentials of the user. */
    endOthers(): Promise<void>
  }
}

/**
 * @param base the URL of the token endpoints, with a trailing slash
 * @param accounts the URL of the account endpoints, with a trailing slash
 */
export function createAccountCalls(session: Session, fetch: Fetch, base: string, accounts: string): AccountCalls {
  const callPublic = async <T>(url: string, body: object) => readResponse(await sendRequest(fetch, url, { body })) as T
  const call = async <T>(method: Method, url: string, body?: object) => {
    const request = { method, ...(body !== undefined && { body }) }
    return readResponse(await session.withAccessToken((access) => sendRequest(fetch, url, { ...request, access }))) as T
  }
  const [users, sessions] = [`${accounts}users/`, `${base}sessions/`]
  const sessionUrl = (id: string) => `${sessions}${encodeURIComponent(id)}/`
  return {
    signUp: (account) => callPublic(users, account),
    requestPasswordReset: (email) => callPublic(`${users}reset_password/`, { email }),
    confirmPasswordReset: (reset) => callPublic(`${users}reset_password_confirm/`, reset),
    changePassword: (passwords) => session.changePassword(passwords),
    me: {
      get: () => call('GET', `${users}me/`),
      update: (changes) => call('PATCH', `${users}me/`, changes)
    },
    sessions: {
      list: () => call('GET', sessions),
      rename: (id, label) => call('PATCH', sessionUrl(id), { label }),
      end: (id) => call('DELETE', sessionUrl(id)),
      endOthers: () => call('DELETE', `${sessions}?others=true`)
    }
  }
}

type Method = NonNullable<ApiRequest['method']>

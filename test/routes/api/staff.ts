/** Logins and requests for tests of the management of users, groups and permissions. */
import type { FastifyInstance } from 'fastify'
import { grant } from '../../permissions/rights.ts'
import { addUser, bearer, type NewUser, obtainPair, PASSWORD } from '../../support/journeys.ts'

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS'
type Headers = Record<string, string>

export interface SignedIn {
  id: number
  as: Headers
}

/** Sends a request. @param path below `/api/` @returns status and body, null if it is empty */
export async function ask(app: FastifyInstance, method: Method, path: string, as: Headers = {}, payload?: unknown) {
  const isText = typeof payload === 'string'
  const headers = { ...as, ...(isText && !as['content-type'] && { 'content-type': 'application/json' }) }
  const answer = await app.inject({ method, url: `/api/${path}`, headers, ...(payload ? { payload } : {}) })
  return [answer.statusCode, answer.body === '' ? null : answer.json()]
}

/** Adds a user and logs in. @param permissions granted to the user, each as `app_label.codename` */
export async function signIn(app: FastifyInstance, user: NewUser, ...permissions: string[]): Promise<SignedIn> {
  const { id, username } = await addUser(app, user)
  for (const permission of permissions) await grant(app, id, permission)
  return { id, as: bearer((await obtainPair(app, { username, password: PASSWORD })).access) }
}

export const signInRoot = (app: FastifyInstance, username = 'root') =>
  signIn(app, { username, isStaff: true, isSuperuser: true })

/** Common requests of a client. */
import type { FastifyInstance, LightMyRequestResponse } from 'fastify'

export interface Credentials {
  username: string
  password: string
}

export interface NewUser extends Partial<Credentials> {
  email?: string
  isStaff?: boolean
  isSuperuser?: boolean
  isActive?: boolean
}

export interface Pair {
  access: string
  refresh: string
}

export const PASSWORD = 's3cret-Pass!'
const ALICE: Credentials = { username: 'alice', password: PASSWORD }

/** Adds a user, by default alice. @returns the credentials and the id */
export async function addUser(app: FastifyInstance, user: NewUser = {}): Promise<Credentials & { id: number }> {
  const given = { ...ALICE, ...user }
  const { id } = await app.auth.users.createUser(given)
  return { id, username: given.username, password: given.password }
}

/** Logs in. @throws {Error} if the response is not a pair, so that a test does not continue without tokens */
export async function obtainPair(app: FastifyInstance, { username, password }: Credentials = ALICE): Promise<Pair> {
  const answer = await app.inject({ method: 'POST', url: '/api/token/', payload: { username, password } })
  if (answer.statusCode !== 200) throw new Error(`no pair but ${answer.statusCode}: ${answer.body}`)
  return answer.json()
}

export function refreshWith(app: FastifyInstance, refresh: string): Promise<LightMyRequestResponse> {
  return app.inject({ method: 'POST', url: '/api/token/refresh/', payload: { refresh } })
}

/** The Authorization header with an access token. */
export const bearer = (access: string) => ({ authorization: `Bearer ${access}` })

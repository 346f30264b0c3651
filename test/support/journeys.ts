/** What a client does, in one line each. */
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

/** Adds alice, or somebody else, who can sign in with what this returns. */
export async function addUser(app: FastifyInstance, user: NewUser = {}): Promise<Credentials & { id: number }> {
  const given = { ...ALICE, ...user }
  const { id } = await app.auth.users.createUser(given)
  return { id, username: given.username, password: given.password }
}

/** @throws when the answer is not a pair, so that a test does not go on without one */
export async function obtainPair(app: FastifyInstance, { username, password }: Credentials = ALICE): Promise<Pair> {
  const answer = await app.inject({ method: 'POST', url: '/api/token/', payload: { username, password } })
  if (answer.statusCode !== 200) throw new Error(`no pair but ${answer.statusCode}: ${answer.body}`)
  return answer.json()
}

export function refreshWith(app: FastifyInstance, refresh: string): Promise<LightMyRequestResponse> {
  return app.inject({ method: 'POST', url: '/api/token/refresh/', payload: { refresh } })
}

/** The header of a request with this access token. */
export const bearer = (access: string) => ({ authorization: `Bearer ${access}` })

/** Helpers for the tests of tokens: rows, errors and related tokens. */
import type { FastifyInstance } from 'fastify'
import type { Test } from 'tap'
import type { AuthError } from '../../src/errors.ts'
import { claimsOf, mint } from '../support/tokens.ts'

export const outstandingIn = ({ auth }: FastifyInstance) =>
  auth.database.outstandingToken.findMany({ orderBy: { id: 'asc' } })

export const blacklistedIn = ({ auth }: FastifyInstance) => auth.database.blacklistedToken.count()

/** Returns the error that rejected `work`. @throws Error if it was not rejected */
export async function refusalOf(work: Promise<unknown>): Promise<AuthError> {
  const outcome = await outcomeOf(work)
  if (outcome === null) throw new Error('it was not refused')
  return outcome
}

/** Returns the error that rejected `work`, or null. */
export const outcomeOf = (work: Promise<unknown>): Promise<AuthError | null> =>
  work.then(
    () => null,
    (error) => error
  )

export const bodyOf = ({ body }: AuthError) => body

/** SimpleJWT's 401 body for an invalid token. */
export const tokenError = (detail: string) => ({ detail, code: 'token_not_valid' })

/** Returns an access token with the claims of another token, including its jti. */
export const accessOf = (token: string) => mint({ claims: { ...claimsOf(token), token_type: 'access' } })

/** Deletes the user found by the next call of `users[name]`, before the call returns. */
export function deletingUserAfter(t: Test, { auth }: FastifyInstance, name: 'authenticate' | 'get'): void {
  const { users } = auth
  const find = (users[name] as (...given: unknown[]) => ReturnType<typeof users.get>).bind(users)
  const finding = t.intercept(users, name, {
    value: async (...given: unknown[]) => {
      finding.restore()
      const user = await find(...given)
      if (user) await users.deleteUser(user.id)
      return user
    }
  })
}

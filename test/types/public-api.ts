/**
 * Types of the public API, checked by `npm run types`: a change of one of them is an error here. The code never runs.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { createClient } from '../../src/client/client.ts'
import latchkey, {
  type Auth,
  authenticateWith,
  type Caller,
  type Guard,
  guard,
  hasPermission,
  isAuthenticated,
  type LatchkeyOptions,
  type Pair,
  TokenUser,
  type User,
  type Users
} from '../../src/index.ts'
import verify, { type isAdminUser, type VerifierOptions } from '../../src/verify.ts'

type Equal<One, Other> = (<T>() => T extends One ? 1 : 2) extends <T>() => T extends Other ? 1 : 2 ? true : false
const is = <_Condition extends true>() => {}

export function requestsAndApp(app: FastifyInstance, request: FastifyRequest, reply: FastifyReply): void {
  is<Equal<FastifyRequest['user'], Caller | null>>()
  is<Equal<Caller, User | TokenUser>>()
  is<Equal<FastifyInstance['auth'], Auth>>()
  is<Equal<'password' extends keyof User ? true : false, false>>()
  is<Equal<ReturnType<Users['createUser']>, Promise<User>>>()
  is<Equal<Awaited<ReturnType<Auth['tokens']['obtainPair']>>, Pair>>()
  is<Equal<Parameters<Guard>[0], FastifyRequest>>()
  is<Equal<ReturnType<Guard>, Promise<void>>>()
  app.get('/', { preHandler: [isAuthenticated, hasPermission('blog.add_post')] }, async () => 'ok')
  app.get('/a/', { preHandler: authenticateWith(['jwt'], isAuthenticated) }, async () => 'ok')
  app.get('/b/', { preHandler: guard(({ user }) => user !== null, { message: 'no' }) }, async () => 'ok')
  void isAuthenticated(request, reply)
}

export async function registrations(app: FastifyInstance): Promise<void> {
  await app.register(latchkey, { databaseUrl: 'file:x.db', accessTokenLifetime: '5m', claims: ({ id }) => ({ id }) })
  await app.register(verify, { jwkUrl: 'https://a.example/jwks.json', issuer: 'https://a.example', audience: ['x'] })
  // @ts-expect-error: not a setting
  await app.register(latchkey, { databaseURL: 'file:x.db' })
  // @ts-expect-error: not one of the algorithms
  await app.register(latchkey, { algorithm: 1 })
  // @ts-expect-error: settings of the database are not for an app without one
  await app.register(verify, { databaseUrl: 'file:x.db' })
  // @ts-expect-error: a scheme that does not exist
  authenticateWith(['digest'], isAuthenticated)
  is<Equal<LatchkeyOptions['claimsIn'], 'both' | 'access' | 'refresh' | undefined>>()
  is<Equal<VerifierOptions['signingKey'], string | undefined>>()
  is<Equal<typeof isAdminUser, Guard>>()
}

export async function domains({ users, permissions }: Auth, caller: Caller): Promise<void> {
  const user = await users.createUser({ username: 'alice', password: 's3cret-Pass!' })
  is<Equal<typeof user.email, string>>()
  is<Equal<typeof user.lastLogin, Date | null>>()
  is<Equal<Awaited<ReturnType<typeof permissions.hasPerm>>, boolean>>()
  await users.updateUser(user.id, { isStaff: true })
  // @ts-expect-error: ids of users are numbers
  await users.updateUser('1', { isStaff: true })
  // @ts-expect-error: no such property
  await users.createUser({ userName: 'alice' })
  if (caller instanceof TokenUser) is<Equal<typeof caller.claims, Readonly<Record<string, unknown>>>>()
  else is<Equal<typeof caller, User>>()
}

export function client(create: typeof createClient): void {
  const { signIn, isSignedIn } = create({ baseUrl: 'https://a.example/api/' })
  is<Equal<Awaited<ReturnType<typeof isSignedIn>>, boolean>>()
  // @ts-expect-error: credentials are an object
  void signIn('alice', 'secret')
}

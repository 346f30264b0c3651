/** `JWT_REFRESH_STORE=blacklist`: SimpleJWT's blacklist app, on its tables. */
import { isForeignKeyViolation, isUniqueViolation } from '../../database/errors.ts'
import type { Database, Prisma, User as UserRow } from '../../database/open.ts'
import { AuthenticationFailed, InvalidToken } from '../../errors.ts'
import type { Settings } from '../../settings/schema.ts'
import type { Users } from '../../users/users.ts'
import type { Claims } from '../jwt.ts'
import type { IssuedToken, RefreshStore, UsedToken } from './refresh-store.ts'

/** A row of `token_blacklist_outstandingtoken`. */
export interface TokenRecord {
  /** The JWT itself. */
  token: string
  jti: string
  /** Null for a user who was deleted. */
  userId: number | null
  createdAt: Date
  expiresAt: Date
}

const BATCH_SIZE = 1000

export const NO_ACCOUNT = 'No active account found for the given token.'

export class BlacklistStore implements RefreshStore {
  readonly hasLoginSessions = false
  readonly #database: Database
  readonly #settings: Settings
  readonly #users: Users
  readonly #encode: (claims: Claims) => string

  /** @param encode signs the claims of a token */
  constructor(database: Database, settings: Settings, users: Users, encode: (claims: Claims) => string) {
    this.#database = database
    this.#settings = settings
    this.#users = users
    this.#encode = encode
  }

  knowsUser(): boolean {
    return false
  }

  async issue(claims: Claims, user: UserRow): Promise<IssuedToken> {
    const token = this.#encode(claims)
    await this.record(this.#recordOf({ token, claims }, user.id))
    return { token, claims }
  }

  async rotate(used: UsedToken, successor: Claims | null): Promise<IssuedToken> {
    const userId = used.user?.id ?? null
    if (successor === null) return used
    const issued = { token: this.#encode(successor), claims: successor }
    const record = this.#recordOf(issued, userId)
    if (this.#settings.blacklistAfterRotation) await this.blacklist(this.#recordOf(used, userId), record)
    else await this.record(record)
    return issued
  }

  async touch(): Promise<void> {}

  async assertActive(claims: Claims): Promise<void> {
    const jti = claims[this.#settings.jtiClaim as string]
    if (typeof jti === 'string' && (await this.isBlacklisted(jti))) throw new InvalidToken('Token is blacklisted')
  }

  async revoke(token: IssuedToken): Promise<void> {
    const { userIdClaim, userIdField } = this.#settings
    const user = await this.#users.get(userIdField, token.claims[userIdClaim])
    await this.blacklist(this.#recordOf(token, user?.id ?? null))
  }

  /** Deletes expired tokens with their blacklist entries, in batches of a thousand. */
  async deleteExpired(): Promise<number> {
    const now = new Date()
    let deleted = 0
    for (let batch = BATCH_SIZE; batch === BATCH_SIZE; deleted += batch) batch = await this.#deleteBatch(now)
    return deleted
  }

  async isBlacklisted(jti: string): Promise<boolean> {
    const where = { token: { jti } }
    return (await this.#database.blacklistedToken.findFirst({ where, select: { id: true } })) !== null
  }

  /** Inserts a token that is issued. @throws {AuthenticationFailed} if its user was deleted meanwhile */
  record(token: TokenRecord): Promise<void> {
    return translateMissingUser(this.#insert(token))
  }

  /**
   * Blacklists a token; it is recorded first if it is not known. Of concurrent calls one succeeds.
   *
   * @param successor recorded in the same transaction
   * @throws {InvalidToken} `Token is blacklisted`, for all calls but one
   */
  blacklist(token: TokenRecord, successor?: TokenRecord): Promise<void> {
    return translateMissingUser(this.#findOrInsert(token).then((id) => this.#enter(id, successor)))
  }

  /** Returns the statements that blacklist a token, for the caller's transaction; the token is recorded first if needed. */
  async blacklisting(token: IssuedToken, userId: number): Promise<Prisma.PrismaPromise<unknown>[]> {
    const tokenId = await this.#findOrInsert(this.#recordOf(token, userId))
    // In an array: a bare PrismaPromise would be awaited, which executes it.
    return [this.#database.blacklistedToken.create({ data: { tokenId, blacklistedAt: new Date() } })]
  }

  #recordOf({ token, claims }: IssuedToken, userId: number | null): TokenRecord {
    return {
      token,
      jti: claims[this.#settings.jtiClaim as string] as string,
      userId,
      createdAt: new Date(),
      expiresAt: new Date(Math.trunc(claims.exp as number) * 1000)
    }
  }

  /** Does not use Prisma's upsert, which takes four statements and a transaction although the row nearly always exists. */
  async #findOrInsert(token: TokenRecord): Promise<bigint> {
    const known = await this.#find(token.jti)
    if (known !== null) return known.id
    try {
      return (await this.#insert(token)).id
    } catch (error) {
      const concurrent = isUniqueViolation(error) ? await this.#find(token.jti) : null
      if (concurrent === null) throw error
      return concurrent.id
    }
  }

  async #enter(tokenId: bigint, successor?: TokenRecord): Promise<void> {
    const database = this.#database
    const entry = database.blacklistedToken.create({ data: { tokenId, blacklistedAt: new Date() } })
    try {
      // The unique index on the token decides between concurrent calls; a read before the write would not.
      await (successor ? database.$transaction([entry, database.outstandingToken.create({ data: successor })]) : entry)
    } catch (error) {
      throw isUniqueViolation(error, 'token_blacklist_blacklistedtoken')
        ? new InvalidToken('Token is blacklisted')
        : error
    }
  }

  #insert(data: TokenRecord) {
    return this.#database.outstandingToken.create({ data, select: { id: true } })
  }

  #find(jti: string) {
    return this.#database.outstandingToken.findUnique({ where: { jti }, select: { id: true } })
  }

  async #deleteBatch(now: Date): Promise<number> {
    const database = this.#database
    const where = { expiresAt: { lte: now } }
    const expired = await database.outstandingToken.findMany({ where, select: { id: true }, take: BATCH_SIZE })
    const ids = expired.map(({ id }) => id)
    await database.$transaction([
      database.blacklistedToken.deleteMany({ where: { tokenId: { in: ids } } }),
      database.outstandingToken.deleteMany({ where: { id: { in: ids } } })
    ])
    return ids.length
  }
}

/** The row's foreign key fails if the user was deleted after it was read. */
async function translateMissingUser(recording: Promise<unknown>): Promise<void> {
  try {
    await recording
  } catch (error) {
    throw isForeignKeyViolation(error) ? new AuthenticationFailed(NO_ACCOUNT) : error
  }
}

/** SimpleJWT's blacklist app: what it records of refresh tokens, and which of them may be used no more. */
import { isForeignKeyViolation, isUniqueViolation } from '../../database/errors.ts'
import type { Database, Prisma } from '../../database/open.ts'
import { AuthenticationFailed, InvalidToken } from '../../errors.ts'

/** A token as its row has it. */
export interface TokenRecord {
  /** The JWT itself. */
  token: string
  jti: string
  /** Null for a user who is gone. */
  userId: number | null
  createdAt: Date
  expiresAt: Date
}

const BATCH = 1000

export const NO_ACCOUNT = 'No active account found for the given token.'

export class Blacklist {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async isBlacklisted(jti: string): Promise<boolean> {
    const blacklisted = await this.#database.blacklistedToken.findFirst({
      where: { token: { jti } },
      select: { id: true }
    })
    return blacklisted !== null
  }

  /** Records a token that is handed out. */
  outstand(token: TokenRecord): Promise<void> {
    return withUser(this.#insert(token))
  }

  /**
   * Blacklists a token, recording it first if it is not known. Of parallel calls one wins.
   *
   * @param successor recorded in the same transaction
   * @throws {InvalidToken} `Token is blacklisted`, for all callers but one
   */
  blacklist(token: TokenRecord, successor?: TokenRecord): Promise<void> {
    return withUser(this.#idOf(token).then((id) => this.#claim(id, successor)))
  }

  /** What blacklists a token, for a transaction of somebody else's; it is recorded first if it is not known. */
  async spending(token: TokenRecord): Promise<Prisma.PrismaPromise<unknown>[]> {
    const tokenId = await this.#idOf(token)
    // In a list, since a promise would be waited for, which is what starts it.
    return [this.#database.blacklistedToken.create({ data: { tokenId, blacklistedAt: new Date() } })]
  }

  /** Blacklists all that a user has: a logout everywhere. What is rotated meanwhile is found in the next round. */
  async blacklistAllOf(userId: number): Promise<void> {
    const { outstandingToken, blacklistedToken } = this.#database
    const where = { userId, blacklistedToken: null, expiresAt: { gt: new Date() } }
    for (;;) {
      const tokens = await outstandingToken.findMany({ where, select: { id: true }, take: BATCH })
      if (tokens.length === 0) return
      const data = tokens.map(({ id }) => ({ tokenId: id, blacklistedAt: new Date() }))
      await blacklistedToken.createMany({ data }).catch((error) => {
        if (!isUniqueViolation(error)) throw error
      })
    }
  }

  /**
   * Deletes expired tokens, with their places on the blacklist, in batches of a thousand.
   *
   * @returns how many
   */
  async flushExpired(): Promise<number> {
    const now = new Date()
    let flushed = 0
    for (let batch = BATCH; batch === BATCH; flushed += batch) batch = await this.#flushBatch(now)
    return flushed
  }

  /** Not Prisma's upsert, which takes four statements and a transaction for what is nearly always there. */
  async #idOf(token: TokenRecord): Promise<bigint> {
    const known = await this.#find(token.jti)
    if (known !== null) return known.id
    try {
      return (await this.#insert(token)).id
    } catch (error) {
      const rival = isUniqueViolation(error) ? await this.#find(token.jti) : null
      if (rival === null) throw error
      return rival.id
    }
  }

  async #claim(tokenId: bigint, successor?: TokenRecord): Promise<void> {
    const database = this.#database
    const blacklisted = database.blacklistedToken.create({ data: { tokenId, blacklistedAt: new Date() } })
    try {
      // The unique index on the token decides who comes first; reading before writing would decide nothing.
      await (successor
        ? database.$transaction([blacklisted, database.outstandingToken.create({ data: successor })])
        : blacklisted)
    } catch (error) {
      throw isUniqueViolation(error) ? new InvalidToken('Token is blacklisted') : error
    }
  }

  #insert(data: TokenRecord) {
    return this.#database.outstandingToken.create({ data, select: { id: true } })
  }

  #find(jti: string) {
    return this.#database.outstandingToken.findUnique({ where: { jti }, select: { id: true } })
  }

  async #flushBatch(now: Date): Promise<number> {
    const database = this.#database
    const where = { expiresAt: { lte: now } }
    const expired = await database.outstandingToken.findMany({ where, select: { id: true }, take: BATCH })
    const ids = expired.map(({ id }) => id)
    await database.$transaction([
      database.blacklistedToken.deleteMany({ where: { tokenId: { in: ids } } }),
      database.outstandingToken.deleteMany({ where: { id: { in: ids } } })
    ])
    return ids.length
  }
}

/** A user who was deleted since we looked is as good as none. */
async function withUser(recording: Promise<unknown>): Promise<void> {
  try {
    await recording
  } catch (error) {
    throw isForeignKeyViolation(error) ? new AuthenticationFailed(NO_ACCOUNT) : error
  }
}

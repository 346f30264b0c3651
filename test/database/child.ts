/**
 * What the tests want done in a process of its own: `child.ts <task> <url>…`.
 *
 * It says `ready` when everything is loaded, and begins when it is told to, so that several begin at once and a kill
 * meets the work itself.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

const [task = '', ...urls] = process.argv.slice(2)
const [url = ''] = urls
const say = (message: unknown) => void process.send?.(message)
const order = () => once(process, 'message')

const pathOf = (databaseUrl: string) => databaseUrl.slice('file:'.length)

/** Each loads what it needs and no more, and returns its work. */
const TASKS: Record<string, () => Promise<() => Promise<void>>> = {
  /** Says of each database which migrations it applied, or why not. */
  async migrate() {
    const { migrate } = await import('../../src/database/migrate.ts')
    return async () => {
      for (const url of urls) say(await migrate(url).catch((error: Error) => error.message))
    }
  },

  /** Writes users, by a statement and by a transaction in turn, and says of each its name when the database has it. */
  async write() {
    const { database, newUser } = await opened()
    return async () => {
      for (let count = 0; ; count++) {
        const user = database.user.create({ data: newUser(`user${process.pid}_${count}`) })
        const { username } =
          count % 2 === 0 ? await user : (await database.$transaction([user, database.user.count()]))[0]
        say(username)
        await sleep(Math.random() * 5)
      }
    }
  },

  /** Says how many users another process finds. */
  async count() {
    const { default: Sqlite } = await import('libsql')
    return async () => say(new Sqlite(pathOf(url)).prepare('SELECT id FROM auth_user').all().length)
  },

  /** Takes SQLite's write lock, and keeps it until the next order. */
  async hold() {
    const { default: Sqlite } = await import('libsql')
    return async () => {
      const database = new Sqlite(pathOf(url), { timeout: 5000 })
      database.exec('BEGIN IMMEDIATE')
      say('held')
      await order()
      database.exec('COMMIT')
      // Who closes last moves the write-ahead log into the database and deletes it.
      database.close()
    }
  }
}

async function opened() {
  const [{ openDatabase }, { newUser }] = await Promise.all([
    import('../../src/database/open.ts'),
    import('./users.ts')
  ])
  return { database: await openDatabase(url), newUser }
}

const work = await TASKS[task]?.()
say('ready')
await order()
await work?.()
process.disconnect()

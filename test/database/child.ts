/**
 * Runs a task in a separate process: `child.ts <task> <url>…`.
 *
 * It sends `ready` when all modules are loaded, and starts on the next message, so that several processes start at the
 * same time and a kill interrupts the work and not the loading.
 */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

const [task = '', ...urls] = process.argv.slice(2)
const [url = ''] = urls
const say = (message: unknown) => void process.send?.(message)
const order = () => once(process, 'message')

const pathOf = (databaseUrl: string) => databaseUrl.slice('file:'.length)

/** Each task loads its modules and returns a function that does the work. */
const TASKS: Record<string, () => Promise<() => Promise<void>>> = {
  /** Sends for each database the applied migrations, or the error message. */
  async migrate() {
    const { migrate } = await import('../../src/database/migrate.ts')
    return async () => {
      for (const url of urls) say(await migrate(url).catch((error: Error) => error.message))
    }
  },

  /** Creates users, alternately by statement and transaction, and sends each name when it is committed. */
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

  /** Sends the number of users that this process reads. */
  async count() {
    const { default: Sqlite } = await import('libsql')
    return async () => say(new Sqlite(pathOf(url)).prepare('SELECT id FROM auth_user').all().length)
  },

  /** Holds SQLite's write lock until the next message. */
  async hold() {
    const { default: Sqlite } = await import('libsql')
    return async () => {
      const database = new Sqlite(pathOf(url), { timeout: 5000 })
      database.exec('BEGIN IMMEDIATE')
      say('held')
      await order()
      database.exec('COMMIT')
      // The last connection that closes checkpoints the write-ahead log and deletes it.
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

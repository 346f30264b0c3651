/**
 * README.md and docs/getting-started.md, followed in order in empty folders: real processes, curl, and the responses
 * that the pages show. Only the ports differ, and links replace `npm install`, which test/package tests.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { SLOWLY } from '../cli/command-line.ts'
import { blocksOf } from './pages.ts'
import { curlBlocksOf, follow, freePort, installedFolder, outputWith, runShell, startServer } from './shell.ts'

t.setTimeout(SLOWLY)

t.test('the quick start of README.md shows the responses of the server', async (t) => {
  const folder = installedFolder(t)
  const port = await freePort()
  // What `npm start` runs after the build.
  const server = await startServer(t, folder, 'exec npx latchkey serve', port, { PORT: port, LOG_LEVEL: 'warn' })
  await outputWith(server, /-d new_password=/)

  const blocks = curlBlocksOf('README.md')
  t.equal(blocks.length, 1)
  t.equal(await follow(t, folder, blocks.join('\n').replaceAll('3000', port)), 4)
})

t.test(
  'docs/getting-started.md: the app, its command line, the server and the service do what the page shows',
  async (t) => {
    const folder = installedFolder(t)
    const blocks = blocksOf('docs/getting-started.md')
    const [port, portOfService] = [await freePort(), await freePort()]
    const withPorts = (text: string) => text.replaceAll('3000', port).replaceAll('4000', portOfService)
    for (const { language, text } of blocks) {
      const [, file] = /^\/\/ (\w+\.ts)\n/.exec(text) ?? []
      if (language === 'ts' && file) writeFileSync(join(folder, file), withPorts(text))
    }
    const shellWith = (part: string) => {
      const found = blocks.filter(({ language, text }) => language === 'sh' && text.includes(part))
      t.equal(found.length, 1, `one shell block with ${part}`)
      return withPorts(found[0]?.text ?? '')
    }
    const [ofPlugin = '', ...ofServer] = curlBlocksOf('docs/getting-started.md').map(withPorts)
    t.equal(ofServer.length, 2)

    const [seed = '', ...start] = shellWith('tsx app.ts').trim().split('\n')
    await runShell(t, folder, seed)
    const app = await startServer(t, folder, start.join('\n'), port)
    t.equal(await follow(t, folder, ofPlugin), 4)
    await runShell(t, folder, shellWith('createsuperuser'))
    const body = new URLSearchParams({ username: 'admin', password: 'another-s3cret' })
    t.equal((await fetch(`http://127.0.0.1:${port}/api/token/`, { method: 'POST', body })).status, 200)
    process.kill(-(app.child.pid as number), 'SIGINT')
    await app.ended

    const home = installedFolder(t)
    const commands = shellWith('latchkey serve').trim().split('\n')
    const own = commands.filter((line) => !/^(mkdir|npm) /.test(line))
    t.equal(own.length, 6, 'four settings, check, and serve')
    await runShell(t, home, own.slice(0, -1).join('\n'))
    t.match(readFileSync(join(home, '.env'), 'utf8'), /^JWT_KEY_ENCRYPTION_KEY=\S{20,}\nJWT_ALGORITHM=ES256\n/)
    const server = await startServer(t, home, `${own.at(-1)}`, port, { PORT: port, LOG_LEVEL: 'warn' })
    const [greeting = ''] = blocks.flatMap(({ language, text }) => (language === 'text' ? [withPorts(text)] : []))
    const told = (await outputWith(server, /-d new_password=…\n/)).replace(/uid=\S+ -d token=\S+/, 'uid=… -d token=…')
    for (const line of greeting.trim().split('\n')) t.ok(told.includes(`${line}\n`), line)

    const [, startService = ''] = shellWith('tsx service.ts').trim().split('\n')
    await startServer(t, folder, startService, portOfService)
    t.equal(await follow(t, home, ofServer.join('\n')), 3)
  }
)

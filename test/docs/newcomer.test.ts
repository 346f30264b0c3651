/**
 * README.md and docs/getting-started.md, followed in order in empty folders: real processes, curl, and the responses
 * that the pages show. Only the ports differ, and links replace `npm install`, which test/package tests.
 */
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { emptyFolder, gather, SLOWLY } from '../cli/command-line.ts'
import { blocksOf, ROOT } from './pages.ts'

t.setTimeout(SLOWLY)

async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return `${port}`
}

/** A folder in which `npm install fastify latchkey tsx` seems to have been run. */
function installedFolder(t: Test): string {
  const folder = emptyFolder(t)
  const modules = join(folder, 'node_modules')
  mkdirSync(join(modules, '.bin'), { recursive: true })
  symlinkSync(ROOT, join(modules, 'latchkey'))
  for (const name of ['fastify', 'tsx']) symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  const script = `#!/bin/sh\nexec '${process.execPath}' '${join(ROOT, 'dist/cli/main.js')}' "$@"\n`
  writeFileSync(join(modules, '.bin/latchkey'), script, { mode: 0o755 })
  symlinkSync(join(ROOT, 'node_modules/.bin/tsx'), join(modules, '.bin/tsx'))
  writeFileSync(join(folder, 'package.json'), '{ "name": "my-app", "type": "module" }')
  return folder
}

/** Starts a shell script as a process group, with no variables that could be settings. */
function startShell(t: Test, cwd: string, script: string, variables: Record<string, string> = {}) {
  const { PATH, HOME, TMPDIR } = process.env
  const env = { PATH, ...(HOME && { HOME }), ...(TMPDIR && { TMPDIR }), ...variables }
  const child = spawn('bash', ['-c', script], { cwd, env, detached: true })
  const [stdout, stderr] = [gather(child.stdout), gather(child.stderr)]
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  t.teardown(() => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid as number), 'SIGTERM')
    return ended
  })
  return { child, ended, output: () => `${stdout()}${stderr()}`, stdout }
}

/** Runs a script, which must succeed. @returns standard output */
async function runShell(t: Test, cwd: string, script: string): Promise<string> {
  const { ended, output, stdout } = startShell(t, cwd, script)
  const code = await ended
  if (code !== 0) throw new Error(`exit code ${code} of ${script}\n${output()}`)
  return stdout()
}

/** Starts a server in the background, and waits until it accepts requests at the port. */
async function startServer(t: Test, cwd: string, script: string, port: string, variables = {}) {
  const server = startShell(t, cwd, script, variables)
  for (;;) {
    if (
      await fetch(`http://127.0.0.1:${port}/`).then(
        () => true,
        () => false
      )
    )
      return server
    if (server.child.exitCode !== null) throw new Error(`no server: ${server.output()}`)
    await sleep(50)
  }
}

/** Waits for a text, and returns the output so far. The greeting comes shortly after the first request is possible. */
async function outputWith(server: ReturnType<typeof startShell>, text: RegExp): Promise<string> {
  while (!text.test(server.stdout())) {
    if (server.child.exitCode !== null) throw new Error(`no ${text} in ${server.output()}`)
    await sleep(50)
  }
  return server.stdout()
}

interface Step {
  command: string
  /** The response that the page shows in a comment below the command. */
  shown: string
}

/** The commands of a script, each with the response that the page shows. */
function stepsOf(script: string): Step[] {
  const steps: Step[] = []
  for (const line of script.replaceAll(/\\\n\s*/g, '').split('\n')) {
    const last = steps.at(-1)
    if (/^# \{/.test(line) && last) last.shown = line.slice(2)
    else if (line !== '' && !line.startsWith('#')) steps.push({ command: line, shown: '' })
  }
  return steps
}

/** Runs a script in one shell, as in one terminal, and compares the output of each command with the page. */
async function follow(t: Test, cwd: string, script: string) {
  const steps = stepsOf(script)
  const output = await runShell(t, cwd, steps.map(({ command }) => `${command}\nprintf '\\036'`).join('\n'))
  const outputs = output.split('\x1e')
  for (const [index, { command, shown }] of steps.entries()) t.equal(outputs[index]?.trim(), shown, command)
  return steps.filter(({ shown }) => shown !== '').length
}

/** The shell blocks of a page that call curl, in order. */
const curlBlocksOf = (page: string) =>
  blocksOf(page)
    .filter(({ language, text }) => language === 'sh' && /\bcurl /.test(text))
    .map(({ text }) => text)

t.test('the quick start of README.md shows the responses of the server', async (t) => {
  const folder = installedFolder(t)
  const port = await freePort()
  // What `npm start` runs after the build.
  const server = await startServer(t, folder, 'exec npx latchkey serve', port, { PORT: port, LOG_LEVEL: 'warn' })
  await outputWith(server, /username admin, password \S+\n/)

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
    t.equal(own.length, 4, 'two settings, check, and serve')
    await runShell(t, home, own.slice(0, -1).join('\n'))
    t.match(readFileSync(join(home, '.env'), 'utf8'), /^JWT_KEY_ENCRYPTION_KEY=\S{20,}\nJWT_ALGORITHM=ES256\n$/)
    const server = await startServer(t, home, `${own.at(-1)}`, port, { PORT: port, LOG_LEVEL: 'warn' })
    const [greeting = ''] = blocks.flatMap(({ language, text }) => (language === 'text' ? [withPorts(text)] : []))
    const told = (await outputWith(server, /password \S+\n/)).replace(/(password ).*/, '$1…')
    for (const line of greeting.trim().split('\n')) t.ok(told.includes(`${line}\n`), line)

    const [, startService = ''] = shellWith('tsx service.ts').trim().split('\n')
    await startServer(t, folder, startService, portOfService)
    t.equal(await follow(t, home, ofServer.join('\n')), 3)
  }
)

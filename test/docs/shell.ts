/** Follows the shell blocks of a page as a reader does: in real processes, with curl, and in a folder with the packages. */
import { spawn } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { emptyFolder, gather } from '../cli/command-line.ts'
import { blocksOf, ROOT } from './pages.ts'

export async function freePort(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return `${port}`
}

/** A folder in which `npm install fastify latchkey tsx` seems to have been run. */
export function installedFolder(t: Test): string {
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
export async function runShell(t: Test, cwd: string, script: string): Promise<string> {
  const { ended, output, stdout } = startShell(t, cwd, script)
  const code = await ended
  if (code !== 0) throw new Error(`exit code ${code} of ${script}\n${output()}`)
  return stdout()
}

/** Starts a server in the background, and waits until it accepts requests at the port. */
export async function startServer(t: Test, cwd: string, script: string, port: string, variables = {}) {
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
export async function outputWith(server: ReturnType<typeof startShell>, text: RegExp): Promise<string> {
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
export async function follow(t: Test, cwd: string, script: string) {
  const steps = stepsOf(script)
  const output = await runShell(t, cwd, steps.map(({ command }) => `${command}\nprintf '\\036'`).join('\n'))
  const outputs = output.split('\x1e')
  for (const [index, { command, shown }] of steps.entries()) t.equal(outputs[index]?.trim(), shown, command)
  return steps.filter(({ shown }) => shown !== '').length
}

/** The shell blocks of a page that call curl, in order. */
export const curlBlocksOf = (page: string) =>
  blocksOf(page)
    .filter(({ language, text }) => language === 'sh' && /\bcurl /.test(text))
    .map(({ text }) => text)

/** The machine's own Chromium, and the example app as its README starts it. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import type { Test } from 'tap'
import { emptyFolder, gather } from '../cli/command-line.ts'

/** Nothing of what a browser asks its maker. */
const QUIET = [
  ...['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync']
]
const executablePath = [process.env.CHROMIUM ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser'].find((path) =>
  existsSync(path)
)

/** Why the tests in a browser cannot run, or false if they can. */
export const missing: string | false = executablePath
  ? false
  : 'there is no /usr/bin/chromium; CHROMIUM can name another (Debian: apt-get install chromium)'

export async function openBrowser(t: Test): Promise<Browser> {
  // Chromium's sandbox is not for root.
  const chromiumSandbox = process.getuid?.() !== 0
  const browser = await chromium.launch({ executablePath: `${executablePath}`, args: QUIET, chromiumSandbox })
  t.teardown(() => browser.close())
  return browser
}

export interface Example {
  page: string
  api: string
}

/** Starts `examples/spa/server.mjs` on any ports, with a database of its own. */
export async function startExample(t: Test, mode: 'token' | 'cookie'): Promise<Example> {
  const server = fileURLToPath(new URL('../../examples/spa/server.mjs', import.meta.url))
  const env = { PATH: process.env.PATH ?? '', PAGE_PORT: '0', API_PORT: '0', MODE: mode }
  const child = spawn(process.execPath, [server], { cwd: emptyFolder(t), env })
  const ended = new Promise((resolve) => child.on('close', resolve))
  t.teardown(() => {
    child.kill()
    return ended
  })
  const [stdout, stderr] = [gather(child.stdout), gather(child.stderr)]
  const up = new Promise<Example>((resolve) => {
    child.stdout.on('data', () => {
      const [, page, api] = /^The page is at (\S+) and the API at (\S+)\.$/m.exec(stdout()) ?? []
      if (page && api && /^Sign in as alice/m.test(stdout())) resolve({ page, api })
    })
  })
  const example = await Promise.race([up, ended.then(() => null)])
  if (example === null) throw new Error(`no example: ${stdout()}${stderr()}`)
  return example
}

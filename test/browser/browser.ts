/** Starts the installed Chromium, and the example app as in its README. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import type { Test } from 'tap'
import { emptyFolder, gather } from '../cli/command-line.ts'

/** Disables the background requests of the browser. */
const QUIET = [
  ...['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync']
]
const executablePath = [process.env.CHROMIUM ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser'].find((path) =>
  existsSync(path)
)

/** The reason why tests in a browser cannot run, or false if they can. */
export const missing: string | false = executablePath
  ? false
  : '/usr/bin/chromium does not exist; CHROMIUM can name another path (Debian: apt-get install chromium)'

export async function openBrowser(t: Test): Promise<Browser> {
  // Chromium's sandbox does not work for root.
  const chromiumSandbox = process.getuid?.() !== 0
  const browser = await chromium.launch({ executablePath: `${executablePath}`, args: QUIET, chromiumSandbox })
  t.teardown(() => browser.close())
  return browser
}

export interface Example {
  page: string
  api: string
}

/** Starts `examples/spa/server.mjs` on free ports with a new database. */
export async function startExample(t: Test, mode: 'bearer' | 'cookie'): Promise<Example> {
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

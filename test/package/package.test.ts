/** `npm pack` gives a package that works in an empty folder: as a plugin, and as `npx latchkey serve`. */
import { execFile, spawn } from 'node:child_process'
import { appendFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { gather } from '../cli/command-line.ts'
import { bearer } from '../support/journeys.ts'
import { addPackages, cleanEnvironment, installPackage, PURE, ROOT } from './install.ts'

const run = promisify(execFile)
const own = (name: string) => join(ROOT, 'test/package', name)

/** Results of host.mjs: status and body of each response. */
const ANSWERS = [
  [401, /"code":"not_authenticated"/],
  [200, /^\{"hello":"1"\}$/],
  [403, /"code":"permission_denied"/],
  [200, /^\{"message":"This is a protected view."\}$/],
  [200, /^\{\}$/]
]

/** Runs host.mjs, which must not write to standard error. */
async function runHost(cwd: string): Promise<unknown> {
  const options = { cwd, env: cleanEnvironment(), timeout: 60_000 }
  const { stdout, stderr } = await run('env', [...PURE, process.execPath, 'host.mjs'], options)
  if (stderr !== '') throw new Error(stderr)
  return JSON.parse(stdout)
}

// npm downloads what it has not cached.
t.setTimeout(300_000)

t.test('the package, installed in an empty folder', async (t) => {
  const { files, folder, tarball } = await installPackage(t)
  const modules = join(folder, 'node_modules')

  t.test('holds what it needs and nothing else', async (t) => {
    const allowed =
      /^(dist\/.*\.(js|d\.ts)|(prisma|examples)\/.*|(docs\/)?[^/]+\.md|package\.json|LICENSE|\.env\.example)$/
    t.strictSame(
      files.filter((path) => !allowed.test(path) || /(^|\/)(test|data|node_modules)\//.test(path)),
      []
    )
    for (const path of [
      'dist/index.js',
      'dist/index.d.ts',
      'dist/client/client.js',
      'dist/cli/main.js',
      '.env.example',
      'README.md',
      'LICENSE'
    ]) {
      t.ok(files.includes(path), path)
    }
    for (const provider of ['sqlite', 'postgresql']) {
      const migrations = `prisma/${provider}/migrations`
      t.ok(files.includes(`${migrations}/migration_lock.toml`))
      const named = readdirSync(join(ROOT, migrations)).filter((name) => /^\d{4}_/.test(name))
      for (const name of named) t.ok(files.includes(`${migrations}/${name}/migration.sql`), name)
      t.ok(files.includes(`dist/database/generated/${provider}/client.js`))
    }
    t.ok(readFileSync(join(modules, 'latchkey/dist/cli/main.js'), 'utf8').startsWith('#!/usr/bin/env node\n'))
  })

  t.test('relative links in its documents lead to files that it contains', async (t) => {
    const documents = files.filter((path) => path.endsWith('.md'))
    t.ok(documents.length > 10)
    for (const path of documents) {
      const text = readFileSync(join(modules, 'latchkey', path), 'utf8')
      for (const [, link = ''] of text.matchAll(/\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)/g)) {
        const target = posix.join(posix.dirname(path), link)
        t.ok(
          files.includes(target) || files.some((file) => file.startsWith(`${target.replace(/\/$/, '')}/`)),
          `${path}: ${link}`
        )
      }
    }
  })

  t.test('requires the same versions of Fastify as a plugin and as a package', async (t) => {
    const { peerDependencies } = JSON.parse(readFileSync(join(modules, 'latchkey/package.json'), 'utf8'))
    for (const name of ['index', 'verify']) {
      const { default: plugin } = await import(join(modules, `latchkey/dist/${name}.js`))
      t.equal(plugin[Symbol.for('plugin-meta')].fastify, peerDependencies.fastify, name)
    }
  })

  t.test('works with the oldest Fastify that it supports', async (t) => {
    const older = join(folder, 'older')
    await addPackages(older, tarball, 'fastify@5.0.0')
    t.equal(JSON.parse(readFileSync(join(older, 'node_modules/fastify/package.json'), 'utf8')).version, '5.0.0')
    cpSync(own('host.mjs'), join(older, 'host.mjs'))
    t.match(await runHost(older), ANSWERS)
  })

  t.test("needs neither Prisma's command line nor a TypeScript toolchain", async (t) => {
    for (const name of ['prisma', '@prisma/engines', '@prisma/internals', 'typescript', 'tsx', 'esbuild', 'tap']) {
      t.notOk(existsSync(join(modules, name)), name)
    }
  })

  t.test('is a plugin for an app in plain JavaScript', async (t) => {
    cpSync(own('host.mjs'), join(folder, 'host.mjs'))
    t.match(await runHost(folder), ANSWERS)
  })

  t.test('brings types that hold, for the strictest of compilers', async (t) => {
    // Not under its own name here, where our own compiler would look for a package that is not built yet.
    cpSync(own('consumer.mts.txt'), join(folder, 'consumer.mts'))
    const compilerOptions = {
      ...{ target: 'ES2023', lib: ['ES2023'], module: 'NodeNext', moduleResolution: 'NodeNext', noEmit: true },
      ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false },
      ...{ types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] }
    }
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    const faultsOf = (options: object, file: string) => {
      writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: [file] }))
      return run('env', [...PURE, process.execPath, tsc, '-p', folder], { cwd: folder }).then(
        () => '',
        ({ stdout, stderr }) => `${stdout}${stderr}`
      )
    }
    t.equal(await faultsOf(compilerOptions, 'consumer.mts'), '')
    appendFileSync(join(folder, 'consumer.mts'), 'export const wrong: number = pair.access\n')
    const fault = "Type 'string' is not assignable to type 'number'"
    t.match(await faultsOf(compilerOptions, 'consumer.mts'), fault, 'the check can fail')

    // Of a page, which knows nothing of Node.js.
    cpSync(own('page.mts.txt'), join(folder, 'page.mts'))
    const page = { ...compilerOptions, lib: ['ES2022', 'DOM'], target: 'ES2022', types: [] }
    for (const options of [page, { ...page, module: 'ESNext', moduleResolution: 'Bundler' }]) {
      t.equal(await faultsOf(options, 'page.mts'), '')
    }
    t.equal(await faultsOf(compilerOptions, 'page.mts'), '', 'nor need it be a page')
  })

  t.test('has a client that loads nothing but itself', async (t) => {
    const dist = join(modules, 'latchkey/dist')
    const parts = readdirSync(join(dist, 'client')).filter((name) => name.endsWith('.js'))
    const own = parts.map((name) => readFileSync(join(dist, 'client', name), 'utf8'))
    t.ok(own.length > 5)
    for (const text of own) t.notMatch(text, /(from|import) ?\(?['"](?!\.\/)/)
    const script = "import { createClient } from 'latchkey/client'; console.log(typeof createClient)"
    const { stdout } = await run('env', [...PURE, process.execPath, '--input-type=module', '-e', script], {
      cwd: folder,
      env: cleanEnvironment()
    })
    t.equal(stdout, 'function\n')
  })

  t.test('is a server: `npx latchkey serve`', async (t) => {
    const home = join(folder, 'empty')
    mkdirSync(home)
    const first = await serve(t, home, ['npx', '--no-install', 'latchkey', 'serve'])
    const [, password] = /username admin, password (\S+)/.exec(first.stdout()) ?? []
    const body = new URLSearchParams({ username: 'admin', password: `${password}` })
    const signedIn = await fetch(`${first.origin}/api/token/`, { method: 'POST', body })
    t.equal(signedIn.status, 200)
    const { access } = (await signedIn.json()) as { access: string }
    const answer = await fetch(`${first.origin}/api/protected/`, { headers: bearer(access) })
    t.equal(await answer.text(), '{"message":"This is a protected view."}')
    t.match(await (await fetch(`${first.origin}/docs/`)).text(), '<div id="swagger-ui">')
    await first.end()
    t.strictSame(readdirSync(home), ['data'])

    const later = await serve(t, home, [join(modules, '.bin/latchkey'), 'serve'])
    t.notMatch(later.stdout(), /password/)
    t.equal((await fetch(`${later.origin}/api/protected/`, { headers: bearer(access) })).status, 200)
    // A moment after its start it has not yet given back what starting took.
    let megabytes = residentMegabytes(later.pid)
    for (let tries = 0; tries < 50 && megabytes >= 150; tries++) {
      await sleep(100)
      megabytes = residentMegabytes(later.pid)
    }
    t.comment(`up after ${first.seconds} s the first time, ${later.seconds} s later, with ${megabytes} MB`)
    t.ok(megabytes < 150, `${megabytes} MB`)
    t.match(await later.end(), { code: 0, stderr: '' })
  })
})

/** Starts a server as a user does, but on any port. */
async function serve(t: Test, cwd: string, command: string[]) {
  const started = performance.now()
  const env = { ...cleanEnvironment(), PORT: '0', LOG_LEVEL: 'warn' }
  const child = spawn('env', [...PURE, ...command], { cwd, env, detached: true })
  const pid = child.pid as number
  const [stdout, stderr] = [gather(child.stdout), gather(child.stderr)]
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  // To the whole group, as a terminal does it: npx hands nothing on.
  const end = async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, 'SIGTERM')
    return { code: await ended, stderr: stderr() }
  }
  t.teardown(end)
  const up = new Promise<string>((resolve) => {
    child.stdout.on('data', () => {
      const [, origin] = /^Latchkey \S+ is listening on (\S+) /m.exec(stdout()) ?? []
      if (origin) resolve(origin)
    })
  })
  const origin = await Promise.race([up, ended])
  if (typeof origin !== 'string') throw new Error(`no server: ${stdout()}${stderr()}`)
  return { pid, origin, stdout, end, seconds: ((performance.now() - started) / 1000).toFixed(1) }
}

/** What a process has in memory; 0 where the system does not tell. */
function residentMegabytes(pid: number): number {
  const status = `/proc/${pid}/status`
  if (!existsSync(status)) return 0
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(status, 'utf8')) ?? []
  return Math.round(Number(kilobytes) / 1024)
}

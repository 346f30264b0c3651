/** The package that `npm pack` creates works in an empty folder: as a plugin, and as `npx latchkey serve`. */
import { execFile, spawn } from 'node:child_process'
import { appendFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
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

// npm downloads packages that are not in its cache.
t.setTimeout(300_000)

t.test('the package in an empty folder', async (t) => {
  const { files, tree, folder, tarball } = await installPackage(t)
  const modules = join(folder, 'node_modules')

  t.test('contains the build, migrations and documents, and no private files', async (t) => {
    const allowed =
      /^(dist\/.*\.(js|d\.ts)|(prisma|examples)\/.*|(client|verify)\/package\.json|(docs\/)?[^/]+\.md|package\.json|LICENSE|\.env\.example)$/
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

  t.test('has documents whose relative links lead to files in the package', async (t) => {
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

  t.test('works with the oldest supported version of Fastify', async (t) => {
    const older = join(folder, 'older')
    await addPackages(older, tarball, 'fastify@5.0.0')
    t.equal(JSON.parse(readFileSync(join(older, 'node_modules/fastify/package.json'), 'utf8')).version, '5.0.0')
    cpSync(own('host.mjs'), join(older, 'host.mjs'))
    t.match(await runHost(older), ANSWERS)
  })

  t.test("does not install Prisma's CLI or a TypeScript toolchain", async (t) => {
    for (const name of ['prisma', '@prisma/engines', '@prisma/internals', 'typescript', 'tsx', 'esbuild', 'tap']) {
      t.notOk(existsSync(join(modules, name)), name)
    }
  })

  t.test('works as a plugin of an app in plain JavaScript', async (t) => {
    cpSync(own('host.mjs'), join(folder, 'host.mjs'))
    t.match(await runHost(folder), ANSWERS)
  })

  t.test('has types that are valid with strict compiler options, with and without the types of Node.js', async (t) => {
    // The source ends with .txt, because the project's own compiler cannot resolve `latchkey` before the build.
    cpSync(own('consumer.mts.txt'), join(folder, 'consumer.mts'))
    const compilerOptions = {
      ...{ target: 'ES2023', lib: ['ES2023'], module: 'NodeNext', moduleResolution: 'NodeNext', noEmit: true },
      ...{ strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: false },
      ...{ types: ['node'], typeRoots: [join(ROOT, 'node_modules/@types')] }
    }
    t.equal(await faultsOf(folder, compilerOptions, 'consumer.mts'), '')
    appendFileSync(join(folder, 'consumer.mts'), 'export const wrong: number = pair.access\n')
    const fault = "Type 'string' is not assignable to type 'number'"
    t.match(await faultsOf(folder, compilerOptions, 'consumer.mts'), fault, 'the check can fail')

    // A page without the types of Node.js.
    cpSync(own('page.mts.txt'), join(folder, 'page.mts'))
    const page = { ...compilerOptions, lib: ['ES2022', 'DOM'], target: 'ES2022', types: [] }
    for (const options of [page, { ...page, module: 'ESNext', moduleResolution: 'Bundler' }]) {
      t.equal(await faultsOf(folder, options, 'page.mts'), '')
    }
    t.equal(await faultsOf(folder, compilerOptions, 'page.mts'), '', 'also with the types of Node.js')
  })

  t.test('has its entry points also for resolvers without `exports`', async (t) => {
    const root = join(modules, 'latchkey')
    const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
    const entries = Object.keys(exports).filter((name) => !['.', './package.json'].includes(name))
    t.strictSame(entries, ['./verify', './client'])
    for (const entry of entries) {
      const { type, main, types } = JSON.parse(readFileSync(join(root, entry, 'package.json'), 'utf8'))
      t.equal(type, 'module')
      t.equal(join(root, entry, main), join(root, exports[entry].default), 'Metro')
      t.equal(join(root, entry, types), join(root, exports[entry].types))
    }
    cpSync(own('page.mts.txt'), join(folder, 'page.ts'))
    appendFileSync(join(folder, 'page.ts'), "export { default as verify } from 'latchkey/verify'\n")
    const node10 = { module: 'ESNext', moduleResolution: 'node10', target: 'ES2022', lib: ['ES2022', 'DOM'], types: [] }
    const options = { ...node10, strict: true, skipLibCheck: true, noEmit: true }
    t.equal(await faultsOf(folder, options, 'page.ts', OLDER_TSC), '')
    appendFileSync(join(folder, 'page.ts'), 'export const wrong: number = createClient\n')
    t.match(await faultsOf(folder, options, 'page.ts', OLDER_TSC), 'TS2322', 'the check can fail')
  })

  t.test('has a client without dependencies', async (t) => {
    const dist = join(modules, 'latchkey/dist')
    const parts = readdirSync(join(dist, 'client')).filter((name) => name.endsWith('.js'))
    const own = parts.map((name) => readFileSync(join(dist, 'client', name), 'utf8'))
    t.ok(own.length > 5)
    for (const text of own) t.notMatch(text, /(from|import) ?\(?['"](?!\.\/)/)
    const script = "import { createClient } from 'latchkey/client'; console.log(typeof createClient)"
    t.equal(await runModule(folder, script), 'function\n')
  })

  t.test('has a client that `npm run pack:client` packs alone', async (t) => {
    const alone = join(folder, 'alone')
    mkdirSync(alone)
    await run('env', [...PURE, process.execPath, join(tree, 'tools/pack-client.mjs'), alone], {
      env: cleanEnvironment()
    })
    const [packed = ''] = readdirSync(alone)
    t.match(packed, /^latchkey-client-\d+\.\d+\.\d+\.tgz$/)
    await addPackages(alone, join(alone, packed))
    t.strictSame(
      readdirSync(join(alone, 'node_modules')).filter((name) => !name.startsWith('.')),
      ['latchkey-client']
    )
    const script = "import { createClient } from 'latchkey-client'; console.log(typeof createClient)"
    t.equal(await runModule(alone, script), 'function\n')
    const page = readFileSync(own('page.mts.txt'), 'utf8').replaceAll("'latchkey/client'", "'latchkey-client'")
    writeFileSync(join(alone, 'page.mts'), page)
    const options = {
      module: 'NodeNext',
      target: 'ES2022',
      lib: ['ES2022', 'DOM'],
      types: [],
      strict: true,
      noEmit: true
    }
    t.equal(await faultsOf(alone, options, 'page.mts'), '')
  })

  t.test('runs a server with `npx latchkey serve` in less than 150 MB', async (t) => {
    const home = join(folder, 'empty')
    mkdirSync(home)
    const first = await serve(t, home, ['npx', '--no-install', 'latchkey', 'serve'])
    const [, uid = '', token = ''] = / -d uid=(\S+) -d token=(\S+)/.exec(first.stdout()) ?? []
    const password = 'an0ther-Pass!'
    const link = new URLSearchParams({ uid, token, new_password: password })
    await fetch(`${first.origin}/auth/users/reset_password_confirm/`, { method: 'POST', body: link })
    const body = new URLSearchParams({ username: 'admin', password })
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
    // Memory that the start used is released only after a moment.
    let megabytes = residentMegabytes(later.pid)
    for (let tries = 0; tries < 50 && megabytes >= 150; tries++) {
      await sleep(100)
      megabytes = residentMegabytes(later.pid)
    }
    t.comment(`first start ${first.seconds} s, second start ${later.seconds} s, ${megabytes} MB`)
    t.ok(megabytes < 150, `${megabytes} MB`)
    t.match(await later.end(), { code: 0, stderr: '' })
  })
})

const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')
/** TypeScript 5, which attw installs. The current version has no `moduleResolution: node10`. */
const OLDER_TSC = createRequire(createRequire(import.meta.url).resolve('@arethetypeswrong/core')).resolve(
  'typescript/lib/tsc.js'
)

/** Type-checks a file. @returns the errors; empty if there are none */
function faultsOf(folder: string, compilerOptions: object, file: string, tsc = TSC): Promise<string> {
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }))
  return run('env', [...PURE, process.execPath, tsc, '-p', folder], { cwd: folder }).then(
    () => '',
    ({ stdout, stderr }) => `${stdout}${stderr}`
  )
}

/** Runs the source of a module. @returns its output */
async function runModule(cwd: string, source: string): Promise<string> {
  const args = [...PURE, process.execPath, '--input-type=module', '-e', source]
  return (await run('env', args, { cwd, env: cleanEnvironment() })).stdout
}

/** Starts a server on a free port. */
async function serve(t: Test, cwd: string, command: string[]) {
  const started = performance.now()
  const env = { ...cleanEnvironment(), PORT: '0', LOG_LEVEL: 'warn' }
  const child = spawn('env', [...PURE, ...command], { cwd, env, detached: true })
  const pid = child.pid as number
  const [stdout, stderr] = [gather(child.stdout), gather(child.stderr)]
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))
  // To the process group, as a terminal does, because npx does not forward signals.
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

/** The resident memory of a process; 0 on systems without /proc. */
function residentMegabytes(pid: number): number {
  const status = `/proc/${pid}/status`
  if (!existsSync(status)) return 0
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(status, 'utf8')) ?? []
  return Math.round(Number(kilobytes) / 1024)
}

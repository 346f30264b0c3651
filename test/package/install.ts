/** Builds and packs the package from a copy of the tree, and installs it in an empty folder. */
import { execFile } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Scope } from '../support/build.ts'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const run = promisify(execFile)

/** The paths that are built or packed. They are copied, because other tests use `dist` of this tree. */
const TREE = [
  ...['src', 'client', 'verify', 'prisma', 'docs', 'examples', 'tools/pack-client.mjs'],
  ...['package.json', 'tsconfig.json', 'tsconfig.build.json', '.env.example', '.gitignore', '.npmrc'],
  ...['LICENSE', 'README.md', 'CHANGELOG.md', 'UPGRADING.md']
]
/** Files that must not be packed. */
const PRIVATE = [
  '.env',
  'data/latchkey.db',
  'data/latchkey.db.key',
  'examples/spa/data/spa.db',
  'test/a.test.ts',
  'coverage/report',
  'notes.md'
]
/** Variables that npm needs. Those that `npm test` sets would make npm use this project. */
const KEPT = /^(PATH|HOME|TMPDIR|CI|npm_config_(registry|cache)|(https?|no)_proxy|NODE_EXTRA_CA_CERTS)$/i

/** Arguments of `env` that remove the loaders which tap adds to child processes. */
export const PURE = ['-u', 'NODE_OPTIONS'] as const

export const cleanEnvironment = (): Record<string, string> =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => KEPT.test(name))) as Record<string, string>

export interface Package {
  /** The paths of the packed files. */
  files: string[]
  /** A copy of this project, with the build. */
  tree: string
  /** The folder in which the package is installed. */
  folder: string
  /** The file that `npm pack` created. */
  tarball: string
}

/** @throws {Error} with the output of npm or of the compiler */
export async function installPackage(scope: Scope): Promise<Package> {
  const home = mkdtempSync(join(tmpdir(), 'latchkey-package-'))
  scope.teardown(() => rmSync(home, { recursive: true, force: true }))
  const tree = join(home, 'tree')
  for (const path of TREE) cpSync(join(ROOT, path), join(tree, path), { recursive: true })
  for (const path of PRIVATE) write(join(tree, path), 'private')
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'))
  await npm(tree, 'run', 'build')
  const [packed] = JSON.parse(await npm(tree, 'pack', '--json', '--pack-destination', home))
  const folder = join(home, 'app')
  const tarball = join(home, packed.filename)
  await addPackages(folder, tarball)
  return { files: packed.files.map(({ path }: { path: string }) => path), tree, folder, tarball }
}

/** Installs packages in a folder, which is created. */
export async function addPackages(folder: string, ...packages: string[]): Promise<void> {
  write(join(folder, 'package.json'), '{ "name": "app", "private": true, "type": "module" }')
  await npm(folder, 'install', ...packages, '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts')
}

async function npm(cwd: string, ...args: string[]): Promise<string> {
  try {
    return (await run('env', [...PURE, 'npm', ...args], { cwd, env: cleanEnvironment(), timeout: 200_000 })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`npm ${args[0]} failed:\n${stdout}${stderr}`, { cause: error })
  }
}

function write(path: string, text: string) {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, text)
}

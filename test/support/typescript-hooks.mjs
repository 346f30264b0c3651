/**
 * Module hooks that run TypeScript on older versions of Node.js.
 *
 * They take a third of the time of tsx, which inspects every module of every package. The output of esbuild is stored
 * under the hash of its input. With hooks, each import is a message between two threads. Half of the modules of a test
 * are the 540 files of typebox, which are therefore bundled.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const MODULES = fileURLToPath(new URL('../../node_modules', import.meta.url))
const CACHE = join(MODULES, '.cache/latchkey')
const TARGET = 'node20.19'

export async function resolve(specifier, context, next) {
  const [name, entry = 'index'] = specifier.split('/')
  if (name !== 'typebox') return next(specifier, context)
  bundle ??= bundleTypebox()
  return { url: pathToFileURL(join(await bundle, `${entry}.mjs`)).href, shortCircuit: true }
}

export async function load(url, context, next) {
  const isTypeScript = url.endsWith('.ts')
  if (!url.startsWith('file:') || !(isTypeScript || context.format === 'module')) return next(url, context)
  const path = fileURLToPath(url)
  // The hook of tap, which would be next, converts each file to a string of decimal numbers.
  const source = isTypeScript ? await compile(path) : readFileSync(path)
  return { format: 'module', source, shortCircuit: true }
}

async function compile(path) {
  const source = readFileSync(path, 'utf8')
  const stored = pathOf(path, source)
  if (existsSync(stored)) return readFileSync(stored)
  const { transform } = await import('esbuild')
  const { code } = await transform(source, { loader: 'ts', target: TARGET, sourcemap: 'inline', sourcefile: path })
  await store(stored, (draft) => writeFileSync(draft, code))
  return code
}

let bundle

/** @returns the folder with one file for each entry point of the package */
async function bundleTypebox() {
  const home = join(MODULES, 'typebox')
  const { version, exports } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
  const stored = pathOf(home, version)
  if (existsSync(stored)) return stored
  const { build } = await import('esbuild')
  const entryPoints = Object.entries(exports).map(([name, { import: file }]) => ({
    in: join(home, file),
    out: name === '.' ? 'index' : name.slice('./'.length)
  }))
  const options = { bundle: true, splitting: true, keepNames: true, format: 'esm', target: TARGET }
  await store(stored, (outdir) => build({ ...options, entryPoints, outdir, outExtension: { '.js': '.mjs' } }))
  return stored
}

const pathOf = (...input) => join(CACHE, createHash('sha256').update(input.join('\0')).digest('hex'))

/** Writes a file or folder that other processes see only when it is complete. */
async function store(path, write) {
  const draft = `${path}.${process.pid}`
  try {
    mkdirSync(CACHE, { recursive: true })
    await write(draft)
    renameSync(draft, path)
  } catch (error) {
    rmSync(draft, { recursive: true, force: true })
    // Another process was faster, or this one runs as a user that may not write here.
    if (!['ENOTEMPTY', 'EEXIST', 'EACCES'].includes(error.code)) throw error
  }
}

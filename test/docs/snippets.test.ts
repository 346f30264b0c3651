/** The code, the links and the commands in the Markdown pages are valid. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { emptyFolder, latchkey, SLOWLY } from '../cli/command-line.ts'
import { anchorsOf, type Block, blocksOf, commandsOf, PAGES, proseOf, ROOT, read } from './pages.ts'

const run = promisify(execFile)
const BLOCKS = PAGES.flatMap((page) => blocksOf(page))
const inLanguage = (...languages: string[]) => BLOCKS.filter(({ language }) => languages.includes(language))

t.setTimeout(SLOWLY)

/**
 * Compiles all blocks together against the sources of the package. Blocks of JavaScript are only parsed.
 *
 * @returns the errors, with the lines of the page: `docs/guards.7.ts(9,1): error …` is in line 9 of docs/guards.md
 */
async function faultsOf(t: Test, blocks: Block[]): Promise<string[]> {
  const folder = emptyFolder(t)
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const files = blocks.map(({ page, line, language, text }) => {
    const file = page.replace(/md$/, `${line}.${language}`)
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    writeFileSync(join(folder, file), '\n'.repeat(line - 1) + text)
    return file
  })
  const paths = {
    latchkey: [join(ROOT, 'src/index.ts')],
    'latchkey/verify': [join(ROOT, 'src/verify.ts')],
    'latchkey/client': [join(ROOT, 'src/client/client.ts')]
  }
  const compilerOptions = { paths, declaration: false, allowJs: true, checkJs: false }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: [], files })
  )
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const args = ['-u', 'NODE_OPTIONS', process.execPath, tsc, '--pretty', 'false', '-p', folder]
  const output = await run('env', args, { cwd: folder }).then(
    () => '',
    ({ stdout, stderr }) => `${stdout}${stderr}`
  )
  return output.split('\n').filter((line) => line !== '')
}

t.test('TypeScript on the pages compiles with strict options, and JavaScript parses', async (t) => {
  const example = {
    page: 'examples/plugin-ts/app.md',
    line: 1,
    language: 'ts',
    text: read('examples/plugin-ts/app.ts')
  }
  const blocks = [...inLanguage('ts', 'js'), example]
  t.ok(blocks.length > 30)
  t.strictSame(await faultsOf(t, blocks), [])
})

t.test('the compilation reports wrong types, and wrong syntax of JavaScript, at the line of the page', async (t) => {
  const types =
    "```ts\nimport { createClient } from 'latchkey/client'\nexport const wrong: number = createClient\n```\n"
  const syntax = '\n```js\nconst = 1\n```\n'
  t.match(await faultsOf(t, blocksOf('docs/wrong.md', types)), [/^docs\/wrong\.2\.ts\(3,14\): error TS2322/])
  // Errors in the syntax prevent the check of types.
  t.match((await faultsOf(t, blocksOf('docs/wrong.md', syntax)))[0], /^docs\/wrong\.3\.js\(3,7\): error TS1/)
})

t.test('JSON on the pages parses', async (t) => {
  const blocks = inLanguage('json')
  t.ok(blocks.length > 3)
  for (const { page, line, text } of blocks) t.doesNotThrow(() => JSON.parse(text), `${page}:${line}`)
})

/** The relative links of a page that lead to no file or to no heading. */
function brokenLinks(page: string, markdown = read(page)): string[] {
  const links = [...proseOf(markdown).matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, link = '']) => link)
  return links.filter((link) => {
    const [path = '', anchor] = link.split('#')
    const target = path === '' ? page : posix.join(posix.dirname(page), path)
    if (target.startsWith('..') || (target !== page && !existsSync(join(ROOT, target)))) return true
    return anchor !== undefined && !anchorsOf(target === page ? markdown : read(target)).has(anchor)
  })
}

t.test('relative links lead to files, and their anchors to headings', async (t) => {
  for (const page of PAGES) t.strictSame(brokenLinks(page), [], page)
  const page =
    '# A `b`: c\n\n[1](#a-b-c) [2](#nonesuch) [3](keys.md#nonesuch) [4](nonesuch.md) [5](../../x) [6](keys.md)'
  t.strictSame(brokenLinks('docs/wrong.md', page), ['#nonesuch', 'keys.md#nonesuch', 'nonesuch.md', '../../x'])
})

/** The usage of each command of the CLI by name, from `latchkey --help`. */
async function readUsages(t: Test): Promise<Map<string, string>> {
  const { stdout } = await latchkey(emptyFolder(t), ['--help'])
  return new Map([...stdout.matchAll(/^ {2}(\S+)(.*)$/gm)].map(([, name = '', usage = '']) => [name, usage]))
}

/** The calls of npm scripts and CLI commands in a line that do not exist, or whose options do not. */
function unknownCalls(line: string, scripts: string[], usages: Map<string, string>): string[] {
  const npm = [...line.matchAll(/\bnpm (?:run ([\w:-]+)|(test|start)\b)/g)].filter(
    ([, name = '', short = '']) => !scripts.includes(name || short)
  )
  const cli = [...line.matchAll(/(?:^|npx |run |&& |\()latchkey (?:-- )?([a-z][a-z-]*)([^|;&)>]*)/g)].filter(
    ([, name = '', rest = '']) => {
      const usage = usages.get(name)
      const words = rest.trim().split(/\s+/)
      const options = words.filter((word) => word.startsWith('--'))
      const isKnown = name === 'keys' ? new RegExp(`(^|\\| | )${words[0]}( |$)`).test(`${usage}`) : usage !== undefined
      return !isKnown || options.some((option) => !new RegExp(`${option}\\b`).test(`${usage}`))
    }
  )
  return [...npm, ...cli].map(([call]) => call.trim())
}

t.test('commands on the pages name scripts of npm, and commands and options of the CLI, that exist', async (t) => {
  const scripts = Object.keys(JSON.parse(read('package.json')).scripts)
  const usages = await readUsages(t)
  t.ok(usages.size > 8)
  // An example has its own scripts.
  const ofProject = (page: string) => !page.startsWith('examples/')
  const inBlocks = inLanguage('sh').filter(({ page }) => ofProject(page))
  const inText = PAGES.filter(ofProject).flatMap((page) =>
    [...proseOf(read(page)).matchAll(/`((?:npm |npx |latchkey )[^`]+)`/g)].map(([, text = '']) => ({ page, text }))
  )
  t.ok(inText.length > 10)
  for (const { page, text } of [...inBlocks, ...inText]) {
    for (const command of commandsOf(text))
      t.strictSame(unknownCalls(command, scripts, usages), [], `${page}: ${command}`)
  }

  for (const call of [
    'npm run nonesuch',
    'npx latchkey nonesuch',
    'latchkey check --wrong',
    'latchkey keys nonesuch'
  ]) {
    t.strictSame(unknownCalls(call, scripts, usages), [call])
  }
})

t.test('test files that the pages run exist', async (t) => {
  const named = PAGES.flatMap((page) =>
    [...read(page).matchAll(/\bnpx tap run (\S+?\.ts)/g)].map(([, path = '']) => path)
  )
  t.ok(named.length > 0)
  for (const path of named) t.ok(existsSync(join(ROOT, path.includes('*') ? dirname(path) : path)), path)
})

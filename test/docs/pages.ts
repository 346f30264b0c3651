/** The Markdown pages of the project, their headings and their code blocks. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

const namesIn = (folder: string, options = {}) =>
  (readdirSync(join(ROOT, folder), options) as string[]).filter((name) => name.endsWith('.md'))

/** The paths of all pages, such as `docs/guards.md`. */
export const PAGES = [
  ...namesIn('.'),
  ...namesIn('docs').map((name) => `docs/${name}`),
  ...namesIn('examples', { recursive: true })
    .filter((name) => !name.includes('node_modules'))
    .map((name) => `examples/${name}`)
]

export const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

export interface Block {
  page: string
  /** The number of its first line. */
  line: number
  language: string
  text: string
}

/** The code blocks of a page, also those in lists, without their indentation. */
export function blocksOf(page: string, markdown = read(page)): Block[] {
  return [...markdown.matchAll(/^( *)```(\w+)\n(.*?)^\1```$/gms)].map(
    ({ index, 1: indent = '', 2: language = '', 3: text = '' }) => ({
      ...{ page, language },
      line: markdown.slice(0, index).split('\n').length + 1,
      text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
    })
  )
}

/** The text of a page without its code blocks. */
export const proseOf = (markdown: string): string => markdown.replaceAll(/^( *)```.*?^\1```$/gms, '')

/** The anchors that GitHub gives to the headings of a page. */
export function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of proseOf(markdown).matchAll(/^#+ (.*)$/gm)) {
    const text = heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const anchor = text.replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-')
    let unique = anchor
    for (let count = 1; anchors.has(unique); count++) unique = `${anchor}-${count}`
    anchors.add(unique)
  }
  return anchors
}

/** The commands of a shell block with their continuation lines, without comments. */
export const commandsOf = (text: string): string[] =>
  text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '')

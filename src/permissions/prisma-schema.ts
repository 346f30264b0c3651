/** Reads the models of a Prisma schema for syncPermissions. */
import type { ModelDefinition } from './content-types.ts'

/** Tables of Django, REST framework, SimpleJWT and Latchkey, whose models need no registration. */
const OWN_TABLES =
  /^(auth_(user|group|permission|group_permissions|user_groups|user_user_permissions)|(authtoken|django|token_blacklist|latchkey)_\w+)$/

/** Tokens of a schema: documentation, other comments, strings, braces, and words. */
const TOKEN = /\/\/\/(.*)|\/\/.*|\/\*[\s\S]*?(?:\*\/|$)|"(?:\\.|[^"\\\n])*"|[{}]|[^\s"{}/]+/g

interface Block {
  /** Such as `model Post`. */
  head: string[]
  /** The lines of documentation before the block. */
  docs: string[]
  body: string[]
}

/**
 * Returns the models with Django's names: `BlogPost` is `blogpost`, and `blog post` in texts. A line of documentation
 * before a model, `/// @permission publish_post Can publish post`, adds a permission. Models with `@@ignore`, and
 * those of the tables of Django and Latchkey, are left out.
 *
 * @param text of a schema, or of all its files
 */
export function modelsOfSchema(text: string, appLabel: string): ModelDefinition[] {
  return blocksOf(text).flatMap(({ head, docs, body }) => {
    const [keyword, name = ''] = head.slice(-2)
    if (keyword !== 'model' || body.includes('@@ignore') || OWN_TABLES.test(tableOf(name, body))) return []
    const model = { appLabel, model: name.toLowerCase(), verboseName: inWords(name) }
    const permissions = docs.flatMap(permissionIn)
    return permissions.length > 0 ? [{ ...model, permissions }] : [model]
  })
}

function blocksOf(text: string): Block[] {
  const blocks: Block[] = []
  let block: Block = { head: [], docs: [], body: [] }
  let isInside = false
  for (const { 0: token, 1: doc } of text.matchAll(TOKEN)) {
    if (/^\/[/*]/.test(token)) {
      if (doc !== undefined && !isInside) block.docs.push(doc.trim())
    } else if (token === '{') {
      isInside = true
    } else if (token === '}') {
      blocks.push(block)
      block = { head: [], docs: [], body: [] }
      isInside = false
    } else {
      ;(isInside ? block.body : block.head).push(token)
    }
  }
  return blocks
}

/** Returns the table: the name in `@@map`, by default the name of the model. */
function tableOf(name: string, body: string[]): string {
  const [, table = name] = /@@map\( ?(?:name: ?)?"([^"]*)"/.exec(body.join(' ')) ?? []
  return table
}

function permissionIn(doc: string): [codename: string, name: string][] {
  const [, codename, name] = /^@permission\s+(\S+)\s+(\S.*)$/.exec(doc) ?? []
  return codename === undefined || name === undefined ? [] : [[codename, name]]
}

/** Django's camel_case_to_spaces. */
const inWords = (name: string) =>
  name
    .replace(/(?<=[a-z])[A-Z]|(?<!^)[A-Z](?=[a-z])/g, ' $&')
    .trim()
    .toLowerCase()

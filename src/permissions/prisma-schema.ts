/** The models of a Prisma schema, as syncPermissions takes them. */
import type { ModelDefinition } from './content-types.ts'

/** Those of Django, REST framework, SimpleJWT and Latchkey, whose models are registered by themselves. */
const OWN_TABLES =
  /^(auth_(user|group|permission|group_permissions|user_groups|user_user_permissions)|(authtoken|django|token_blacklist|latchkey)_\w+)$/

/** Documentation, other comments, strings, braces, and whatever else stands together. */
const TOKEN = /\/\/\/(.*)|\/\/.*|\/\*[\s\S]*?(?:\*\/|$)|"(?:\\.|[^"\\\n])*"|[{}]|[^\s"{}/]+/g

interface Block {
  /** Such as `model Post`. */
  head: string[]
  /** The lines of documentation before it. */
  docs: string[]
  body: string[]
}

/**
 * Reads models as Django names them: `BlogPost` is `blogpost`, or in words `blog post`. A line of documentation before a
 * model, `/// @permission publish_post Can publish post`, is a permission of its own. Left out is what has `@@ignore`, and
 * what lies in a table of Django's or Latchkey's.
 *
 * @param text of a schema, or of all files of one
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

/** What `@@map` says, or else the model's own name, as in a schema that was read from a database. */
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

/**
 * The rules of docs/architecture.md: the direction of imports, no HTTP in domain files, and short files.
 *
 * Imports are found in the text, so that type-only imports count as well.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import t from 'tap'

/** A file may import from its own folder and from those before it in this list. */
const ORDER = [
  ...['errors', 'version', 'deep-freeze', 'python-strip', 'bounded-fetch', 'crypto', 'settings', 'database'],
  ...['drf', 'keys', 'sessions', 'passwords', 'users', 'permissions', 'tokens', 'accounts', 'admin'],
  ...['guards', 'authentication', 'plugin', 'verify', 'routes', 'index', 'server', 'cli'],
  // For other platforms: neither imports from the server nor is imported by it.
  'client'
]
/** The allowed imports of independent files and folders. */
const LEAVES: Record<string, string[]> = Object.fromEntries(
  ['errors', 'version', 'deep-freeze', 'python-strip', 'bounded-fetch', 'client'].map((name) => [name, []])
)
/** Folders and files that may import Fastify. All others are domain code without HTTP. */
const KNOWS_HTTP = ['drf', 'guards', 'authentication', 'plugin', 'verify', 'routes', 'index', 'server', 'cli']
const HTTP = /^(fastify|fastify-plugin|@fastify\/.+|node:https?2?)$/
const MAX_LINES = 410

type Sources = Record<string, string>

/** The text of the files in `src/` by path, without the generated Prisma clients. */
function sources(): Sources {
  const folder = new URL('../src/', import.meta.url)
  const paths = (readdirSync(folder, { recursive: true }) as string[]).map((path) => path.replaceAll('\\', '/'))
  const own = paths.filter((path) => path.endsWith('.ts') && !path.startsWith('database/generated/'))
  return Object.fromEntries(own.map((path) => [path, readFileSync(new URL(path, folder), 'utf8')]))
}

/** The modules that a file imports (statically, dynamically or as types), re-exports or augments. */
function importsOf(text: string): string[] {
  const code = text.replace(/\/\*.*?\*\//gs, '').replace(/^\s*\/\/.*$/gm, '')
  const found = code.matchAll(/(?:\bfrom|\bimport|\bmodule)\s*\(?\s*(['"`])([^'"`]+)\1/g)
  return [...found].map(([, , specifier = '']) => specifier)
}

/** The first part of a path: `tokens` of `tokens/jwt.ts`, `server` of `server.ts`. */
const placeOf = (path: string) => path.replace(/\/.*$/s, '').replace(/\.ts$/, '')

function mayKnowHttp(path: string): boolean {
  return KNOWS_HTTP.includes(placeOf(path)) || path === 'keys/verify-signature.ts'
}

function faultOf(path: string, specifier: string): string | undefined {
  const place = placeOf(path)
  if (HTTP.test(specifier)) return mayKnowHttp(path) ? undefined : 'is a domain file and knows HTTP'
  if (/^@prisma\//.test(specifier)) return place === 'database' ? undefined : 'knows Prisma, not only the database'
  if (!specifier.startsWith('.')) return undefined
  const target = posix.join(posix.dirname(path), specifier)
  const wanted = placeOf(target)
  if (!/\.ts$/.test(target) || target.startsWith('..')) return 'imports what is no file of src/'
  if (wanted === 'index') return 'imports the public API'
  if (place === wanted) return undefined
  if (target.startsWith('database/generated/')) return 'imports a generated client'
  if (LEAVES[place] && !LEAVES[place].includes(wanted)) return 'is to stand by itself'
  if (wanted === 'drf' && !mayKnowHttp(path)) return 'is a domain file and knows HTTP'
  return ORDER.indexOf(wanted) < ORDER.indexOf(place) ? undefined : 'imports to its right'
}

function faultsIn(files: Sources): string[] {
  return Object.entries(files).flatMap(([path, text]) => {
    const lines = text.split('\n').length - 1
    const name = posix.basename(path)
    return [
      ...importsOf(text).flatMap((specifier) => {
        const fault = faultOf(path, specifier)
        return fault === undefined ? [] : [`${path} → ${specifier}: ${fault}`]
      }),
      ...(ORDER.includes(placeOf(path)) ? [] : [`${path}: has no place in the order`]),
      ...(name === 'index.ts' && path !== name ? [`${path}: a folder has no index.ts`] : []),
      ...(/utils|helpers|services|repositories|common/.test(path) ? [`${path}: says nothing by its name`] : []),
      ...(/\bprocess\.env\b/.test(text) && path !== 'cli/main.ts' ? [`${path}: reads the environment`] : []),
      ...(lines > MAX_LINES ? [`${path}: has ${lines} lines`] : [])
    ]
  })
}

t.test('src/ follows the rules for imports, names and lengths', async (t) => {
  t.strictSame(faultsIn(sources()), [])
})

t.test('the check finds re-exports, imports, dynamic imports and types', async (t) => {
  const files = sources()
  t.ok(Object.keys(files).length > 30)
  t.ok(importsOf(files['index.ts'] ?? '').includes('./plugin.ts'), 're-exports')
  t.ok(importsOf(files['tokens/jwt.ts'] ?? '').includes('../errors.ts'), 'imports')
  t.ok(importsOf(files['database/open.ts'] ?? '').includes('./generated/postgresql/client.ts'), 'dynamic imports')
  t.ok(importsOf(files['authentication/authenticate.ts'] ?? '').includes('@fastify/jwt'), 'types')
})

t.test('the check reports violations', async (t) => {
  const violations: [path: string, line: string, fault: string][] = [
    ['users/users.ts', "import { Tokens } from '../tokens/tokens.ts'", 'imports to its right'],
    ['users/users.ts', "import type { Tokens } from '../tokens/tokens.ts'", 'imports to its right'],
    ['users/users.ts', "export * from '../guards/guards.ts'", 'imports to its right'],
    ['users/users.ts', "const later = await import('../tokens/tokens.ts')", 'imports to its right'],
    ['database/open.ts', 'let tokens: typeof import("../tokens/tokens.ts")', 'imports to its right'],
    ['drf/view.ts', "import {\n  type Users\n} from '../users/users.ts'", 'imports to its right'],
    ['routes/routes.ts', "import '../server/server.ts'", 'imports to its right'],
    ['index.ts', "export * from './cli/main.ts'", 'imports to its right'],
    ['plugin.ts', "import latchkey from './index.ts'", 'imports the public API'],
    ['tokens/tokens.ts', "import { Guard } from '../index.ts'", 'imports the public API'],
    ['users/users.ts', "import type { FastifyRequest } from 'fastify'", 'is a domain file and knows HTTP'],
    ['tokens/jwt.ts', "import type {} from '@fastify/jwt'", 'is a domain file and knows HTTP'],
    ['users/users.ts', "declare module 'fastify' {}", 'is a domain file and knows HTTP'],
    ['errors.ts', "import { STATUS_CODES } from 'node:http'", 'is a domain file and knows HTTP'],
    ['tokens/tokens.ts', "import { view } from '../drf/view.ts'", 'is a domain file and knows HTTP'],
    ['users/users.ts', "import { Prisma } from '@prisma/client'", 'knows Prisma, not only the database'],
    [
      'users/users.ts',
      "import type { User } from '../database/generated/sqlite/client.ts'",
      'imports a generated client'
    ],
    ['errors.ts', "import { version } from './version.ts'", 'is to stand by itself'],
    ['client/session.ts', "import { AuthError } from '../errors.ts'", 'is to stand by itself'],
    ['cli/main.ts', "import { createClient } from '../client/client.ts'", 'imports to its right'],
    ['version.ts', "import { loadSettings } from './settings/load.ts'", 'is to stand by itself'],
    ['server/server.ts', "import { build } from '../../test/support/build.ts'", 'imports what is no file of src/'],
    ['server/server.ts', "import { version } from '../version'", 'imports what is no file of src/']
  ]
  for (const [path, line, fault] of violations) {
    t.strictSame(
      faultsIn({ [path]: `${line}\n` }).map((text) => text.replace(/ → .*: /, ': ')),
      [`${path}: ${fault}`],
      line
    )
  }
  const others: [path: string, text: string, fault: string][] = [
    ['users/index.ts', '', 'users/index.ts: a folder has no index.ts'],
    ['drf/utils.ts', '', 'drf/utils.ts: says nothing by its name'],
    ['mail/mail.ts', '', 'mail/mail.ts: has no place in the order'],
    ['plugin.ts', 'const url = process.env.DATABASE_URL', 'plugin.ts: reads the environment'],
    ['plugin.ts', '\n'.repeat(411), 'plugin.ts: has 411 lines']
  ]
  for (const [path, text, fault] of others) t.strictSame(faultsIn({ [path]: text }), [fault])
})

t.test('the check accepts allowed imports', async (t) => {
  const allowed: [path: string, line: string][] = [
    ['tokens/tokens.ts', "import type { Users } from '../users/users.ts'"],
    ['tokens/tokens.ts', "import type { Jwt } from './jwt.ts'"],
    ['routes/api/token.ts', "import type { FastifyInstance } from 'fastify'"],
    ['routes/api/token.ts', "import { view } from '../../drf/view.ts'"],
    ['guards/guards.ts', "import type { FastifyRequest } from 'fastify'"],
    ['cli/main.ts', "import { askForText } from './prompt.ts'\nconst { HOME } = process.env"],
    ['users/users.ts', "// import { view } from '../drf/view.ts'\n/* from 'fastify' */"],
    ['client/client.ts', "import { Session } from './session.ts'"],
    ['plugin.ts', '\n'.repeat(410)]
  ]
  for (const [path, line] of allowed) t.strictSame(faultsIn({ [path]: `${line}` }), [], line)
})

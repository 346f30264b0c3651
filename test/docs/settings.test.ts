/** Checks the settings in README.md and `.env.example` against the schema. */
import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { environmentName, loadEnvironment } from '../../src/settings/load.ts'
import { SETTING_NAMES, settingOf } from '../../src/settings/schema.ts'

/** A setting as documented. */
interface Entry {
  name: string
  fallback: string
  meaning?: string
}

/** Settings without example values, since users would copy those. */
const SECRETS = [
  ...['JWT_SIGNING_KEY', 'JWT_SIGNING_KEY_FALLBACKS', 'JWT_KEY_ENCRYPTION_KEY', 'MAIL_URL'],
  ...['SECRET_KEY', 'SECRET_KEY_FALLBACKS']
]
const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

/** Returns the rows `| \`NAME\` | default | meaning |` of the section `## Settings`. */
function rowsOf(readme: string): Entry[] {
  const [, section = ''] = /^## Settings$(.*?)(?=^## |$(?![\s\S]))/ms.exec(readme) ?? []
  return section.split('\n').flatMap((line) => {
    const [, name, fallback = '', meaning] = /^\| `([^`]*)` \|(.*?)\| (.*) \|$/.exec(line) ?? []
    return name === undefined ? [] : [{ name, fallback: fallback.replaceAll('`', '').trim(), meaning: meaning ?? '' }]
  })
}

/** Returns the lines `NAME=default` and `# NAME=default`. */
function linesOf(example: string): Entry[] {
  return example.split('\n').flatMap((line) => {
    const [, name, fallback = ''] = /^(?:# ?)?([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? []
    return name === undefined ? [] : [{ name, fallback: fallback.trim() }]
  })
}

/** Returns the errors of a document. */
function faultsOf(entries: Entry[]): string[] {
  const named = entries.map(({ name }) => name)
  const settings = new Map(SETTING_NAMES.map((name) => [environmentName(name), name]))
  return [
    ...[...settings.keys()].filter((name) => !named.includes(name)).map((name) => `${name} is missing`),
    ...named.filter((name, index) => named.indexOf(name) !== index).map((name) => `${name} is there twice`),
    ...entries.flatMap(({ name, fallback, meaning }) => {
      const setting = settings.get(name)
      if (setting === undefined) return [`${name} is no setting`]
      const { default: real, description } = settingOf(setting)
      const faults = isDefault(name, fallback, real) ? [] : [`${name} has another default`]
      return meaning === undefined || meaning.startsWith(description)
        ? faults
        : [...faults, `${name} means other things`]
    }),
    ...entries
      .filter(({ name, fallback }) => SECRETS.includes(name) && fallback)
      .map(({ name }) => `${name} is filled in`)
  ]
}

/** Defaults are written in environment syntax; null and an empty list are written as nothing. */
function isDefault(name: string, written: string, real: unknown): boolean {
  const isNothing = real === null || (Array.isArray(real) && real.length === 0)
  if (written === '' || isNothing) return written === '' && isNothing
  try {
    return isDeepStrictEqual({ ...loadEnvironment({ [name]: written }) }, { ...loadEnvironment({}) })
  } catch {
    return false
  }
}

t.test('the table in README.md has exactly the settings, with names, defaults and meanings', async (t) => {
  t.strictSame(faultsOf(rowsOf(read('README.md'))), [])
})

t.test(
  '.env.example has exactly the settings, with names and defaults, without secrets or other uncommented lines',
  async (t) => {
    const example = read('.env.example')
    t.strictSame(faultsOf(linesOf(example)), [])
    const written = example.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    t.strictSame(linesOf(written.join('\n')).length, written.length, 'every uncommented line is a setting')
  }
)

t.test('missing, duplicate, unknown and wrong entries are detected', async (t) => {
  const readme = read('README.md')
  const example = read('.env.example')
  const changes: [document: 'README.md' | '.env.example', from: string, to: string, fault: string][] = [
    ['README.md', '| `PORT` |', '| PORT |', 'PORT is missing'],
    ['README.md', '| `PORT` |', '| `HOST` |', 'HOST is there twice'],
    ['README.md', '| `PORT` |', '| `DOOR` |', 'DOOR is no setting'],
    [
      'README.md',
      '| `JWT_ACCESS_TOKEN_LIFETIME` | `5m`',
      '| `JWT_ACCESS_TOKEN_LIFETIME` | `5d`',
      'has another default'
    ],
    ['README.md', '| `PORT` | `3000`', '| `PORT` | `http`', 'PORT has another default'],
    ['README.md', '| `HOST` | `127.0.0.1`', '| `HOST` |', 'HOST has another default'],
    ['README.md', '| `JWT_ISSUER` |', '| `JWT_ISSUER` | x', 'JWT_ISSUER has another default'],
    ['README.md', 'Address to listen on', 'Address to dial', 'HOST means other things'],
    ['README.md', '## Settings', '## Knobs', 'HOST is missing'],
    ['.env.example', '# PORT=3000\n', '', 'PORT is missing'],
    ['.env.example', '# PORT=3000', '# PORT=', 'PORT has another default'],
    ['.env.example', '# JWT_SIGNING_KEY=', `JWT_SIGNING_KEY=${'abcdefghij'.repeat(5)}`, 'JWT_SIGNING_KEY is filled in']
  ]
  for (const [document, from, to, fault] of changes) {
    const [text, parse] = document === 'README.md' ? ([readme, rowsOf] as const) : ([example, linesOf] as const)
    t.ok(text.includes(from), `${document} has ${from}`)
    const faults = faultsOf(parse(text.replace(from, to)))
    t.match(faults.join('\n'), fault, `${document}: ${to}`)
  }
})

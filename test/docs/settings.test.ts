/** docs/settings.md and .env.example equal the output of their generator; README.md repeats rows of docs/settings.md. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { renderEnvExample, renderSettings } from '../../docs/settings.ts'
import { environmentName, loadEnvironment, loadSettings } from '../../src/settings/load.ts'
import { SETTING_NAMES, settingOf } from '../../src/settings/schema.ts'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

const VARIABLES = new Map(SETTING_NAMES.map((name) => [environmentName(name), name]))
const ROWS_IN_README = 10
/** A published example of a secret would be used in production. */
const WITHOUT_EXAMPLE = [
  ...['JWT_SIGNING_KEY', 'JWT_SIGNING_KEY_FALLBACKS', 'JWT_KEY_ENCRYPTION_KEY', 'JWT_VERIFYING_KEY'],
  ...['SECRET_KEY', 'SECRET_KEY_FALLBACKS', 'MAIL_URL']
]

interface Row {
  line: string
  variable: string
  option: string
  values: string
  fallback: string
  meaning: string
}

/** The rows of a document whose first cell is the environment variable of a setting. */
function rowsOf(document: string): Row[] {
  return document.split('\n').flatMap((line) => {
    const [, first = '', ...cells] = line.split('|').map((cell) => cell.trim())
    const variable = /^`([A-Z][A-Z0-9_]*)`$/.exec(first)?.[1]
    if (variable === undefined || !VARIABLES.has(variable)) return []
    const [option = '', values = '', fallback = '', meaning = ''] = cells
    return [{ line, variable, option, values, fallback, meaning }]
  })
}

const textOf = (cell: string) => (cell === '–' ? '' : cell.replaceAll('`', ''))

function faultsOfReadme(readme: string, reference: string): string[] {
  const lines = new Set(rowsOf(reference).map(({ line }) => line))
  const rows = rowsOf(readme)
  const differing = rows.filter(({ line }) => !lines.has(line)).map(({ variable }) => `${variable} differs`)
  return rows.length === ROWS_IN_README ? differing : [...differing, `${rows.length} rows`]
}

t.test('docs/settings.md and .env.example are up to date (npm run docs:settings)', async (t) => {
  t.equal(read('docs/settings.md'), renderSettings())
  t.equal(read('.env.example'), renderEnvExample())
})

t.test('docs/settings.md has one row for each setting, with its option, default and meaning', async (t) => {
  const rows = rowsOf(read('docs/settings.md'))

  t.strictSame(rows.map(({ variable }) => variable).toSorted(), [...VARIABLES.keys()].toSorted())
  for (const { variable, option, values, fallback, meaning } of rows) {
    const name = VARIABLES.get(variable) as (typeof SETTING_NAMES)[number]
    t.equal(meaning, settingOf(name).description, variable)
    t.ok(values, variable)
    t.match(textOf(option), /^$|^[a-z]/, variable)
    if (option !== '–') t.equal(textOf(option), name)
    const { default: value } = settingOf(name)
    const isEmpty = value === null || (Array.isArray(value) && value.length === 0)
    t.equal(textOf(fallback) === '', isEmpty, `${variable} shows its default unless that is empty`)
    t.strictSame(loadEnvironment({ [variable]: textOf(fallback) }), loadEnvironment({}), variable)
    t.strictSame(loadSettings({ [name]: textOf(fallback) || undefined }), loadSettings({}), name)
  }
})

t.test('.env.example has one commented-out line for each setting, and no secret has a value', async (t) => {
  const lines = read('.env.example').split('\n')
  const assignments = lines.flatMap((line) => {
    const [, variable, value = ''] = /^# ([A-Z][A-Z0-9_]*)=(.*)$/.exec(line) ?? []
    return variable === undefined ? [] : [{ variable, value }]
  })

  t.strictSame(assignments.map(({ variable }) => variable).toSorted(), [...VARIABLES.keys()].toSorted())
  for (const { variable, value } of assignments) {
    t.strictSame(loadEnvironment({ [variable]: value }), loadEnvironment({}), variable)
    if (WITHOUT_EXAMPLE.includes(variable)) t.equal(value, '', variable)
  }
  t.strictSame(
    lines.filter((line) => line !== '' && !line.startsWith('#')),
    [],
    'a copy of the file changes no setting'
  )
})

t.test('the table of ten settings in README.md repeats rows of docs/settings.md', async (t) => {
  const [readme, reference] = [read('README.md'), read('docs/settings.md')]

  t.strictSame(faultsOfReadme(readme, reference), [])
  const [first] = rowsOf(readme) as [Row]
  t.strictSame(faultsOfReadme(readme.replace(first.meaning, 'Another meaning.'), reference), [
    `${first.variable} differs`
  ])
  t.strictSame(faultsOfReadme(readme.replace(first.line, ''), reference), ['9 rows'])
})

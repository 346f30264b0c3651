/** Generates `docs/settings.md` and `.env.example` from the schema of the settings: `npm run docs:settings`. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { formatDuration } from '../src/settings/fields.ts'
import { environmentName } from '../src/settings/load.ts'
import { SETTINGS, type SettingName, TOPICS, type Topic } from '../src/settings/schema.ts'

/** The members of a setting's JSON schema that describe its values. */
interface ValueSchema {
  minimum?: number
  maximum?: number
  enum?: string[]
  items?: ValueSchema
  anyOf?: ValueSchema[]
}

const HEADER = '| Environment variable | Plugin option | Values | Default | Meaning |\n| --- | --- | --- | --- | --- |'

const INTRODUCTION = `# Settings

<!-- Generated from src/settings/schema.ts by \`npm run docs:settings\`. Do not edit. -->

The server and the command line read settings from environment variables and from \`.env\` in the working directory
([.env.example](../.env.example)); an environment variable overrides \`.env\`. The plugin takes them as options in camelCase and does
not read the environment:

\`\`\`ts
import Fastify from 'fastify'
import latchkey from 'latchkey'

const app = Fastify()
await app.register(latchkey, { databaseUrl: 'file:./auth.db', accessTokenLifetime: '15m' })
\`\`\`

* **Duration**: \`500ms\`, \`30s\`, \`5m\`, \`12h\`, \`1d\`, \`2w\`, or a number of seconds.
* **Boolean**: \`on\` or \`off\`; \`true\`, \`false\`, \`yes\`, \`no\`, \`1\` and \`0\` are also accepted.
* **List**: separated by commas; \`none\` or \`off\` is an empty list where that is allowed. As an option also an array.
* **Secrets and keys** can be read from a file: \`JWT_SIGNING_KEY=file:/run/secrets/key.pem\`.
* An empty environment variable counts as not set. In \`.env\`, a value with \`#\` must be quoted.
* An invalid value, an unknown option, or an unknown environment variable that begins with \`JWT_\` prevents the start. All errors
  are reported at once, by name and without values. \`npx latchkey check\` reports them without a start.

Options of the plugin that are functions or classes are in [tokens.md](tokens.md#options-that-are-functions).
`

/** Returns the text of `docs/settings.md`. */
export function renderSettings(): string {
  return `${[INTRODUCTION, ...TOPICS.map(renderTopic)].join('\n')}`
}

function renderTopic(topic: Topic): string {
  const note = topic.serverOnly
    ? '\n\nSettings of the server. In your own app, configure Fastify instead (`trustProxy`, `logger`), and CORS with @fastify/cors.'
    : ''
  const rows = topic.names.map((name) => renderRow(name, topic))
  return [`## ${topic.title}${note}`, '', HEADER, ...rows, ''].join('\n')
}

/** Returns a row of the table, without the line break. */
function renderRow(name: SettingName, { serverOnly }: Topic): string {
  const fallback = defaultText(name)
  const cells = [
    code(environmentName(name)),
    serverOnly ? '–' : code(name),
    valuesOf(name),
    fallback === '' ? '–' : code(fallback),
    SETTINGS[name].description
  ]
  return `| ${cells.join(' | ')} |`
}

function valuesOf(name: SettingName): string {
  const { reads, expects } = SETTINGS[name]
  const { minimum, maximum, enum: names, items, anyOf } = SETTINGS[name] as ValueSchema
  const bounds = { minimum: minimum ?? anyOf?.[0]?.minimum ?? 0, maximum: maximum ?? anyOf?.[0]?.maximum ?? 0 }
  if (reads === 'boolean') return '`on`, `off`'
  if (reads === 'number') return `${bounds.minimum} to ${bounds.maximum}`
  if (reads === 'duration') return `duration, ${formatDuration(bounds.minimum)} to ${formatDuration(bounds.maximum)}`
  if (names) return names.map(code).join(', ')
  if (items?.enum) return `list of ${items.enum.map(code).join(', ')}`
  return expects.replace(/^(a|an|the) (comma-separated |non-empty )?/, '')
}

/** Returns the default as the text of an environment variable; empty for null and for an empty list. */
function defaultText(name: SettingName): string {
  const { default: value, reads } = SETTINGS[name]
  if (value === null) return ''
  if (typeof value === 'boolean') return value ? 'on' : 'off'
  return reads === 'duration' ? formatDuration(value as number) : String(value)
}

const code = (text: string) => `\`${text}\``

const ENV_INTRODUCTION = `# Settings of Latchkey. Copy this file to .env, and remove the # in front of a setting to change it. Each line
# shows the default. Environment variables override .env. Full descriptions: docs/settings.md.
`

/** Returns the text of `.env.example`. */
export function renderEnvExample(): string {
  const sections = TOPICS.map(({ title, names }) => {
    const entries = names.map((name) => `\n# ${summaryOf(name)}\n# ${environmentName(name)}=${defaultText(name)}\n`)
    return `\n## ${title}\n${entries.join('')}`
  })
  return ENV_INTRODUCTION + sections.join('')
}

/** The first sentence of the description. */
function summaryOf(name: SettingName): string {
  const [sentence = ''] = SETTINGS[name].description.split(/(?<=\.)\s/, 1)
  return sentence.replaceAll('`', '')
}

function main(): void {
  writeFileSync(new URL('settings.md', import.meta.url), renderSettings())
  writeFileSync(new URL('../.env.example', import.meta.url), renderEnvExample())
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()

/**
 * Packs `latchkey/client` alone, as `latchkey-client-VERSION.tgz`, for apps that do not need the server's dependencies.
 * Run it after the build. The argument is the folder of the file; by default the current one.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const { version, license, author, homepage, repository, bugs } = JSON.parse(readFileSync(join(ROOT, 'package.json')))
const manifest = {
  ...{ name: 'latchkey-client', version, description: "latchkey/client without the server's dependencies" },
  ...{ license, author, homepage, repository, bugs, type: 'module', sideEffects: false },
  ...{ main: './client.js', types: './client.d.ts' },
  exports: { '.': { types: './client.d.ts', default: './client.js' }, './package.json': './package.json' }
}
const README = `# latchkey-client

The client of [Latchkey](${homepage}) for browsers, React Native and Node.js, without the server's dependencies. It is
the same as \`latchkey/client\` of the package \`latchkey\`, whose documentation applies (docs/client.md).
`

const folder = mkdtempSync(join(tmpdir(), 'latchkey-client-'))
try {
  cpSync(join(ROOT, 'dist/client'), folder, { recursive: true })
  cpSync(join(ROOT, 'LICENSE'), join(folder, 'LICENSE'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, null, 2))
  writeFileSync(join(folder, 'README.md'), README)
  const destination = process.argv[2] ?? process.cwd()
  execFileSync('npm', ['pack', '--silent', '--pack-destination', destination], { cwd: folder, stdio: 'inherit' })
} finally {
  rmSync(folder, { recursive: true })
}

/** The small examples start, and answer, as their README says. `test/browser` tests the example page. */
import { cpSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { SLOWLY } from '../cli/command-line.ts'
import { blocksOf, ROOT } from '../docs/pages.ts'
import { curlBlocksOf, follow, freePort, installedFolder, startServer } from '../docs/shell.ts'

t.setTimeout(SLOWLY)

const pageOf = (name: string) => `examples/${name}/README.md`
const linesOf = (name: string) =>
  blocksOf(pageOf(name)).flatMap(({ language, text }) => (language === 'sh' ? text.trim().split('\n') : []))

/** Copies the files of an example to a folder in which its packages are installed. */
function copyOf(t: Test, name: string): string {
  const folder = installedFolder(t)
  const source = join(ROOT, 'examples', name)
  for (const file of readdirSync(source)) {
    if (!['node_modules', 'data'].includes(file)) cpSync(join(source, file), join(folder, file))
  }
  return folder
}

const statusOf = async (url: string, headers = {}) => (await fetch(url, { headers })).status

async function accessTokenOf(origin: string, username: string): Promise<{ authorization: string }> {
  const body = new URLSearchParams({ username, password: 's3cret-Pass!' })
  const response = await fetch(`${origin}/api/token/`, { method: 'POST', body })
  return { authorization: `Bearer ${((await response.json()) as { access: string }).access}` }
}

for (const { name, url, shown } of [
  { name: 'plugin-js', url: '/hello/', shown: 2 },
  { name: 'plugin-ts', url: '/notes/alice/', shown: 3 }
]) {
  t.test(`examples/${name} answers a guarded route with 401, and with a token with 200`, async (t) => {
    const folder = copyOf(t, name)
    const port = await freePort()
    t.ok(linesOf(name).includes('npm start'))
    await startServer(t, folder, 'npm start', port, { PORT: port, DATABASE_URL: 'file:./app.db' })
    t.ok(existsSync(join(folder, 'app.db')))

    t.equal(await follow(t, folder, curlBlocksOf(pageOf(name)).join('\n').replaceAll('3000', port)), shown)
    const origin = `http://127.0.0.1:${port}`
    const headers = await accessTokenOf(origin, 'alice')
    t.equal(await statusOf(`${origin}${url}`), 401)
    t.equal(await statusOf(`${origin}${url}`, headers), 200)
    if (name === 'plugin-ts') {
      t.equal(await statusOf(`${origin}/notes/bob/`, headers), 403)
      t.match(await (await fetch(`${origin}/me/`, { headers })).json(), { username: 'alice', joined: String })
    }
  })
}

t.test('examples/resource-server accepts the access tokens of a Latchkey server', async (t) => {
  const folder = copyOf(t, 'resource-server')
  const [port, portOfService] = [await freePort(), await freePort()]
  const serve = linesOf('resource-server')
    .filter((line) => line.startsWith('export') || line.endsWith('npx latchkey serve'))
    .join('\n')
    .replaceAll('3000', port)
  await startServer(t, installedFolder(t), serve, port, { PORT: port, LOG_LEVEL: 'warn' })
  t.ok(linesOf('resource-server').includes('npm start'))
  const variables = { PORT: portOfService, ISSUER: `http://127.0.0.1:${port}` }
  await startServer(t, folder, 'npm start', portOfService, variables)

  const script = curlBlocksOf(pageOf('resource-server')).join('\n')
  t.equal(await follow(t, folder, script.replaceAll('3000', port).replaceAll('4000', portOfService)), 3)
  const [url, headers] = [
    `http://127.0.0.1:${portOfService}/hello/`,
    await accessTokenOf(`http://127.0.0.1:${port}`, 'bob')
  ]
  t.equal(await statusOf(url), 401)
  t.equal(await statusOf(url, headers), 200)
  t.equal(await statusOf(url, { authorization: `${headers.authorization}x` }), 401, 'a changed signature')
})

/** Server processes and requests to them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

/** Starts `latchkey serve`. @param settings environment variables, in addition to those of this process */
export async function serve(port: number, settings: Record<string, string>): Promise<ChildProcess> {
  const quiet = { PORT: String(port), LOGIN_RATE: 'off', LOG_LEVEL: 'silent', PASSWORD_HASHERS: 'md5' }
  const env = { ...process.env, ...quiet, ...settings }
  const server = spawn(process.execPath, ['dist/cli/main.js', 'serve'], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  await once(createInterface(server.stdout as NonNullable<typeof server.stdout>), 'line')
  return server
}

/** Sends a POST request. @throws {Error} if the status is not 2xx */
export async function post(url: string, body: object): Promise<{ refresh: string; access: string }> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${await answer.text()}`)
  return (await answer.json()) as { refresh: string; access: string }
}

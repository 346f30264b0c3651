/** Creates an app for a case, on a copy of a database with the four users of the recordings. */
import { createHash, createHmac } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, InjectOptions } from 'fastify'
import tap from 'tap'
import { AUTH_MODELS } from '../../src/permissions/content-types.ts'
import { type Postbox, startSmtp } from '../accounts/smtp.ts'
import type { Scope, TestWorld } from '../support/build.ts'
import { PASSWORD } from '../support/journeys.ts'
import { SIGNING_KEY } from '../support/settings.ts'
import type { Config, HttpRequest, Json } from './case.ts'
import { makeChange, rowsOf } from './changes.ts'
import { addProbes, ELSEWHERE } from './probes.ts'
import type { Answer, Target } from './runner.ts'
import { settingsOf } from './settings.ts'

/** With the ids 1 to 4. */
const USERS = [
  { username: 'alice' },
  { username: 'ina', isActive: false },
  { username: 'sam', isStaff: true },
  { username: 'root', isStaff: true, isSuperuser: true }
]

/** Creates the database that is copied for each case. @returns its URL */
export async function makeFixture(scope: Scope, world: TestWorld): Promise<string> {
  const databaseUrl = await world.databaseUrl(scope)
  const app = await world.build(scope, { databaseUrl })
  for (const user of USERS) {
    await app.auth.users.createUser({ ...user, email: `${user.username}@example.com`, password: PASSWORD })
  }
  await app.auth.permissions.syncPermissions(AUTH_MODELS)
  await app.close()
  return databaseUrl
}

let count = 0
let started: Promise<Postbox> | undefined

/** The SMTP server of all cases, which distinguish their emails by the sender. */
function postbox(): Promise<Postbox> {
  started ??= startSmtp(tap)
  return started
}

export async function openTarget(scope: Scope, world: TestWorld, fixture: string, config?: Config): Promise<Target> {
  const smtp = await postbox()
  const mailFrom = `case-${++count}@example.com`
  const ours = { databaseUrl: await world.copyOf(scope, fixture), mailUrl: smtp.url, mailFrom }
  const settings = { ...settingsOf(config), ...ours }
  const app = await world.build(scope, settings, addProbes)
  const others = new Map<string, FastifyInstance>()

  /** Returns the app for a path, and creates it on first use. */
  async function appFor(path: string): Promise<FastifyInstance> {
    const elsewhere = ELSEWHERE[path]
    if (!elsewhere) return app
    const other = others.get(path) ?? (await world.build(scope, { ...settings, ...elsewhere.settings }, addProbes))
    others.set(path, other)
    return other
  }

  return {
    signingKey: SIGNING_KEY,
    send: async (request) => {
      const path = ELSEWHERE[request.path]?.path ?? request.path
      return send(await appFor(request.path), { ...request, path })
    },
    change: async (change) => void (await makeChange(app, change)),
    query: (sql) => rowsOf(app, sql),
    mails: async () => {
      // Emails are sent after the response.
      await sleep(200)
      return smtp.mails.filter(({ from }) => from === mailFrom).length
    },
    resetToken: (username) => resetToken(app, username)
  }
}

async function send(app: FastifyInstance, request: HttpRequest): Promise<Answer> {
  const { statusCode, headers, body } = await app.inject({
    method: request.method as NonNullable<InjectOptions['method']>,
    url: request.path,
    ...withBody(request)
  })
  return { status: statusCode, headers: headers as Record<string, Json | undefined>, body }
}

/** Sets the recorded host `testserver`, which is part of recorded links. */
function withBody(request: HttpRequest): Pick<InjectOptions, 'headers' | 'payload'> {
  const headers: Record<string, string> = { host: 'testserver', ...request.headers }
  if (request.form) {
    headers['content-type'] = 'application/x-www-form-urlencoded'
    return { headers, payload: new URLSearchParams(request.form).toString() }
  }
  const payload = request.body ?? (request.json === undefined ? undefined : JSON.stringify(request.json))
  if (payload === undefined) return { headers }
  headers['content-type'] = request.content_type ?? 'application/json'
  return { headers, payload }
}

const EPOCH = Date.UTC(2001, 0, 1) / 1000
const SALT = 'django.contrib.auth.tokens.PasswordResetTokenGenerator'

/** Computes Django's password reset token; its secret is also SimpleJWT's default signing key. */
async function resetToken(app: FastifyInstance, username: string): Promise<{ uid: string; tok: string }> {
  const [row] = await rowsOf(
    app,
    `SELECT id, password, last_login, email FROM auth_user WHERE username = '${username}'`
  )
  if (!row) throw new Error(`there is no user ${username}`)
  const [id, password, lastLogin, email] = row
  const seconds = Math.floor(Date.now() / 1000) - EPOCH
  const login = lastLogin ? new Date(String(lastLogin)).toISOString().slice(0, 19).replace('T', ' ') : ''
  const key = createHash('sha256').update(`${SALT}${SIGNING_KEY}`).digest()
  const digest = createHmac('sha256', key).update(`${id}${password}${login}${seconds}${email}`).digest('hex')
  const everySecond = [...digest].filter((_, index) => index % 2 === 0).join('')
  return { uid: Buffer.from(String(id)).toString('base64url'), tok: `${seconds.toString(36)}-${everySecond}` }
}

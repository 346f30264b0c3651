/** Changes of the database that the cases make outside of the app. */
import type { FastifyInstance } from 'fastify'
import { claimsOf } from '../support/tokens.ts'
import type { Change, Json, Rows } from './case.ts'

type Doers = { [Op in Change['op']]: (app: FastifyInstance, change: Extract<Change, { op: Op }>) => Promise<unknown> }

export function makeChange(app: FastifyInstance, change: Change): Promise<unknown> {
  return (DOERS[change.op] as (app: FastifyInstance, change: Change) => Promise<unknown>)(app, change)
}

const DOERS: Doers = {
  set_active: (app, { username, value }) =>
    execute(app, `UPDATE auth_user SET is_active = ${value} WHERE username = ${text(username)}`),
  set_password: async (app, { username, password }) => app.auth.users.setPassword(await idOf(app, username), password),
  delete_user: async (app, { username }) => app.auth.users.deleteUser(await idOf(app, username)),
  create_user: (app, { username, password }) => app.auth.users.createUser({ username, password }),
  create_group: (app, { name }) => execute(app, `INSERT INTO auth_group (name) VALUES (${text(name)})`),
  grant: (app, { username, perm }) =>
    execute(
      app,
      `INSERT INTO auth_user_user_permissions (user_id, permission_id) SELECT ${user(username)}, ${permission(perm)}`
    ),
  grant_group: (app, { group, perm }) =>
    execute(
      app,
      `INSERT INTO auth_group_permissions (group_id, permission_id) SELECT ${groupNamed(group)}, ${permission(perm)}`
    ),
  join: (app, { username, group }) =>
    execute(app, `INSERT INTO auth_user_groups (user_id, group_id) VALUES (${user(username)}, ${groupNamed(group)})`),
  auth_token: (app, { username, key }) =>
    execute(
      app,
      `INSERT INTO authtoken_token (key, created, user_id) VALUES (${text(key)}, ${time(app)}, ${user(username)})`
    ),
  outstand: (app, { token }) => {
    const { exp, jti, user_id } = claimsOf(token)
    const values = [text(token), time(app), time(app, Number(exp)), Number(user_id), text(String(jti))]
    return execute(
      app,
      `INSERT INTO token_blacklist_outstandingtoken (token, created_at, expires_at, user_id, jti) VALUES (${values})`
    )
  },
  flushexpiredtokens: (app) => app.auth.tokens.flushExpiredTokens()
}

/** Returns rows as JSON, with booleans as 0 and 1 like on SQLite. */
export async function rowsOf(app: FastifyInstance, sql: string): Promise<Rows> {
  const rows = await app.auth.database.$queryRawUnsafe<Record<string, unknown>[]>(sql)
  return rows.map((row) => Object.values(row).map(plain))
}

function plain(value: unknown): Json {
  if (value instanceof Date) return value.toISOString()
  return typeof value === 'bigint' || typeof value === 'boolean' ? Number(value) : (value as Json)
}

async function idOf(app: FastifyInstance, username: string): Promise<number> {
  const [row] = await rowsOf(app, `SELECT id FROM auth_user WHERE username = ${text(username)}`)
  if (!row) throw new Error(`there is no user ${username}`)
  return Number(row[0])
}

async function execute(app: FastifyInstance, sql: string): Promise<void> {
  const count = await app.auth.database.$executeRawUnsafe(sql)
  if (count !== 1) throw new Error(`${count} rows changed by ${sql}`)
}

const text = (value: string) => `'${value.replaceAll("'", "''")}'`
const user = (username: string) => `(SELECT id FROM auth_user WHERE username = ${text(username)})`
const groupNamed = (name: string) => `(SELECT id FROM auth_group WHERE name = ${text(name)})`

/** The end of a SELECT of a permission's id, which returns no row if the permission does not exist. */
function permission(name: string): string {
  const [app = '', codename = ''] = name.split('.')
  return `p.id FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
    WHERE c.app_label = ${text(app)} AND p.codename = ${text(codename)}`
}

/** A time in Django's format; on SQLite UTC without a time zone. */
function time(app: FastifyInstance, seconds = Date.now() / 1000): string {
  const utc = new Date(seconds * 1000).toISOString().slice(0, 19).replace('T', ' ')
  return text(app.auth.settings.databaseUrl.startsWith('file:') ? utc : `${utc}+00`)
}

/** Custom guards and combinations of guards: results, order of evaluation, and errors. */
import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import {
  and,
  type Guard,
  guard,
  hasPermission,
  isAdminUser,
  isAuthenticated,
  not,
  or,
  ServiceUnavailable
} from '../../src/index.ts'
import { onEachDatabase, worldOf } from '../support/build.ts'
import { dropDatabase, nameOf } from '../support/postgres.ts'
import { theWorld } from '../support/world.ts'
import { accessOf, ask, DENIED, guarded, NOBODY, whoAmI } from './guarded.ts'

const asked: string[] = []

const answering = (name: string, answer: () => boolean | Promise<boolean>) =>
  guard(() => {
    asked.push(name)
    return answer()
  })

const yes = answering('yes', () => true)
const no = answering('no', async () => false)
const down = answering('down', async () => {
  throw new ServiceUnavailable()
})
const broken = answering('broken', () => {
  throw new Error('broken')
})

/** Expected status for an authenticated caller, and the predicates that were evaluated. */
const TRUTHS: [name: string, Guard, statusCode: number, asked: string[]][] = [
  ['yes', yes, 200, ['yes']],
  ['no', no, 403, ['no']],
  ['and-yes', and(yes), 200, ['yes']],
  ['and-yes-yes', and(yes, yes), 200, ['yes', 'yes']],
  ['and-yes-no', and(yes, no, yes), 403, ['yes', 'no']],
  ['and-no-down', and(no, down), 403, ['no']],
  ['and-yes-down', and(yes, down, no), 503, ['yes', 'down']],
  ['or-no', or(no), 403, ['no']],
  ['or-no-no', or(no, no), 403, ['no', 'no']],
  ['or-no-yes', or(no, yes, no), 200, ['no', 'yes']],
  ['or-yes-down', or(yes, down), 200, ['yes']],
  ['or-no-down', or(no, down, yes), 503, ['no', 'down']],
  ['not-yes', not(yes), 403, ['yes']],
  ['not-no', not(no), 200, ['no']],
  ['not-not-yes', not(not(yes)), 200, ['yes']],
  ['not-and', not(and(yes, no)), 200, ['yes', 'no']],
  ['not-or', not(or(no, yes)), 403, ['no', 'yes']],
  ['and-or', and(or(no, yes), not(no)), 200, ['no', 'yes', 'no']],
  ['not-down', not(down), 503, ['down']],
  ['not-not-down', not(not(down)), 503, ['down']],
  ['or-not-down', or(no, not(down)), 503, ['no', 'down']],
  ['not-and-down', not(and(yes, down)), 503, ['yes', 'down']],
  ['not-broken', not(broken), 500, ['broken']]
]

t.test('and, or and not evaluate in order and short-circuit, and never turn an error into a result', async (t) => {
  const app = await guarded(worldOf('sqlite'), t, Object.fromEntries(TRUTHS))

  for (const [name, , statusCode, expected] of TRUTHS) {
    asked.length = 0
    const answer = await ask(app, name, accessOf(1))

    t.equal(answer.statusCode, statusCode, name)
    t.strictSame(asked, expected, name)
    if (statusCode === 503) t.equal(answer.headers['retry-after'], '5')
    t.equal((await ask(app, name)).statusCode, statusCode === 403 ? 401 : statusCode, `${name}, anonymously`)
  }
})

t.test('a custom message is returned to authenticated callers, but not by combined guards', async (t) => {
  const custom = guard(() => false, { message: 'Not today.' })
  const boast = guard(() => true, { message: 'Not today.' })
  const app = await guarded(worldOf('sqlite'), t, { custom, and: and(custom), or: or(custom, custom), not: not(boast) })

  t.strictSame((await ask(app, 'custom', accessOf(1))).json(), { detail: 'Not today.' })
  for (const name of ['and', 'or', 'not']) t.strictSame((await ask(app, name, accessOf(1))).json(), DENIED, name)
  for (const name of ['custom', 'and', 'or', 'not']) t.strictSame((await ask(app, name)).json(), NOBODY, name)
})

t.test('a predicate runs after authentication and receives the request', async (t) => {
  const isOwner = guard(({ user, params, auth }) => {
    const { name } = params as { name: string }
    return user?.id === name && (auth as { user_id: string }).user_id === name
  })
  const app = await worldOf('sqlite').build(t, {}, (app) => {
    app.get('/of/:name', { preHandler: or(isAdminUser, isOwner) }, whoAmI)
    app.get('/early/:name', { onRequest: isOwner }, whoAmI)
  })

  for (const place of ['of', 'early']) {
    t.equal((await ask(app, `/${place}/5`, accessOf('5'))).statusCode, 200)
    t.equal((await ask(app, `/${place}/6`, accessOf('5'))).statusCode, 403)
    t.equal((await ask(app, `/${place}/5`)).statusCode, 401)
  }
})

/** Deletes the database of an app. */
async function takeAway({ auth }: FastifyInstance): Promise<void> {
  const { databaseUrl } = auth.settings
  await auth.database.$disconnect()
  if (databaseUrl.startsWith('file:')) return rmSync(dirname(databaseUrl.slice('file:'.length)), { recursive: true })
  const { postgres } = await theWorld()
  if ('url' in postgres) await dropDatabase(postgres.url, nameOf(databaseUrl))
}

onEachDatabase(t, (t, world) => {
  t.test('without a database guards that need it return 503, also within not() and or()', async (t) => {
    const mayAdd = hasPermission('blog.add_post')
    const guards = { mayAdd, not: not(mayAdd), notStaff: not(isAdminUser), either: or(mayAdd, isAuthenticated) }
    const app = await guarded(world, t, { ...guards, isAuthenticated })
    await takeAway(app)

    for (const name of Object.keys(guards)) {
      const answer = await ask(app, name, accessOf(1))

      t.equal(answer.statusCode, 503, name)
      t.equal(answer.headers['retry-after'], '5')
      t.strictSame(answer.json(), { detail: 'Service temporarily unavailable, try again later.' })
    }
    t.equal((await ask(app, 'isAuthenticated', accessOf(1))).statusCode, 200, 'tokens need no database')
    t.equal((await ask(app, 'not')).statusCode, 200, 'nor do anonymous requests')
  })
})

/** SimpleJWT's four views over HTTP, in addition to the recorded parity cases. */
import type { FastifyInstance, InjectOptions } from 'fastify'
import t from 'tap'
import { onEachDatabase, worldOf } from '../../support/build.ts'
import { addUser, bearer, obtainPair, PASSWORD } from '../../support/journeys.ts'
import { claimsOf, mint } from '../../support/tokens.ts'

const CREDENTIALS = { username: 'alice', password: PASSWORD }

const post = (app: FastifyInstance, url: string, payload: InjectOptions['payload'] = {}, headers = {}) =>
  app.inject({ method: 'POST', url: `/api/token/${url}`, headers, ...(payload === undefined ? {} : { payload }) })

onEachDatabase(t, (t, { build }) => {
  t.test('each view returns exactly the fields of SimpleJWT as JSON', async (t) => {
    const app = await build(t)
    await addUser(app)

    const obtained = await post(app, '', CREDENTIALS)
    const refreshed = await post(app, 'refresh/', { refresh: obtained.json().refresh })
    const verified = await post(app, 'verify/', { token: refreshed.json().refresh })
    const blacklisted = await post(app, 'blacklist/', { refresh: refreshed.json().refresh })

    for (const answer of [obtained, refreshed, verified, blacklisted]) {
      t.equal(answer.statusCode, 200)
      t.equal(answer.headers['content-type'], 'application/json')
      t.equal(answer.headers['www-authenticate'], undefined)
    }
    t.match(obtained.body, /^\{"refresh":"[\w.-]+","access":"[\w.-]+"\}$/)
    t.match(refreshed.body, /^\{"access":"[\w.-]+","refresh":"[\w.-]+"\}$/)
    t.equal(verified.body, '{}')
    t.equal(blacklisted.body, '{}')
  })

  t.test('errors have status and body of SimpleJWT, and a 401 the challenge of the first scheme', async (t) => {
    const app = await build(t, { authHeaderTypes: ['JWT', 'Bearer'] })
    await addUser(app)
    const { refresh } = await obtainPair(app)
    await post(app, 'blacklist/', { refresh })
    const notValid = (detail: string) => ({ detail, code: 'token_not_valid' })
    const cases: [url: string, payload: object, statusCode: number, body: object][] = [
      ['', { ...CREDENTIALS, password: 'x' }, 401, { detail: 'No active account found with the given credentials' }],
      ['', {}, 400, { username: ['This field is required.'], password: ['This field is required.'] }],
      [
        '',
        { username: ['alice'], password: null },
        400,
        { username: ['Not a valid string.'], password: ['This field may not be null.'] }
      ],
      ['refresh/', {}, 400, { refresh: ['This field is required.'] }],
      ['refresh/', { refresh: 'x' }, 401, notValid('Token is invalid')],
      ['refresh/', { refresh }, 401, notValid('Token is blacklisted')],
      [
        'refresh/',
        { refresh: mint({ claims: { user_id: '77' } }) },
        401,
        { detail: 'No active account found for the given token.' }
      ],
      ['verify/', { token: ' ' }, 400, { token: ['This field may not be blank.'] }],
      ['verify/', { token: mint({ claims: { exp: 1 } }) }, 401, notValid('Token is expired')],
      ['verify/', { token: refresh }, 400, { non_field_errors: ['Token is blacklisted'] }],
      ['blacklist/', {}, 400, { refresh: ['This field is required.'] }],
      ['blacklist/', { refresh }, 401, notValid('Token is blacklisted')]
    ]

    for (const [url, payload, statusCode, body] of cases) {
      const answer = await post(app, url, payload)

      t.equal(answer.statusCode, statusCode, url)
      t.strictSame(answer.json(), body)
      t.equal(answer.headers['www-authenticate'], statusCode === 401 ? 'JWT realm="api"' : undefined)
    }
  })
})

const { build } = worldOf('sqlite')

t.test('white space is trimmed from tokens and usernames, and from passwords with passwordTrim', async (t) => {
  const trimming = await build(t)
  const exact = await build(t, { passwordTrim: false })

  for (const app of [trimming, exact]) {
    await addUser(app)
    await addUser(app, { username: 'blank', password: ` ${PASSWORD} ` })
    const trims = app === trimming
    const padded = await post(app, '', { username: ' alice\n', password: ` ${PASSWORD}\t` })
    const blank = await post(app, '', { username: 'blank', password: ` ${PASSWORD} ` })
    const verified = await post(app, 'verify/', { token: `\n ${mint()} ` })

    t.equal(padded.statusCode, trims ? 200 : 401)
    t.equal(blank.statusCode, trims ? 401 : 200)
    t.equal(verified.statusCode, 200)
  }
})

t.test('the views need no authentication and ignore the Authorization header', async (t) => {
  const app = await build(t)
  await addUser(app)

  for (const headers of [bearer('x'), { authorization: 'Bearer' }, { authorization: 'Basic YTpi' }]) {
    t.equal((await post(app, '', CREDENTIALS, headers)).statusCode, 200)
    t.equal((await post(app, 'verify/', { token: mint() }, headers)).statusCode, 200)
  }
})

t.test('forms are accepted like JSON, and unknown fields are ignored', async (t) => {
  const app = await build(t)
  await addUser(app)
  const form = new URLSearchParams({ ...CREDENTIALS, is_staff: 'true', refresh: 'x' }).toString()

  const answer = await post(app, '', form, { 'content-type': 'application/x-www-form-urlencoded' })
  const refreshed = await post(app, 'refresh/', { refresh: answer.json().refresh, access: 'x', user_id: 77 })

  t.equal(answer.statusCode, 200)
  t.strictSame(Object.keys(claimsOf(answer.json().access)), ['token_type', 'exp', 'iat', 'jti', 'user_id', 'sid'])
  t.equal(refreshed.statusCode, 200)
  t.equal(claimsOf(refreshed.json().access).user_id, '1')
})

t.test('logins are rate limited (429), and the other views are not', async (t) => {
  const app = await build(t, { loginRate: '2/hour' })
  await addUser(app)
  await post(app, '', { ...CREDENTIALS, password: 'wrong' })
  await obtainPair(app)
  await post(app, '', { ...CREDENTIALS, password: 'wrong' })

  const third = await post(app, '', CREDENTIALS)
  const others = ['refresh/', 'verify/', 'blacklist/'].map((url) => post(app, url))

  t.equal(third.statusCode, 429)
  t.match(third.json().detail, /^Request was throttled\. Expected available in \d+ seconds\.$/)
  t.match(third.headers['retry-after'], /^\d+$/)
  for (const answer of await Promise.all(others)) t.equal(answer.statusCode, 400)
})

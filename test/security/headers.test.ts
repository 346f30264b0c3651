/** Malformed and hostile headers, methods and paths, sent to a listening server. */
import { METHODS } from 'node:http'
import t from 'tap'
import { addUser, obtainPair, PASSWORD } from '../support/journeys.ts'
import { listening } from '../support/listening.ts'
import { exchange, isAnswer, request } from './wire.ts'

async function guarded(t: Parameters<typeof listening>[0]) {
  const { app, port } = await listening(t)
  const [alice, bob] = [await addUser(app), await addUser(app, { username: 'bob' })]
  return { port, a: (await obtainPair(app, alice)).access, b: (await obtainPair(app, bob)).access }
}

t.test('only a well-formed Authorization header with one scheme and one token is accepted', async (t) => {
  const { port, a, b } = await guarded(t)
  const asked: [status: number | number[], ...lines: string[]][] = [
    ...['Bearer ', 'bearer ', 'BEARER ', 'Bearer\t', `Bearer${' '.repeat(10_000)}`].map((scheme): [number, string] => [
      200,
      `Authorization: ${scheme}${a}`
    ]),
    [200, `AUTHORIZATION: Bearer ${a}`],
    [401],
    ...['', 'Bearer', 'Bearer ', a, `Token ${a}`, `JWT ${a}`, `Bearer${a}`, `Bearer: ${a}`, `Bearer=${a}`].map(
      (value): [number, string] => [401, `Authorization: ${value}`]
    ),
    ...[`Bearer ${a} x`, `Bearer ${a} ${b}`, `Bearer ${a},`, `Bearer "${a}"`, `Bearer ${a}, Bearer ${b}`].map(
      (value): [number, string] => [401, `Authorization: ${value}`]
    ),
    ...['\xa0', '\x85', '\xef\xbb\xbf', '\xe2\x80\x8b'].flatMap((blank): [number, string][] => [
      [401, `Authorization: Bearer${blank}${a}`],
      [401, `Authorization: Bearer ${a}${blank}`]
    ]),
    ...['é', '\xff\xfe', '__proto__', 'undefined', '..', 'a'.repeat(10_000), 'a '.repeat(5000)].map(
      (value): [number, string] => [401, `Authorization: Bearer ${value}`]
    ),
    [401, '__proto__: x', '__proto__: y', 'constructor: z', 'Authorization: __proto__ x'],
    [200, '__proto__: x', 'constructor: z', 'toString: y', `Authorization: Bearer ${a}`],
    ...['\0', '\x01', '\x0b', '\x7f', '\r', '\n'].map((control): [number[], string] => [
      [400, 401],
      `Authorization: Bearer ${control}${a}`
    ]),
    [400, `Authorization : Bearer ${a}`],
    [400, 'Authorization'],
    [400, ': x'],
    [431, ...Array.from({ length: 10_000 }, (_, at) => `a${at}: 1`)],
    [431, `X: ${'x'.repeat(20_000)}`]
  ]
  for (const [status, ...lines] of asked) {
    const about = JSON.stringify(lines).replaceAll(a, 'A').replaceAll(b, 'B').slice(0, 80)
    isAnswer(t, await exchange(port, request('GET /api/protected/', lines)), status, about)
  }
})

t.test('two Authorization headers are rejected (401), and no other header identifies a user', async (t) => {
  const { port, a, b } = await guarded(t)
  const good = `Authorization: Bearer ${a}`
  const others = [
    ...[`authorization: Bearer ${b}`, good, 'Authorization: Bearer x', 'Authorization:', 'Authorization: Basic eDp5']
  ]
  for (const other of others) {
    for (const lines of [
      [good, other],
      [other, good]
    ]) {
      isAnswer(t, await exchange(port, request('GET /api/protected/', lines)), 401, other.slice(0, 30))
    }
  }
  const identities = [
    ...['X-Forwarded-User: alice', 'Remote-User: alice', 'X-User-Id: 1', 'X-Original-URL: /health/live'],
    ...['X-HTTP-Method-Override: OPTIONS', `Cookie: access=${a}`, `Proxy-Authorization: Bearer ${a}`],
    ...[`X-Access-Token: ${a}`, `Authorization_: Bearer ${a}`, `X_Authorization: Bearer ${a}`]
  ]
  for (const line of identities) {
    isAnswer(t, await exchange(port, request('GET /api/protected/', [line])), 401, line.slice(0, 30))
  }
})

t.test('a request must have one Host, which does not appear in the response', async (t) => {
  const { port } = await listening(t)
  const ask = (...lines: string[]) =>
    exchange(port, `${['GET /none HTTP/1.1', 'Connection: close', ...lines].join('\r\n')}\r\n\r\n`)
  isAnswer(t, await ask(), 400, 'none')
  isAnswer(t, await ask('Host: a', 'Host: b'), 400, 'two')
  isAnswer(t, await exchange(port, 'GET /none HTTP/1.0\r\n\r\n'), 404, 'none, as HTTP/1.0 may')
  for (const host of ['evil.example', 'a@b', 'evil.example:99999999', 'a/b', '[::1', '\xff', 'e'.repeat(8000)]) {
    const answers = await ask(`Host: ${host}`, `X-Forwarded-Host: ${host}`)
    isAnswer(t, answers, [400, 404], host.slice(0, 30))
    t.notMatch(JSON.stringify(answers), host)
  }
  const absolute = await exchange(port, request('GET http://evil.example/api/protected/'))
  isAnswer(t, absolute, 401, 'a whole URL')
  t.notMatch(JSON.stringify(absolute), 'evil')
})

t.test('CONNECT, Expect and Upgrade return the same kind of response as other requests', async (t) => {
  const { port } = await listening(t)
  isAnswer(t, await exchange(port, request('CONNECT example.com:443')), 400, 'CONNECT')
  isAnswer(t, await exchange(port, request('GET /api/protected/', ['Expect: the worst'])), 401, 'an odd Expect')
  isAnswer(
    t,
    await exchange(port, request('GET /api/protected/', ['Upgrade: h2c', 'Connection: Upgrade'])),
    401,
    'an Upgrade'
  )
})

t.test('unsupported methods are rejected (405), and override headers are ignored', async (t) => {
  const { port } = await listening(t)
  const body = JSON.stringify({ username: 'alice', password: PASSWORD })
  for (const method of METHODS.filter((name) => !['CONNECT', 'POST', 'OPTIONS', 'HEAD'].includes(name))) {
    const lines = ['Content-Type: application/json', 'X-HTTP-Method-Override: POST', 'X-Secret: in-a-header']
    const answers = await exchange(port, request(`${method} /api/token/?_method=POST`, lines, body))
    isAnswer(t, answers, 405, method)
    t.notMatch(JSON.stringify(answers), 'in-a-header', 'TRACE does not echo headers')
  }
  for (const method of ['FOO', 'get', 'PRI', '', 'G'.repeat(5000), '\xff', 'GET\t', 'POSTX']) {
    isAnswer(t, await exchange(port, request(`${method} /api/token/`)), [400, 431], method.slice(0, 10))
  }
})

t.test('other spellings of a path, and path traversal, are rejected (400, 403 or 404)', async (t) => {
  const { port } = await listening(t)
  const paths: [status: number | number[], ...paths: string[]][] = [
    [401, '/api/protected/', '/api/protected', '/api/protected/?x', '/api/%70rotected/'],
    [404, '//api/protected/', '/api//protected/', '/api/protected//', '/api/./protected/', '/api/x/../protected/'],
    [404, '/api/..%2fprotected/', '/api%2fprotected/', '/api/protected%2f', '/api/%2570rotected/', '/API/protected/'],
    [
      404,
      '/api/protected.',
      '/api/protected/.',
      '/api/protected;/',
      '/api/protected;a=b/',
      '/__proto__',
      '/constructor'
    ],
    [
      404,
      '/../../etc/passwd',
      '/..%2f..%2fetc%2fpasswd',
      '/.env',
      '/.git/config',
      '/package.json',
      '/docs/..%2fpackage.json'
    ],
    [
      [403, 404],
      '/docs/static/..%2f..%2fpackage.json',
      '/docs/static/%2e%2e/%2e%2e/package.json',
      '/docs/static/.npmrc'
    ],
    [[400, 403, 404], '/api/protected%00/', '/docs/static/%00', '/\xff', '/{}|^`', '*', '/a/%c0%ae%c0%ae/'],
    [400, '/%', '/%zz', '/api/%ff', '/a b', '/\0', 'api/protected/', '\\api\\protected\\'],
    [404, `/${'a'.repeat(12_000)}`, `/${'a/'.repeat(6000)}`, `/${'%2f'.repeat(4000)}`]
  ]
  for (const [status, ...spellings] of paths) {
    for (const path of spellings) isAnswer(t, await exchange(port, request(`GET ${path}`)), status, path.slice(0, 60))
  }
})

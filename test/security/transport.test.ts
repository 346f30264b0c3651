/** Malformed, partial and pipelined requests: one response for each request, in order, and no request smuggling. */
import { connect } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { addUser, bearer, obtainPair, PASSWORD } from '../support/journeys.ts'
import { listening } from '../support/listening.ts'
import { exchange, isAnswer, request } from './wire.ts'

const CREDENTIALS = JSON.stringify({ username: 'alice', password: PASSWORD })
const JSON_TYPE = 'Content-Type: application/json'
const LOGIN = request('POST /api/token/', [JSON_TYPE], CREDENTIALS).replace('Connection: close\r\n', '')
const ALIVE = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'
const LAST = request('GET /api/protected/')

/** Returns the head of a request, without its body. */
const begun = (line: string, ...headers: string[]) =>
  `${[`${line} HTTP/1.1`, 'Host: localhost', JSON_TYPE, ...headers].join('\r\n')}\r\n\r\n`
const chunked = (line: string, chunks: string) => begun(line, 'Transfer-Encoding: chunked') + chunks

t.test('bytes that are not HTTP return 400 or 431 and close the connection', async (t) => {
  const { port } = await listening(t)
  const rubbish = [
    ...['\0\0\0\0\r\n', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', 'SSH-2.0-x\r\n', '*1\r\n$4\r\nPING\r\n', '\xffSMB'],
    ...[
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
      'GET / HTTP/9.9\r\n\r\n',
      'GET / ICE/1.0\r\n\r\n',
      `${CREDENTIALS}\r\n\r\n`
    ],
    ...[`GET /${'a'.repeat(100_000)} HTTP/1.1\r\n\r\n`, '\xff'.repeat(2000), 'GET / HTTP/1.1\rHost: x\r\r']
  ]
  for (const bytes of rubbish) isAnswer(t, await exchange(port, bytes), [400, 431], JSON.stringify(bytes.slice(0, 40)))
})

t.test('request smuggling: malformed, repeated and conflicting lengths are rejected (400)', async (t) => {
  const { port } = await listening(t)
  const hidden = `0\r\n\r\n${ALIVE}`
  const refused: string[][] = [
    ...['-1', '+5', '0x5', '5.0', 'five', '', '5, 5', '5,6', '5 5', '9'.repeat(30)].map((it) => [
      `Content-Length: ${it}`
    ]),
    ['Content-Length: 2', 'Content-Length: 2'],
    ['Content-Length: 2', 'Content-Length: 3'],
    [`Content-Length: ${hidden.length}`, 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked', 'Content-Length: 4'],
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
    ...['xchunked', 'chunked, identity', 'identity', '\x0bchunked', '"chunked"', 'chunked\0'].map((it) => [
      `Transfer-Encoding: ${it}`
    ]),
    ['Transfer-Encoding : chunked'],
    ['X: y\nTransfer-Encoding: chunked']
  ]
  for (const lines of refused) {
    isAnswer(t, await exchange(port, begun('POST /api/token/', ...lines) + hidden), 400, JSON.stringify(lines))
  }
})

t.test('a malformed chunked body returns one response, whether or not the route reads it', async (t) => {
  const { port } = await listening(t)
  const broken = [
    ...['zz\r\n{}\r\n0\r\n\r\n', '-2\r\n{}\r\n0\r\n\r\n', 'ffffffffffffffffff\r\n{}\r\n', '2\r\n{}0\r\n\r\n'],
    ...['2\r\n{}xx\r\n0\r\n\r\n', '2\n{}\n0\n\n', '0x2\r\n{}\r\n0\r\n\r\n', '+2\r\n{}\r\n0\r\n\r\n', '\r\n{}\r\n'],
    ...[
      '2\r\n{}\r\n0\r\nno colon\r\n\r\n',
      '2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n',
      `2;${'a'.repeat(20_000)}\r\n{}\r\n`
    ]
  ]
  for (const chunks of broken) {
    const about = JSON.stringify(chunks.slice(0, 30))
    isAnswer(t, await exchange(port, chunked('POST /api/token/', chunks)), [400, 413], about)
    isAnswer(t, await exchange(port, chunked('POST /none', chunks)), [400, 404, 413], about)
    isAnswer(t, await exchange(port, chunked('GET /health/live', chunks)), [200, 400, 413], about)
  }
})

t.test('a body of more than 64 KiB is rejected (413) before it has been read', async (t) => {
  const { port } = await listening(t)
  for (const length of ['65537', '1000000', '9007199254740993']) {
    isAnswer(t, await exchange(port, begun('POST /api/token/', `Content-Length: ${length}`)), 413, length)
  }
  const [proceed, refusal] = await exchange(
    port,
    begun('POST /api/token/', 'Content-Length: 70000', 'Expect: 100-continue')
  )
  t.match([proceed?.status, refusal?.status], [100, 413])
  const chunk = `400\r\n${'a'.repeat(1024)}\r\n`
  isAnswer(t, await exchange(port, chunked('POST /api/token/', chunk.repeat(65))), 413, 'in chunks')
})

t.test(
  'pipelined requests are answered in order, and an error after a request does not precede its response',
  async (t) => {
    const { app, port } = await listening(t)
    await addUser(app)
    const statuses = async (...sent: string[]) => (await exchange(port, ...sent)).map(({ status }) => status)
    t.strictSame(
      await statuses(LOGIN + ALIVE + request('GET /none').replace('Connection: close\r\n', '') + LAST),
      [200, 200, 404, 401]
    )
    t.strictSame(await statuses(ALIVE.repeat(300) + LAST), [...Array.from({ length: 300 }, () => 200), 401])
    t.strictSame(await statuses(`${LOGIN}junk\r\n\r\n`), [200])
    t.strictSame(await statuses(`${LOGIN}GET / HTTP/1.1\r\nHost : x\r\n\r\n`), [200])
    const body = `${ALIVE}${ALIVE}`
    const swallowed = begun('GET /health/live', `Content-Length: ${body.length}`) + body + LAST
    t.strictSame(await statuses(swallowed), [200, 401], 'an unread body is not a request')
  }
)

t.test('connections that are reset at any point do not affect the server', async (t) => {
  const { app, origin, port } = await listening(t)
  const { access } = await obtainPair(app, await addUser(app))
  await Promise.all(
    Array.from({ length: 150 }, (_, at) => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.once('connect', () =>
        socket.write(LOGIN.slice(0, 10 + 2 * at), () => setTimeout(() => socket.resetAndDestroy(), at % 5))
      )
      return new Promise((resolve) => socket.once('close', resolve))
    })
  )
  t.equal((await fetch(`${origin}/api/protected/`, { headers: bearer(access) })).status, 200)
})

t.test('slow requests time out (408), whichever part is slow', async (t) => {
  const { app, port } = await listening(t)
  t.ok(app.server.headersTimeout > 0 && app.server.headersTimeout <= 10_000)
  t.ok(app.server.requestTimeout > 0 && app.server.requestTimeout <= 20_000)
  // Twenty times shorter; timeouts are checked every two seconds.
  app.server.headersTimeout = 500
  app.server.requestTimeout = 1000
  const slow: [statuses: number[], ...sent: string[]][] = [
    [[408], ''],
    [[408], 'GET /api/pro'],
    [[408], 'GET /api/protected/ HTTP/1.1\r\nHost: x\r\nX: '],
    [[200, 408], ALIVE, 'GET /heal'],
    [[408], begun('POST /api/token/', 'Content-Length: 100'), '{'],
    [[408], begun('POST /none', 'Content-Length: 100'), '{'],
    [[408], chunked('POST /api/token/', '1\r\n{\r\n')],
    [[200], begun('GET /health/live', 'Content-Length: 100'), '{'],
    [[413], begun('POST /api/token/', 'Content-Length: 1000000'), '{']
  ]
  await Promise.all(
    slow.map(async ([statuses, ...sent]) => {
      const answers = await exchange(port, ...sent.flatMap((bytes) => [bytes, 20]))
      t.strictSame(
        answers.map(({ status }) => status),
        statuses,
        JSON.stringify(sent)
      )
    })
  )
})

t.test('mutated requests neither stop the server nor cause a 5xx', async (t) => {
  const { app, origin, port } = await listening(t)
  const { access } = await obtainPair(app, await addUser(app))
  const guarded = request('GET /api/protected/', [
    `Authorization: Bearer ${access}`,
    'Accept: application/json; indent=4'
  ])
  const seeds = [
    LOGIN,
    guarded,
    chunked('POST /api/token/', '2\r\n{}\r\n0\r\n\r\n'),
    request('OPTIONS /api/token/', ['Origin: https://x'])
  ]
  const bits = [
    '\r\n',
    ':',
    '%00',
    '{',
    '"',
    '\\u0000',
    ',',
    ';',
    '-1',
    '9'.repeat(12),
    '\t',
    '\0',
    '\xff',
    '__proto__',
    ''
  ]
  const change = fc.record({
    at: fc.nat(400),
    removed: fc.nat(8),
    put: fc.oneof(fc.constantFrom(...bits), fc.string({ maxLength: 8 }))
  })
  const bytes = fc
    .tuple(fc.constantFrom(...seeds), fc.array(change, { minLength: 1, maxLength: 4 }))
    .map(([seed, changes]) =>
      changes.reduce((text, { at, removed, put }) => text.slice(0, at) + put + text.slice(at + removed), seed)
    )
  // The connection is closed after sending, as a broken request may wait for more.
  const property = fc.asyncProperty(bytes, async (text) => (await cutOff(port, text)).every((status) => status < 500))
  await fc.assert(property, { numRuns: 200 })
  t.equal((await fetch(`${origin}/api/protected/`, { headers: bearer(access) })).status, 200)
})

/** Returns the statuses received within 15 ms after the bytes were sent. */
function cutOff(port: number, text: string): Promise<number[]> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let received = ''
    socket.setEncoding('latin1').on('data', (chunk) => {
      received += chunk
    })
    socket.on('error', () => undefined)
    socket.once('close', () =>
      resolve([...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status)))
    )
    socket.once('connect', () =>
      socket.write(Buffer.from(text, 'latin1'), () => setTimeout(() => socket.destroy(), 15))
    )
  })
}

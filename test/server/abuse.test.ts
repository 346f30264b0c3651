/** Clients and disks that do not take what the server writes. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createLogStream } from '../../src/server/log-stream.ts'
import { listening } from '../support/listening.ts'

t.test('pipelined requests of a client that does not read are not handled all at once', async (t) => {
  let handled = 0
  const open: Socket[] = []
  const { app, origin } = await listening(t, {}, (app) => {
    app.addHook('onRequest', async ({ url }) => {
      if (url === '/openapi.json') handled++
    })
    app.server.on('connection', (connection) => open.push(connection))
  })
  const { hostname, port } = new URL(origin)
  const socket = connect(Number(port), hostname).pause()
  t.teardown(() => socket.destroy())
  socket.write('GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(1500))

  await t.resolves(fetch(`${origin}/health/live`))
  await sleep(500)
  const before = handled
  t.ok(before < 100, `${before} of 1500 requests`)
  await sleep(200)
  t.equal(handled, before, 'no more until the client reads')

  const closed = new Promise((resolve) => socket.once('close', resolve))
  for (const connection of open) app.server.emit('timeout', connection)
  socket.resume()
  await closed
  t.ok(handled < 200, 'the connection is closed instead of waiting for the client')
})

t.test('a log that cannot be written is dropped and counted, and the server goes on', async (t) => {
  const written: string[] = []
  let fault: string | null = null
  const log = createLogStream((bytes) => {
    if (fault !== null) throw Object.assign(new Error(fault), { code: fault })
    // A partial write, as of a full pipe.
    const part = bytes.subarray(0, 5)
    written.push(String(part))
    return part.length
  })
  log.write('{"msg":"one"}\n')
  for (fault of ['ENOSPC', 'EPIPE', 'EIO', 'EAGAIN']) log.write('{"msg":"lost"}\n')
  fault = null
  log.write('{"msg":"two"}\n')
  log.write('{"msg":"three"}\n')

  const lines = written
    .join('')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  t.match(lines, [
    { msg: 'one' },
    { level: 40, dropped: 4, msg: 'log lines were dropped' },
    { msg: 'two' },
    { msg: 'three' }
  ])
})

t.test('a full pipe is waited for a short time once, not for each line', async (t) => {
  let attempts = 0
  let isFull = true
  const written: string[] = []
  const log = createLogStream((bytes) => {
    attempts++
    if (isFull) throw Object.assign(new Error('full'), { code: 'EAGAIN' })
    written.push(String(bytes))
    return bytes.length
  })
  const attemptsFor = (line: string) => {
    const before = attempts
    log.write(line)
    return attempts - before
  }
  t.strictSame([attemptsFor('one\n'), attemptsFor('two\n'), attemptsFor('three\n')], [21, 1, 1])
  isFull = false
  log.write('four\n')
  t.match(written, [/"dropped":3/, 'four\n'])
})

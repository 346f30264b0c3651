/** Sends raw bytes to a listening server and parses the responses. */
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'

export interface Answer {
  status: number
  /** Names in lower case. */
  headers: Record<string, string>
  body: string
}

const PATIENCE = 20_000

/**
 * Sends bytes and returns the responses once the server has closed the connection.
 *
 * @param sent bytes, or text in Latin-1; a number is a pause in milliseconds
 * @throws Error if the server does not close the connection, or what it sends is not HTTP
 */
export async function exchange(port: number, ...sent: (string | Buffer | number)[]): Promise<Answer[]> {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  // A server that has responded need not read the rest, so failures to send are ignored.
  socket.on('data', (chunk) => chunks.push(chunk)).on('error', () => undefined)
  const ended = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  const timer = setTimeout(() => socket.destroy(new Error('too late')), PATIENCE)
  await send(socket, sent)
  await ended
  clearTimeout(timer)
  const received = Buffer.concat(chunks)
  if (socket.errored?.message === 'too late') throw new Error(`not hung up after ${JSON.stringify(`${received}`)}`)
  return answersIn(received)
}

async function send(socket: Socket, sent: (string | Buffer | number)[]): Promise<void> {
  for (const item of sent) {
    if (typeof item === 'number') await sleep(item)
    else if (!socket.destroyed) socket.write(typeof item === 'string' ? Buffer.from(item, 'latin1') : item)
  }
}

/** Splits responses by their Content-Length. @throws Error if the bytes are not HTTP */
function answersIn(bytes: Buffer): Answer[] {
  const answers: Answer[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\r\n\r\n', at)
    const [first = '', ...lines] = bytes.subarray(at, end).toString('latin1').split('\r\n')
    const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(first) ?? []
    if (end < 0 || status === undefined) throw new Error(`no answer: ${JSON.stringify(bytes.toString('latin1', at))}`)
    const headers = Object.fromEntries(
      lines.map((line) => [line.split(':', 1)[0]?.toLowerCase(), line.replace(/^.*?: ?/, '')])
    )
    const length = Number(headers['content-length'] ?? 0)
    answers.push({ status: Number(status), headers, body: bytes.toString('utf8', end + 4, end + 4 + length) })
    at = end + 4 + length
  }
  return answers
}

/** Returns a request with Connection: close. */
export function request(line: string, headers: string[] = [], body = ''): string {
  const length = body === '' ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]
  return [`${line} HTTP/1.1`, 'Host: localhost', 'Connection: close', ...headers, ...length, '', body].join('\r\n')
}

/** Asserts a single response with one of the statuses, with nosniff, and in JSON if it is an error. */
export function isAnswer(t: Test, answers: Answer[], statuses: number | number[], about: string): void {
  const [answer, ...more] = answers
  const { status = 0, headers = {}, body = '' } = answer ?? {}
  const isJson = status < 400 || (headers['content-type'] === 'application/json' && /^\{.*\}$/s.test(body))
  const shown = {
    isRequested: [statuses].flat().includes(status),
    more: more.length,
    isJson,
    sniffing: headers['x-content-type-options']
  }
  t.strictSame(
    shown,
    { isRequested: true, more: 0, isJson: true, sniffing: 'nosniff' },
    `${JSON.stringify(about)}: ${status} ${body.slice(0, 100)}`
  )
}

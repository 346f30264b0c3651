/** A real SMTP server on loopback that records the mails it receives. */
import { setTimeout as sleep } from 'node:timers/promises'
import { SMTPServer } from 'smtp-server'
import type { Scope } from '../support/build.ts'

export interface Received {
  from: string
  to: string[]
  /** Headers and body as received. */
  text: string
}

export interface Postbox {
  /** The value for `mailUrl`. */
  url: string
  mails: Received[]
  /** Waits until `count` mails have arrived. @throws Error if there are fewer after ten seconds, or more */
  received: (count: number) => Promise<Received[]>
}

export async function startSmtp(scope: Scope): Promise<Postbox> {
  const mails: Received[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData: (stream, session, done) => {
      let text = ''
      stream.setEncoding('utf8')
      stream.on('data', (chunk: string) => {
        text += chunk
      })
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        mails.push({ from: mailFrom ? mailFrom.address : '', to: rcptTo.map(({ address }) => address), text })
        done()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  scope.teardown(() => new Promise<void>((resolve) => server.close(resolve)))
  const { port } = server.server.address() as { port: number }
  const received = async (count: number) => {
    const deadline = performance.now() + 10_000
    while (mails.length < count && performance.now() < deadline) await sleep(20)
    if (mails.length !== count) throw new Error(`${mails.length} mails, not ${count}`)
    return mails
  }
  return { url: `smtp://127.0.0.1:${port}`, mails, received }
}

/** Returns uid and token of the link in a mail. */
export function linkIn({ text }: Received): { uid: string; token: string } {
  const [, uid = '', token = ''] = /\/([A-Za-z0-9_-]+)\/([0-9a-z]+-[0-9a-f]{32})/.exec(text.replace(/=\r\n/g, '')) ?? []
  return { uid, token }
}

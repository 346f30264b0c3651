/** Sends emails by SMTP, or writes them to files if no SMTP server is configured. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomHex } from '../crypto/random.ts'
import type { Settings } from '../settings/schema.ts'

export interface Mail {
  to: string
  subject: string
  text: string
  html: string
}

/** Resolves when the SMTP server has accepted the email, or the file is written. */
export type SendMail = (mail: Mail) => Promise<void>

/** The folder for emails without an SMTP server, below the working directory. */
const FOLDER = join('data', 'mail')
const TIMEOUTS_MS = { connectionTimeout: 10_000, greetingTimeout: 10_000, socketTimeout: 20_000 }

/** @param onFile called with the path of an email that was written to a file */
export function createMailer(settings: Settings, onFile: (path: string) => void): SendMail {
  let made: Promise<SendMail> | undefined
  return async (mail) => {
    // Loaded at the first email, since many apps send none.
    made ??= settings.mailUrl === null ? filer(settings, onFile) : sender(settings.mailUrl, settings)
    return (await made)(mail)
  }
}

async function sender(mailUrl: string, { mailFrom }: Settings): Promise<SendMail> {
  const { createTransport } = await import('nodemailer')
  const url = new URL(mailUrl)
  const transport = createTransport({
    host: url.hostname,
    secure: url.protocol === 'smtps:',
    ...TIMEOUTS_MS,
    port: Number(url.port || (url.protocol === 'smtps:' ? 465 : 587)),
    ...(url.username && { auth: { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) } })
  })
  return async (mail) => void (await transport.sendMail({ from: mailFrom, ...mail }))
}

async function filer({ mailFrom }: Settings, onFile: (path: string) => void): Promise<SendMail> {
  const { createTransport } = await import('nodemailer')
  const transport = createTransport({ streamTransport: true, buffer: true })
  return async (mail) => {
    const { message } = await transport.sendMail({ from: mailFrom, ...mail })
    mkdirSync(FOLDER, { recursive: true, mode: 0o700 })
    const path = join(FOLDER, `${new Date().toISOString().replaceAll(':', '-')}-${randomHex(3)}.eml`)
    writeFileSync(path, message as Buffer, { mode: 0o600, flag: 'wx' })
    onFile(path)
  }
}

/**
 * Sends emails in the background, each after a random delay, so that neither the time of a response nor that of the next one
 * reveals whether an email was sent. One recipient gets a limited number of emails an hour, whoever asks for them.
 */
import { randomInt } from 'node:crypto'
import type { Database } from '../database/open.ts'
import { ServiceUnavailable } from '../errors.ts'
import type { Mail, SendMail } from './mailer.ts'

const HOUR_MS = 3_600_000
/** The shortest delay, as a part of the longest. */
const MIN_DELAY_PART = 0.1
/** Jobs that wait. More than that many are asked for by an attacker, or the mail server hangs. */
const MAX_WAITING = 1000

/** Composes emails; called after the delay. */
export type Job = () => Promise<readonly Mail[]> | readonly Mail[]

export interface DeliveryParts {
  database: Database
  send: SendMail
  /** In seconds. */
  maxDelay: number
  /** Emails to one recipient. */
  limitPerHour: number
  onFault: (error: unknown) => void
}

export class Delivery {
  readonly #parts: DeliveryParts
  readonly #waiting = new Map<NodeJS.Timeout, () => Promise<void>>()
  readonly #running = new Set<Promise<void>>()

  constructor(parts: DeliveryParts) {
    this.#parts = parts
  }

  /**
   * Asserts that further emails can wait. Call it before a change that an email follows.
   *
   * @throws {ServiceUnavailable} if too many are waiting
   */
  assertRoom(): void {
    if (this.#waiting.size >= MAX_WAITING) throw new ServiceUnavailable()
  }

  /**
   * Schedules emails. Errors are reported to `onFault`.
   *
   * @param kind notices of changes of an account are counted apart, so that requests for links cannot suppress them
   */
  schedule(job: Job, kind: 'link' | 'notice' = 'link'): void {
    const run = () => this.#run(job, kind)
    const timer = setTimeout(() => this.#start(timer), this.#delay())
    this.#waiting.set(timer, run)
  }

  /** Sends what is waiting, without delay. */
  async close(): Promise<void> {
    for (const timer of this.#waiting.keys()) this.#start(timer)
    await Promise.all(this.#running)
  }

  #start(timer: NodeJS.Timeout): void {
    clearTimeout(timer)
    const run = this.#waiting.get(timer)
    this.#waiting.delete(timer)
    if (run === undefined) return
    const running = run().finally(() => this.#running.delete(running))
    this.#running.add(running)
  }

  #delay(): number {
    const max = Math.round(this.#parts.maxDelay * 1000)
    return max === 0 ? 0 : randomInt(Math.floor(max * MIN_DELAY_PART), max)
  }

  async #run(job: Job, kind: 'link' | 'notice'): Promise<void> {
    const { send, onFault } = this.#parts
    try {
      for (const mail of await job()) {
        if (mail.to !== '' && (await this.#count(mail.to, kind))) await send(mail)
      }
    } catch (error) {
      onFault(error)
    }
  }

  /** Counts an email. @returns false if the recipient has got enough in this hour */
  async #count(to: string, kind: 'link' | 'notice'): Promise<boolean> {
    const { database, limitPerHour } = this.#parts
    const recipient = `${kind === 'notice' ? 'notice ' : ''}${mailboxOf(to)}`.slice(0, 320)
    const now = new Date()
    const since = new Date(now.getTime() - HOUR_MS)
    const isOver = database.emailCount.deleteMany({ where: { startedAt: { lt: since } } })
    // One statement counts and decides, so that concurrent requests cannot exceed the limit.
    const count = database.$executeRaw`
      INSERT INTO latchkey_email_count (recipient, started_at, count) VALUES (${recipient}, ${now}, 1)
      ON CONFLICT (recipient) DO UPDATE SET count = latchkey_email_count.count + 1
      WHERE latchkey_email_count.count < ${limitPerHour}`
    const [, counted] = await database.$transaction([isOver, count])
    return counted === 1
  }
}

/** One spelling for each mailbox: a local part can be quoted, and its characters escaped (RFC 5321 §4.1.2). */
function mailboxOf(address: string): string {
  const [, quoted, domain] = /^"(.*)"(@[^@]*)$/s.exec(address) ?? []
  const plain = quoted === undefined ? address : `${quoted.replace(/\\(.)/gs, '$1')}${domain}`
  return plain.toLowerCase()
}

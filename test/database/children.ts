/** Processes of their own, which can be killed without a warning. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Scope } from '../support/build.ts'

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))
type Task = 'migrate' | 'write' | 'count' | 'hold'

interface Who {
  uid?: number
  gid?: number
}

export interface Child {
  /** Lets it begin, or go on. */
  tell(): void
  /** What it says next. */
  hear(): Promise<unknown>
  /** Everything it has said since it began. */
  heard: unknown[]
  /** kill -9, if it lives; waits until it is gone. */
  kill(): Promise<void>
  ended: Promise<unknown>
}

/** @returns a child that has loaded everything and waits to be told to begin */
export async function startChild(scope: Scope, task: Task, urls: string | string[], who: Who = {}): Promise<Child> {
  // Neither tap's loaders nor its coverage, which take longer than the work.
  const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...env } = process.env
  const child = fork(CHILD, [task, ...[urls].flat()], { execArgv: ['--import=tsx'], env, ...who })
  // Only with the second of them has everything been heard.
  const ended = Promise.all([once(child, 'exit'), once(child, 'disconnect')])
  const kill = async () => {
    child.kill('SIGKILL')
    await ended
  }
  scope.teardown(kill)
  const heard: unknown[] = []
  await answer(child)
  child.on('message', (message) => heard.push(message))
  return { tell: () => void child.send('go'), hear: () => answer(child), heard, kill, ended }
}

async function answer(child: ChildProcess): Promise<unknown> {
  const end = new AbortController()
  const exit = once(child, 'exit', { signal: end.signal }).then(([code]) => Promise.reject(new Error(`exit ${code}`)))
  try {
    return (await Promise.race([once(child, 'message', { signal: end.signal }), exit]))[0]
  } finally {
    end.abort()
    exit.catch(() => undefined)
  }
}

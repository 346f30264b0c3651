/** Child processes that run `child.ts` and can be killed at any time. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Scope } from '../support/build.ts'
import { TYPESCRIPT } from '../support/processes.ts'

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))
type Task = 'migrate' | 'write' | 'count' | 'hold'

interface Who {
  uid?: number
  gid?: number
}

export interface Child {
  /** Starts the task, or continues it. */
  tell(): void
  /** Resolves to the next message of the child. */
  hear(): Promise<unknown>
  /** All messages since the task was started. */
  heard: unknown[]
  /** Sends SIGKILL if the child is running, and waits until it has exited. */
  kill(): Promise<void>
  ended: Promise<unknown>
}

/** Starts a child. @returns when it has loaded all modules and waits for `tell` */
export async function startChild(scope: Scope, task: Task, urls: string | string[], who: Who = {}): Promise<Child> {
  // Without tap's loaders and coverage, which take longer than the work.
  const { NODE_OPTIONS: _, NODE_V8_COVERAGE: __, ...env } = process.env
  const child = fork(CHILD, [task, ...[urls].flat()], { execArgv: [TYPESCRIPT], env, ...who })
  // All messages have arrived only after the second event.
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

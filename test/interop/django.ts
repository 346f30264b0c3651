/** A real Django project, if one is installed. `PEER` names the folder with its `manage`. */
import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Scope, TestWorld } from '../support/build.ts'
import { SIGNING_KEY } from '../support/settings.ts'

const { PEER, PEER_ROOT = '' } = process.env

/** The reason why there is no Django, or undefined if there is one. */
export const missing = PEER ? undefined : 'no Django to test with: PEER names no folder with its `manage`'

export interface Django {
  /** The URL of the database for Latchkey. */
  databaseUrl: string
  /** Runs a command of manage.py. @throws {Error} with the output, if it fails */
  manage(args: string[], env?: NodeJS.ProcessEnv): Promise<string>
  /** Runs Python code in Django's shell. @param code reads `given` and sets `answer` */
  ask<Answer>(code: string, given?: object): Promise<Answer>
}

/** Configures Django for an empty database and the signing key of the tests. */
export async function startDjango(scope: Scope, { provider, emptyDatabaseUrl }: TestWorld): Promise<Django> {
  const databaseUrl = provider === 'sqlite' ? fileFor(scope) : await emptyDatabaseUrl(scope)
  // Django may run in a chroot, in which paths are relative to `PEER_ROOT`.
  const database = databaseUrl.replace(`file:${PEER_ROOT}`, '')
  const manage = (args: string[], env: NodeJS.ProcessEnv = {}) =>
    run(join(PEER ?? '', 'manage'), args, { ...process.env, PEER_DB: database, PEER_KEY: SIGNING_KEY, ...env })
  return {
    databaseUrl,
    manage,
    async ask(code, given = {}) {
      const printed = await manage(['shell', '--verbosity=0', '--command', PROLOGUE + code + EPILOGUE], {
        GIVEN: JSON.stringify(given)
      })
      return JSON.parse(printed.slice(printed.lastIndexOf(MARK) + MARK.length))
    }
  }
}

function fileFor(scope: Scope): string {
  const path = `${PEER_ROOT}/srv/latchkey-${randomUUID()}.sqlite3`
  scope.teardown(() => {
    for (const suffix of ['', '-wal', '-shm', '-journal']) if (existsSync(path + suffix)) rmSync(path + suffix)
  })
  return `file:${path}`
}

function run(file: string, args: string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { env, timeout: 60_000 }, (error, output, complaint) => {
      if (error) reject(new Error(`${args[0]}: ${output}${complaint}`, { cause: error }))
      else resolve(output)
    })
  })
}

const MARK = '=== answer ==='
const PROLOGUE = `
import json, os
given = json.loads(os.environ["GIVEN"])
`
const EPILOGUE = `
print("${MARK}" + json.dumps(answer, default=str))
`

/** `latchkey keys …`: the signing keys in the database. */

import { KeyRing } from '../keys/key-ring.ts'
import type { KeySummary } from '../keys/key-ring-rows.ts'
import { JWKS_MAX_AGE_MS, type KeySet } from '../keys/key-set.ts'
import { CommandError } from './command-error.ts'

interface KeysCommand {
  verb: string
  /** Of `revoke`. */
  kid: string
  /** Of `rotate`: also when others may not know the next key yet. */
  now: boolean
}

const VERBS: Record<string, (ring: KeyRing, command: KeysCommand) => Promise<string>> = {
  list: async (ring) => (await ring.list()).map(lineOf).join('\n'),
  generate: async (ring) => `Next key: ${made(await ring.generate())}`,
  rotate: async (ring, { now }) => {
    if (!now) await assertPublished(ring)
    return `Current key: ${made(await ring.rotate())}`
  },
  revoke: async (ring, { kid }) => {
    if (!(await ring.revoke(kid))) throw new CommandError(`there is no key ${kid} to revoke`)
    return `Revoked: ${kid}`
  }
}

export const isKeysCommand = (verb: string, kid: string | undefined): boolean =>
  Object.hasOwn(VERBS, verb) && (verb === 'revoke') === (kid !== undefined)

/** @returns what to say */
export async function runKeysCommand(keys: KeySet, command: KeysCommand): Promise<string> {
  const run = VERBS[command.verb]
  if (!run || !(keys instanceof KeyRing)) {
    throw new CommandError('the database has the signing keys only if JWT_KEY_ENCRYPTION_KEY is set')
  }
  return run(keys, command)
}

function lineOf({ kid, algorithm, state, activatedAt, expiresAt }: KeySummary): string {
  const signing = activatedAt === null ? 'has signed nothing' : `signs since ${activatedAt.toISOString()}`
  const end = expiresAt === null ? '' : `, last token expires ${expiresAt.toISOString()}`
  return `${kid}  ${algorithm.padEnd(5)}  ${state.padEnd(8)}  ${signing}${end}`
}

function made(kid: string | null): string {
  if (kid !== null) return kid
  throw new CommandError('another process has changed the keys at the same time; see `latchkey keys list`')
}

/** Services that go by a key set which they have fetched before would refuse its tokens. */
async function assertPublished(ring: KeyRing): Promise<void> {
  const missing = Math.ceil((JWKS_MAX_AGE_MS - (await ring.nextKeyAge())) / 1000)
  if (missing > 0) throw new CommandError(`others may not know the next key yet; wait ${missing} s, or add --now`)
}

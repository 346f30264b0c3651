/** `latchkey keys`: lists and changes the signing keys in the database. */
import { KeyRing } from '../keys/key-ring.ts'
import type { KeySummary } from '../keys/key-ring-rows.ts'
import { JWKS_MAX_AGE_MS, type KeySet } from '../keys/key-set.ts'
import { CommandError } from './command-error.ts'

interface KeysCommand {
  verb: string
  /** Only of `revoke`. */
  kid: string
  /** Only of `rotate`: does not wait until services can have fetched the next key. */
  now: boolean
}

const VERBS: Record<string, (ring: KeyRing, command: KeysCommand) => Promise<string>> = {
  list: async (ring) => (await ring.list()).map(formatKey).join('\n'),
  generate: async (ring) => `Next key: ${assertChanged(await ring.generate())}`,
  rotate: async (ring, { now }) => {
    if (!now) await assertPublished(ring)
    return `Current key: ${assertChanged(await ring.rotate())}`
  },
  revoke: async (ring, { kid }) => {
    if (!(await ring.revoke(kid))) throw new CommandError(`no key ${kid} to revoke; see \`latchkey keys list\``)
    return `Revoked: ${kid}`
  }
}

export const isKeysCommand = (verb: string, kid: string | undefined): boolean =>
  Object.hasOwn(VERBS, verb) && (verb === 'revoke') === (kid !== undefined)

/** @returns the output of the command */
export async function runKeysCommand(keys: KeySet, command: KeysCommand): Promise<string> {
  const run = VERBS[command.verb]
  if (!run || !(keys instanceof KeyRing)) {
    throw new CommandError('the signing keys are in the database only if JWT_KEY_ENCRYPTION_KEY is set')
  }
  return run(keys, command)
}

function formatKey({ kid, algorithm, state, activatedAt, expiresAt }: KeySummary): string {
  const activated = activatedAt === null ? 'not activated' : `activated ${activatedAt.toISOString()}`
  const expires = expiresAt === null ? '' : `, last token expires ${expiresAt.toISOString()}`
  return `${kid}  ${algorithm.padEnd(5)}  ${state.padEnd(8)}  ${activated}${expires}`
}

function assertChanged(kid: string | null): string {
  if (kid !== null) return kid
  throw new CommandError('another process changed the keys at the same time; see `latchkey keys list`')
}

/** Services would reject tokens of a key that their cached key set does not contain. */
async function assertPublished(ring: KeyRing): Promise<void> {
  const seconds = Math.ceil((JWKS_MAX_AGE_MS - (await ring.nextKeyAge())) / 1000)
  if (seconds > 0) throw new CommandError(`services may not know the next key yet; wait ${seconds} s, or use --now`)
}

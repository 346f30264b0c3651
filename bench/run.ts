/** Runs all benchmarks (`npm run bench`) or some (`npm run bench sessions`). Only the ratios are comparable. */
import { peer } from './peer.ts'
import { requests } from './requests.ts'
import { revocations } from './revocations.ts'
import { sessions } from './sessions.ts'
import { tokens } from './tokens.ts'

const ALL: Record<string, () => Promise<void>> = { tokens, requests, sessions, revocations, peer }
const wanted = process.argv.slice(2)

console.log(`Node ${process.version}`)
for (const [name, measure] of Object.entries(ALL)) if (wanted.length === 0 || wanted.includes(name)) await measure()

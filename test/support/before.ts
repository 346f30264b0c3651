/** Run by tap before the first test file, and by a test file that is run alone. An error aborts the test run. */
import { makeWorld } from './make.ts'

await makeWorld(process.ppid)
// A timer of Prisma's migration engine would delay the exit by ten seconds.
process.exit()

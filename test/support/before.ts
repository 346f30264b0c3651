/** tap runs this before the first test file, and so does a test file that is run by itself. A fault ends the run. */
import { makeWorld } from './make.ts'

await makeWorld(process.ppid)
// Prisma's migration engine leaves a timer of ten seconds behind, which would be waited for.
process.exit()

/** Run by tap before the first test file. An error aborts the test run. */
import { makeWorldOf } from './world.ts'

await makeWorldOf(process.ppid)

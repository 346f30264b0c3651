/** Run by tap after the last test file. */
import { removeWorld } from './world.ts'

await removeWorld(process.ppid)

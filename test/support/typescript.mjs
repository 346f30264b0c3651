/** Run before a test file or child process, so that it can be TypeScript. Node.js can do that itself from 22.18 on. */
import { register } from 'node:module'

if (!process.features.typescript) register('./typescript-hooks.mjs', import.meta.url)

/** All that is measured: `npm run bench`. Compare the ratios; the times are this machine's, at this moment. */
import { requests } from './requests.ts'
import { tokens } from './tokens.ts'

console.log(`Node ${process.version}`)
await tokens()
await requests()

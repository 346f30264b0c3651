/**
 * Writes the generated Prisma clients, one for each provider, into src/database/generated.
 *
 * This is `prisma generate` without Prisma's command line, whose hundreds of megabytes nothing else here needs.
 */
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { PROVIDERS, schemaOf } from './schema.mjs'

// As CommonJS: the ES modules of these two packages import files that do not exist.
const require = createRequire(import.meta.url)
const { PrismaClientTsGenerator } = require('@prisma/client-generator-ts')
const { getGenerators, processSchemaResult } = require('@prisma/internals')

for (const provider of PROVIDERS) {
  const { path, content } = schemaOf(provider)
  const schemaResult = { schemaPath: path, schemaRootDir: dirname(path), schemas: [[path, content]] }
  const generators = await getGenerators({
    schemaContext: await processSchemaResult({ schemaResult, printLoadMessage: false }),
    registry: { 'prisma-client': { type: 'in-process', generator: new PrismaClientTsGenerator() } },
    skipDownload: true,
    cliCommand: 'generate'
  })
  for (const generator of generators) {
    await generator.generate()
    generator.stop()
  }
}

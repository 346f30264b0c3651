/** `latchkey sync-permissions`: the models whose permissions are created. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AUTH_MODELS, type ModelDefinition } from '../permissions/content-types.ts'
import { modelsOfSchema } from '../permissions/prisma-schema.ts'
import { CommandError } from './command-error.ts'

export interface SyncPermissionsOptions {
  /** The path of a `.prisma` file, or of a folder that contains some. */
  schema?: string
  app?: string
}

/** @throws {CommandError} if the schema does not exist or contains no models, or the app label is missing or invalid */
export function readModels({ schema, app }: SyncPermissionsOptions): readonly ModelDefinition[] {
  if (schema === undefined && app === undefined) return AUTH_MODELS
  if (schema === undefined || app === undefined) throw new CommandError('--schema and --app must be used together', 2)
  // Django's app labels are identifiers, with which the names of permissions begin.
  if (!/^[A-Za-z_]\w{0,99}$/.test(app))
    throw new CommandError('--app must be an app label such as blog: letters, digits and _', 2)
  const models = modelsOfSchema(readSchema(schema), app)
  if (models.length === 0) throw new CommandError(`${schema}: contains no models`)
  return models
}

function readSchema(path: string): string {
  try {
    return findSchemaFiles(path)
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n')
  } catch (error) {
    throw new CommandError(
      `${path}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : (error as Error).message}`
    )
  }
}

function findSchemaFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  const names = (readdirSync(path, { recursive: true }) as string[]).filter((name) => name.endsWith('.prisma'))
  return names.toSorted().map((name) => join(path, name))
}

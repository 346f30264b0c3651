/** `latchkey sync-permissions`. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { AUTH_MODELS, type ModelDefinition } from '../permissions/content-types.ts'
import { modelsOfSchema } from '../permissions/prisma-schema.ts'
import { CommandError } from './command-error.ts'

export interface SyncPermissionsOptions {
  /** A `.prisma` file, or a folder of them. */
  schema?: string
  app?: string
}

/** @throws {CommandError} if there is no such file, no model in it, or no name for their app */
export function modelsToSync({ schema, app }: SyncPermissionsOptions): readonly ModelDefinition[] {
  if (schema === undefined && app === undefined) return AUTH_MODELS
  if (schema === undefined || app === undefined) throw new CommandError('--schema and --app go together', 2)
  // What Django takes for an app's label, and what the names of permissions begin with.
  if (!/^[A-Za-z_]\w{0,99}$/.test(app))
    throw new CommandError('--app must be a name such as blog: letters, digits, _', 2)
  const models = modelsOfSchema(textOf(schema), app)
  if (models.length === 0) throw new CommandError(`${schema}: has no models`)
  return models
}

function textOf(path: string): string {
  try {
    return pathsOf(path)
      .map((file) => readFileSync(file, 'utf8'))
      .join('\n')
  } catch (error) {
    throw new CommandError(
      `${path}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'is not there' : (error as Error).message}`
    )
  }
}

function pathsOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path]
  const names = (readdirSync(path, { recursive: true }) as string[]).filter((name) => name.endsWith('.prisma'))
  return names.toSorted().map((name) => join(path, name))
}

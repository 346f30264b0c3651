/** Creates content types and the permissions of models, as Django does after its migrations. */
import type { Database } from '../database/open.ts'
import { retryOnConflict } from '../database/retry.ts'
import { ValidationError } from '../errors.ts'
import { checkText, MAX_LABEL } from './names.ts'

const ACTIONS = ['add', 'change', 'delete', 'view'] as const
export type Action = (typeof ACTIONS)[number]

/** A model, as Django's content types and permissions know it. */
export interface ModelDefinition {
  /** At most 100 characters, without a dot. */
  readonly appLabel: string
  /** The name in lower case, at most 100 characters. */
  readonly model: string
  /** The name in the text of permissions; by default the model's name. */
  readonly verboseName?: string
  /** Additional permissions, after the default ones. */
  readonly permissions?: readonly (readonly [codename: string, name: string])[]
  /** The default permissions; by default all four. */
  readonly defaultPermissions?: readonly Action[]
}

const model = (appLabel: string, model: string, verboseName = model): ModelDefinition => ({
  appLabel,
  model,
  verboseName
})

/** Django's own models, REST framework's and SimpleJWT's, in the order in which a project installs their apps. */
export const AUTH_MODELS: readonly ModelDefinition[] = [
  model('auth', 'permission'),
  model('auth', 'group'),
  model('auth', 'user'),
  model('contenttypes', 'contenttype', 'content type'),
  model('sessions', 'session'),
  model('authtoken', 'token', 'Token'),
  model('authtoken', 'tokenproxy', 'Token'),
  model('token_blacklist', 'outstandingtoken', 'Outstanding Token'),
  model('token_blacklist', 'blacklistedtoken', 'Blacklisted Token')
]

/** A content type with permissions to create: names by codename. */
interface Entry {
  readonly appLabel: string
  readonly model: string
  /** Undefined if there is no row. */
  readonly id?: number
  readonly permissions: Map<string, string>
}

/**
 * Creates missing content types and permissions, in the given order and in one transaction. Existing rows are not
 * changed. Of concurrent processes one creates each row.
 *
 * @returns the created permissions, each as `app_label.codename`
 * @throws {ValidationError} for a name that is too long or malformed
 */
export function syncPermissions(database: Database, models: readonly ModelDefinition[]): Promise<string[]> {
  return retryOnConflict(async () => {
    const missing = await missingOf(database, entriesOf(models))
    if (missing.length > 0) await make(database, missing)
    return missing.flatMap(({ appLabel, permissions }) => [...permissions.keys()].map((name) => `${appLabel}.${name}`))
  })
}

async function missingOf(database: Database, wanted: readonly Entry[]): Promise<Entry[]> {
  const types = await database.contentType.findMany({
    where: { appLabel: { in: [...new Set(wanted.map(({ appLabel }) => appLabel))] } },
    select: { id: true, appLabel: true, model: true, permissions: { select: { codename: true } } }
  })
  const known = new Map(types.map((type) => [keyOf(type), type]))
  return wanted.flatMap((entry) => {
    const type = known.get(keyOf(entry))
    if (type === undefined) return [entry]
    const permissions = new Map(entry.permissions)
    for (const { codename } of type.permissions) permissions.delete(codename)
    return permissions.size > 0 ? [{ ...entry, id: type.id, permissions }] : []
  })
}

async function make(database: Database, missing: readonly Entry[]): Promise<void> {
  const types = missing.filter(({ id }) => id === undefined).map(({ appLabel, model }) => ({ appLabel, model }))
  await database.$transaction(async ({ contentType, permission }) => {
    const made = types.length > 0 ? await contentType.createManyAndReturn({ data: types }) : []
    const ids = new Map(made.map((type) => [keyOf(type), type.id]))
    const data = missing.flatMap(({ permissions, ...type }) => {
      const contentTypeId = type.id ?? (ids.get(keyOf(type)) as number)
      return Array.from(permissions, ([codename, name]) => ({ codename, name, contentTypeId }))
    })
    if (data.length > 0) await permission.createMany({ data })
  })
}

const keyOf = ({ appLabel, model }: { appLabel: string; model: string }) => `${appLabel}.${model}`

/** Returns one definition for each model. Of several with the same model or codename, the first one counts. */
function entriesOf(models: readonly ModelDefinition[]): Entry[] {
  const entries = new Map<string, Entry>()
  for (const { appLabel, model, ...definition } of models) {
    checkModel(appLabel, model)
    const entry = entries.get(keyOf({ appLabel, model })) ?? { appLabel, model, permissions: new Map() }
    entries.set(keyOf(entry), entry)
    for (const [codename, name] of permissionsOf(model, definition)) {
      checkText('codename', codename, MAX_LABEL)
      checkText('name', name, 255)
      if (!entry.permissions.has(codename)) entry.permissions.set(codename, name)
    }
  }
  return [...entries.values()]
}

function checkModel(appLabel: string, model: string): void {
  checkText('appLabel', appLabel, MAX_LABEL)
  checkText('model', model, MAX_LABEL)
  // The dot separates app label and codename.
  if (appLabel.includes('.')) throw new ValidationError({ appLabel: ['Ensure this field has no dots.'] })
  if (model !== model.toLowerCase()) throw new ValidationError({ model: ['Ensure this field is in lower case.'] })
}

function permissionsOf(model: string, definition: Omit<ModelDefinition, 'appLabel' | 'model'>) {
  const { verboseName = model, permissions = [], defaultPermissions = ACTIONS } = definition
  checkText('verboseName', verboseName, 255)
  const odd = defaultPermissions.find((action) => !ACTIONS.includes(action))
  if (odd !== undefined) throw new ValidationError({ defaultPermissions: [`"${String(odd)}" is not a valid choice.`] })
  const standard = defaultPermissions.map((action) => [`${action}_${model}`, `Can ${action} ${verboseName}`] as const)
  return [...standard, ...permissions]
}

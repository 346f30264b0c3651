import type { TObject } from 'typebox'
import { RENDERED_TYPES } from './negotiation.ts'
import { PARSED_TYPES } from './parsers.ts'

interface FieldSchema {
  type?: string
  format?: string
  readOnly?: boolean
}

interface ViewDescription {
  name: string
  description: string
  methods: { POST?: { body?: unknown }; PUT?: { body?: unknown } }
}

/** The body of the response to OPTIONS: DRF's SimpleMetadata, with its order of properties. */
export function metadataOf({ name, description, methods }: ViewDescription): Record<string, unknown> {
  const actions: Record<string, unknown> = {}
  for (const method of ['POST', 'PUT'] as const) {
    const body = methods[method]?.body
    if (body) actions[method] = fieldsOf(body as TObject)
  }
  const hasActions = Object.keys(actions).length > 0
  return { name, description, renders: RENDERED_TYPES, parses: PARSED_TYPES, ...(hasActions ? { actions } : {}) }
}

function fieldsOf({ properties, required }: TObject): Record<string, unknown> {
  const fields = Object.entries(properties).map(([name, field]) => [
    name,
    {
      type: typeOf(field as FieldSchema),
      required: required?.includes(name) ?? false,
      read_only: (field as FieldSchema).readOnly === true,
      label: labelOf(name)
    }
  ])
  return Object.fromEntries(fields)
}

/** DRF's label of a field class; related fields have the generic `field`. */
function typeOf({ type, format, readOnly }: FieldSchema): string {
  if (type === 'string') return format === 'email' ? 'email' : format === 'date-time' ? 'datetime' : 'string'
  return type === 'boolean' || readOnly ? String(type) : 'field'
}

/** `new_password` becomes `New password`. */
const labelOf = (name: string) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ').toLowerCase()

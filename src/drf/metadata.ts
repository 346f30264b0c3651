import type { TObject } from 'typebox'
import { RENDERED_TYPES } from './negotiation.ts'
import { PARSED_TYPES } from './parsers.ts'

interface Field {
  type?: string
  format?: string
  readOnly?: boolean
}

interface Described {
  name: string
  description: string
  methods: { POST?: { body?: unknown }; PUT?: { body?: unknown } }
}

/** What OPTIONS answers: DRF's SimpleMetadata, whose order of names clients may show. */
export function metadataOf({ name, description, methods }: Described): Record<string, unknown> {
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
      type: typeOf(field as Field),
      required: required?.includes(name) ?? false,
      read_only: (field as Field).readOnly === true,
      label: labelOf(name)
    }
  ])
  return Object.fromEntries(fields)
}

/** DRF's word for a kind of field; one that refers to rows has none. */
function typeOf({ type, format, readOnly }: Field): string {
  if (type === 'string') return format === 'email' ? 'email' : format === 'date-time' ? 'datetime' : 'string'
  return type === 'boolean' || readOnly ? String(type) : 'field'
}

/** `new_password` is `New password`. */
const labelOf = (name: string) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ').toLowerCase()

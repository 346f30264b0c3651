/** A media type as parsed by Django: the type and the names of parameters in lower case, values unquoted. */
export interface MediaType {
  /** The text before the first semicolon; not necessarily of the form `type/subtype`. */
  readonly type: string
  /** If a parameter is repeated, its last value. */
  readonly parameters: ReadonlyMap<string, string>
}

/**
 * The longest media type that DRF parses, in characters. Callers reject longer ones, which bounds the work of the
 * parser.
 */
export const MAX_MEDIA_TYPE_LENGTH = 256

const PARAMETER = /;\s*([^\s;=]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]*))/g

/** @param text at most `MAX_MEDIA_TYPE_LENGTH` characters */
export function parseMediaType(text: string): MediaType {
  const [type = ''] = text.split(';', 1)
  const parameters = new Map<string, string>()
  for (const [, name = '', quoted, plain = ''] of text.slice(type.length).matchAll(PARAMETER)) {
    parameters.set(name.toLowerCase(), quoted === undefined ? plain.trim() : quoted.replace(/\\(.)/g, '$1'))
  }
  return { type: type.trim().toLowerCase(), parameters }
}

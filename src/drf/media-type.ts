/** A media type as Django reads it from a header: the type and the parameters' names in lower case, values unquoted. */
export interface MediaType {
  /** Whatever stands before the first semicolon; not necessarily of the form `type/subtype`. */
  readonly type: string
  /** Of a repeated parameter the last one counts. */
  readonly parameters: ReadonlyMap<string, string>
}

/** What DRF takes for a media type at most, in characters; the callers refuse longer ones, which bounds the work here. */
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
